"""The bus of workers on many hosts: through a broker that all of them are connected to.

A broker keeps nothing: what it is given while somebody's connection is down is lost for that one.
Messages carry numbers, so that it is known how many were.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

from wsgroups.cluster.bus import (
    NODES,
    OUTBOX_LIMIT,
    VISITORS,
    AddressTakenError,
    Bus,
    Receiver,
    check_size,
    describe_address,
    hand_over,
    report,
)
from wsgroups.cluster.counting import Count, Following, Numbering
from wsgroups.cluster.interest import Interest
from wsgroups.cluster.keeper import Keeper, OpenSession
from wsgroups.cluster.letters import (
    Ended,
    Kind,
    Letter,
    Presence,
    decode,
    decode_ended,
    decode_presence,
    encode_ended,
    encode_presence,
)
from wsgroups.cluster.neighbours import GONE_AFTER, Neighbours
from wsgroups.cluster.peers import Peers
from wsgroups.cluster.session import (
    CONNECT_WITHIN,
    Session,
    split_url,
)
from wsgroups.cluster.writer import Writer
from wsgroups.ids import NODE_BITS, WORKER_BITS

logger = logging.getLogger("wsgroups")

_ANSWERS_WITHIN = 0.25  # seconds for those who are there to say so, on a network as it should be
_REGATHER_WITHIN = 1.5  # seconds for the others to come back to a broker that was away
_PATIENCE = 1.0  # seconds for what still waits, at the end
_LOOK_BACK = 60.0  # seconds; older losses were told by what came after them
_TAILS_EVERY = 1.0  # seconds, at least, between telling all channels how far we have counted
_LAST_WORKER = 0xFFFF  # addresses beyond are of those who have no sockets
_LAST_NODE = NODES | (1 << NODE_BITS) - 1
_MOST_ANSWERS = 1 << 16  # that wait: who asks faster than the broker takes them gets none


class BrokerBus(Bus):
    """A place on a broker.

    Args:
        url: of the broker, with `?app=name` when several applications share it.
        open_session: connects to it.
        address: as of `Bus`; above 16 bits for those who have no sockets.
        since: the id sequence that this worker began above.
        limit: bytes that may wait for the broker; then the oldest messages go.
        patience: seconds in which those who are there answer, and say if the address is theirs.
        is_node_near: the workers of this node reach one another another way, and are not seen here.
        may_wait: `start` does not need the broker; it is looked for until it is there.
        peers: where to keep who is there.
        on_taken: called when somebody else turns out to have had the address for longer.

    Attributes:
        neighbours: the other workers and nodes.
    """

    def __init__(
        self,
        url: str,
        open_session: OpenSession,
        address: int,
        since: int = 0,
        *,
        limit: int = OUTBOX_LIMIT,
        patience: float = _ANSWERS_WITHIN,
        is_node_near: bool = False,
        may_wait: bool = False,
        peers: Peers | None = None,
        on_taken: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.since = since
        self.incarnation = secrets.randbits(32) | 1
        url, app = split_url(url)
        self._keeper = Keeper(url, open_session, self._arrived, self)
        self._prefix = app.encode()
        self._patience = patience
        self._is_node_near = is_node_near
        self._on_taken = on_taken
        self._everybody = b"%b.all" % self._prefix
        self._own = self._subject_of(address)
        self._numbering = Numbering()
        self._following = Following(self.incarnation)
        self._may_wait = may_wait
        self.neighbours = Neighbours(peers if peers is not None else Peers(), self._report)
        self._interest = Interest()
        self._writer = Writer(
            limit, self._interest, self._following.forget_channel, self._tell_dropped
        )
        self._receiver: Receiver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_claiming = False
        self._taken = asyncio.Event()
        self._tails: asyncio.TimerHandle | None = None
        self._tails_since = math.inf

    @property
    def peers(self) -> Peers:
        """As of `Bus`. While the broker is away, those that were there."""
        return self.neighbours.peers

    @property
    def dropped(self) -> int:  # type: ignore[override]
        """As of `Bus`."""
        return self._writer.dropped

    @property
    def backlog(self) -> int:
        """As of `Bus`; 0 while the broker is away, for then it is no use to wait."""
        return self._writer.size if self.is_connected else 0

    @property
    def is_connected(self) -> bool:
        """As of `Bus`."""
        return self._writer.session is not None

    # --- life -------------------------------------------------------------------------------

    async def start(self, receiver: Receiver) -> None:
        """As of `Bus`."""
        self._loop = asyncio.get_running_loop()
        self._writer.begin()
        self._receiver = receiver
        self._doubt(math.inf)
        session: Session | None = None
        try:
            session = await self._keeper.connect()
        except BaseException as error:
            if not self._may_wait or not isinstance(error, OSError):
                self._receiver = None
                raise
            logger.warning("%s; nothing goes to other nodes meanwhile", error)
        self._is_claiming = True
        self._keeper.start(session)
        try:
            await self._claim()
        except BaseException:  # cancelled, too
            await self._leave()
            raise
        finally:
            self._is_claiming = False

    async def _claim(self) -> None:
        """Give others time to say that our address is theirs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._taken.wait()
        if not self._may_wait and not self._taken.is_set():
            await self._prove()
        if self._taken.is_set():
            raise AddressTakenError(f"address {self.address} is taken on this bus")

    async def _prove(self) -> None:
        """See that others can have heard us: the broker has been there, and done what we asked."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(CONNECT_WITHIN):
                await self.sync()
                if self._keeper.why_lost is None:
                    return
        reason = self._keeper.why_lost or ""
        raise OSError(f"{self._keeper.name} takes us, but does not answer{reason}")

    async def stop(self) -> None:
        """As of `Bus`."""
        if self.is_connected:
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(_PATIENCE):
                    await self.drain()
                    self._tell(Kind.BYE, self._everybody)  # after all that we had to say
                    await self.sync()
        await self._leave()

    async def _leave(self) -> None:
        self._receiver = None
        await self._keeper.stop()
        if self._tails is not None:
            self._tails.cancel()
        self.neighbours.clear()
        self._writer.close()

    # --- what the keeper of the connection calls ----------------------------------------------

    async def talk(self, session: Session, lost: float | None) -> None:
        """Say who we are and what we ask for, then send what waits as long as we are connected."""
        await self._writer.open(session, [self._everybody, self._own])
        self._doubt(GONE_AFTER)
        self._tell_of_us(Kind.HELLO, self._everybody)
        if lost is not None:
            await self._regather(session)
            with self._numbering.lock:
                for subject, count in self._numbering.used_since(lost - _LOOK_BACK):
                    self._queue_tail(subject, count)
        await self._writer.run(session)

    def beat(self) -> None:
        """As of `Place`."""
        self._tell_of_us(Kind.BEAT, self._everybody)

    def in_step(self, connected: float) -> None:
        """See who is not there any more; when our loop was blocked, what came meanwhile is here."""
        for address in self.neighbours.look_around(connected, self._now()):
            self._following.forget_sender(address)

    def cut_off(self) -> None:
        """As of `Place`."""
        self._writer.close()
        self._doubt(math.inf)
        self._gap(0)

    def still_cut_off(self) -> None:
        """As of `Place`."""
        self._writer.tell_dropped()

    # --- verbs ------------------------------------------------------------------------------

    def send(self, destination: int, data: bytes) -> None:
        """As of `Bus`; also to ourselves while the broker is away."""
        check_size(data)
        if self._receiver is None:
            return
        if destination == self.address:
            self._writer.call(partial(self._deliver, None, data))
            return
        subject = self._subject_of(destination)
        with self._numbering.lock:
            count = self._numbering.next_to(subject)
            self._writer.put(subject, self._letter(Kind.MESSAGE, data, count.epoch, count.number))

    def publish(self, channel: bytes, data: bytes) -> None:
        """As of `Bus`."""
        check_size(data)
        if self._receiver is None:
            return
        subject = self._subject_on(channel)
        with self._numbering.lock:
            count = self._numbering.next_on(subject)
            self._writer.put(subject, self._letter(Kind.MESSAGE, data, count.epoch, count.number))

    def subscribe(self, channel: bytes) -> None:
        """As of `Bus`."""
        self._set_interest(channel, True)

    def unsubscribe(self, channel: bytes) -> None:
        """As of `Bus`."""
        self._set_interest(channel, False)

    def tell_ended(self, address: int, since: int) -> None:
        """Tell all others that a worker has ended, sooner than they would notice. In the loop."""
        if self.is_connected:
            self._tell(Kind.ENDED, self._everybody, encode_ended(Ended(address, since)))

    def _set_interest(self, channel: bytes, wanted: bool) -> None:
        subject = self._subject_on(channel)
        self._interest.want(subject, channel, wanted=wanted)
        self._writer.wake_up()

    async def drain(self) -> None:
        """As of `Bus`; in any loop."""
        if self._loop is None or not self._keeper.is_running:
            return
        draining = self._writer.drain()
        if self._loop is asyncio.get_running_loop():
            await draining
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(draining, self._loop))

    async def sync(self) -> None:
        """As of `Bus`."""
        await self._writer.drain()
        session = self._writer.session
        if session is None:
            raise ConnectionError("the broker is not connected")
        done = asyncio.ensure_future(session.sync())
        try:
            await asyncio.wait([done, session.lost], return_when=asyncio.FIRST_COMPLETED)
            if not done.done() or done.cancelled() or done.exception() is not None:
                raise ConnectionError("the broker is lost")
        finally:
            done.cancel()

    # --- out --------------------------------------------------------------------------------

    def _subject_of(self, address: int) -> bytes:
        return b"%b.to.%x" % (self._prefix, address)

    def _subject_on(self, channel: bytes) -> bytes:
        """Any bytes become letters and digits; two channels with one digest are not to be found."""
        return b"%b.on.%b" % (
            self._prefix,
            blake2b(channel, digest_size=20).hexdigest().encode(),
        )

    def _letter(self, kind: Kind, data: bytes, epoch: int = 0, number: int = 0) -> Letter:
        return Letter(kind, self.address, self.incarnation, epoch, number, 0, 1, data)

    def _queue_tail(self, subject: bytes, count: Count) -> None:
        """Tell how far we have counted, behind all that is counted, of which nothing goes for it.

        Under the lock of the numbers: no thread may have counted what it has not queued.
        """
        letter = self._letter(Kind.TAIL, b"", count.epoch, count.number)
        self._writer.put(subject, letter, makes_room=False)

    def _tell(self, kind: Kind, subject: bytes, data: bytes = b"", epoch: int = 0) -> None:
        self._writer.put_first(subject, self._letter(kind, data, epoch))

    def _tell_of_us(self, kind: Kind, subject: bytes) -> None:
        self._tell(kind, subject, encode_presence(Presence(self.since, self._is_claiming)))

    async def _regather(self, session: Session) -> None:
        """Wait for those who have lost the broker with us: what waits for them would be lost."""
        assert self._loop is not None
        began = self._loop.time()
        await self._writer.write_first(session)
        while self._loop.time() < began + _REGATHER_WITHIN:
            if self.neighbours.have_said_so_since(began):
                break
            await asyncio.sleep(_REGATHER_WITHIN / 50)

    def _tell_dropped(self, count: int) -> None:
        logger.warning("the broker is behind or away: %d messages to others are lost", count)
        self._gap(count)

    def _gap(self, count: int) -> None:
        if self._receiver is not None:
            self._receiver.gap(count)

    # --- in ---------------------------------------------------------------------------------

    def _arrived(self, subject: bytes, payload: bytes) -> None:
        """Somebody, perhaps we ourselves, has published something that we ask for."""
        try:
            letter = decode(payload)
            if letter.sender == self.address and letter.incarnation == self.incarnation:
                return
            _check_address(letter.sender)
            if letter.kind == Kind.MESSAGE or letter.kind == Kind.TAIL:
                self._read(subject, letter)
            else:
                self._hear(letter)
        except ValueError as error:
            logger.error(
                "another program uses this application's names on the broker (%s); "
                "give each its own ?app=NAME in --bus",
                error,
            )

    def _read(self, subject: bytes, letter: Letter) -> None:
        channel: bytes | None = None
        if subject != self._own:
            channel = self._interest.channels.get(subject)
            if channel is None or self._is_near(letter.sender):
                return
        data: bytes | None = None
        is_passing = letter.sender not in self.neighbours
        if not is_passing:  # a sign of life as good as a beat, which waits behind a busy sender
            self.neighbours.hear(letter.sender, self._now())
        if letter.kind == Kind.TAIL:
            lost = self._following.tail(channel, letter, is_passing=is_passing)
        else:
            data, lost = self._following.take(channel, letter, is_passing=is_passing)
        if lost:
            name = describe_address(letter.sender)
            logger.warning("%d messages of %s did not arrive here", lost, name)
            self._gap(lost)
        if data is not None:
            self._deliver(channel, data)

    def _deliver(self, channel: bytes | None, data: bytes) -> None:
        if self._receiver is not None:
            hand_over(self._receiver, channel, data)

    def _now(self) -> float:
        assert self._loop is not None
        return self._loop.time()

    def _is_near(self, address: int) -> bool:
        return self._is_node_near and address >> WORKER_BITS == self.address >> WORKER_BITS

    def _hear(self, letter: Letter) -> None:
        """Somebody tells who is there, or is not."""
        if letter.kind == Kind.TAKEN:
            if letter.epoch == self.incarnation:
                self._give_way()
        elif letter.kind == Kind.BYE:
            self.neighbours.leave_as(letter.sender, letter.incarnation)
        elif letter.sender == self.address:
            if letter.kind in (Kind.HELLO, Kind.BEAT):
                self._defend(letter)
        elif letter.kind in (Kind.HELLO, Kind.BEAT):
            self._meet(letter)
        elif letter.kind == Kind.ENDED:
            ended = decode_ended(letter.data)
            self.neighbours.leave_since(ended.address, ended.since)
        else:
            raise ValueError(f"there is no letter of kind {letter.kind}")

    def _meet(self, letter: Letter) -> None:
        address, subject = letter.sender, self._subject_of(letter.sender)
        before = self.neighbours.hear(address, self._now())
        count = self._numbering.count_of(subject)
        if address <= _LAST_WORKER and not self._is_near(address):
            since = decode_presence(letter.data).since
            self.neighbours.come(address, letter.incarnation, since)
            self._numbering.meet(subject, letter.incarnation)
        if letter.kind == Kind.HELLO and self._writer.first < _MOST_ANSWERS:
            self._tell_of_us(Kind.BEAT, subject)
            # Who comes back wants to know how much there was meanwhile.
            if count is not None and count.epoch == letter.incarnation:
                with self._numbering.lock:
                    self._queue_tail(subject, count)
                self._tell_tails_soon(before)

    def _doubt(self, seconds: float) -> None:
        """Who is silent for now may be there: it has time to say so as long as a gone one has."""
        self.peers.doubt(seconds)

    def _report(self, address: int, is_there: bool) -> None:
        if self._receiver is not None:
            report(self._receiver, address, is_there=is_there)

    def _tell_tails_soon(self, heard: float) -> None:
        """Tell on all channels how far we have counted: once for all who come back at a time.

        Args:
            heard: when the one who comes back was heard last, by the loop's clock.
        """
        assert self._loop is not None
        self._tails_since = min(self._tails_since, heard - _LOOK_BACK)
        if self._tails is None:
            self._tails = self._loop.call_later(_TAILS_EVERY, self._tell_tails)

    def _tell_tails(self) -> None:
        self._tails = None
        since = time.monotonic() - (self._now() - self._tails_since)
        self._tails_since = math.inf
        with self._numbering.lock:
            for subject, count in self._numbering.used_since(since, channels_only=True):
                self._queue_tail(subject, count)

    # --- one address, one owner ---------------------------------------------------------------

    def _defend(self, letter: Letter) -> None:
        """Somebody else says that our address is his: who has it for longer keeps it."""
        theirs = decode_presence(letter.data)
        ours = (self._is_claiming, self.since, self.incarnation)
        if ours < (theirs.is_new, theirs.since, letter.incarnation):
            self._tell(Kind.TAKEN, self._own, epoch=letter.incarnation)
        elif self._is_claiming:  # the other one may have come too late to hear us say so
            self._give_way()
        else:
            self._tell_of_us(Kind.HELLO, self._everybody)  # which makes the other one defend it

    def _give_way(self) -> None:
        if self._taken.is_set():
            return
        self._taken.set()
        if not self._is_claiming:
            name = describe_address(self.address)
            logger.error("there are two of %s on this bus; the other was first", name)
            if self._on_taken is not None:
                self._on_taken()


def _check_address(address: int) -> None:
    """Raise ValueError for an address that nobody can have."""
    if _LAST_WORKER < address < NODES or _LAST_NODE < address < VISITORS:
        raise ValueError(f"nobody has the address {address}")
