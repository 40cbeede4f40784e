"""What a worker has to say through a broker, in the order in which it goes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from wsgroups.cluster.interest import Interest
from wsgroups.cluster.letters import Letter, encode
from wsgroups.cluster.outbox import Outbox
from wsgroups.cluster.session import Session

_A_WRITE = 256 << 10  # bytes published at once
_UNCONFIRMED = 1 << 20  # bytes that may be on their way


class _Outgoing(NamedTuple):
    """A letter that waits, with the subject it goes to."""

    subject: bytes
    letter: Letter

    @property
    def size(self) -> int:
        return 64 + len(self.letter.data)


class Writer:
    """Writes to one session after the other: what we ask for, signs of life, then messages.

    In one loop's thread, except where it says otherwise.

    Args:
        limit: bytes of messages that may wait; then the oldest go.
        interest: the channels to ask for.
        on_forgotten: called with a channel that is asked for no more.
        on_dropped: called with how many messages had no room, now and then.

    Attributes:
        session: the one that is written to, or None.
    """

    def __init__(
        self,
        limit: int,
        interest: Interest,
        on_forgotten: Callable[[bytes], None],
        on_dropped: Callable[[int], None],
    ) -> None:
        self.session: Session | None = None
        self._outbox: Outbox[_Outgoing] = Outbox(limit, size_of=lambda item: item.size)
        self._first: list[_Outgoing] = []  # goes before all messages, and is not dropped
        self._interest = interest
        self._on_forgotten = on_forgotten
        self._on_dropped = on_dropped
        self._told = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._wake = asyncio.Event()
        self._is_busy = False
        self._begun = 0  # turns of `run`
        self._written = 0  # messages, those that were dropped among them
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def size(self) -> int:
        """Bytes of messages that wait."""
        return self._outbox.size

    @property
    def dropped(self) -> int:
        """How many messages had no room."""
        return self._outbox.dropped

    @property
    def first(self) -> int:
        """How many letters wait that go before all messages."""
        return len(self._first)

    def begin(self) -> None:
        """This loop, and its thread, are those of what follows."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop. From any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and this with it
                self._loop.call_soon_threadsafe(function)

    def put(self, subject: bytes, letter: Letter, *, makes_room: bool = True) -> None:
        """Append a message, as of `Outbox.put`. From any thread."""
        if self._outbox.put(_Outgoing(subject, letter), makes_room=makes_room):
            self.wake_up()

    def put_first(self, subject: bytes, letter: Letter) -> None:
        """Have a letter go before all messages."""
        self._first.append(_Outgoing(subject, letter))
        self._is_busy = True
        self._wake.set()

    def wake_up(self) -> None:
        """There is something to write. From any thread."""
        if threading.get_ident() == self._thread:
            self._wake.set()
        else:
            self.call(self._wake.set)

    async def drain(self) -> None:
        """Wait until all that is there to be written is, or the session is over.

        What comes meanwhile is not waited for: it may come without end.
        """
        message, turn = self._outbox.added, self._begun
        while self.session is not None and (self._is_busy or self.size or self._interest):
            if self._begun > turn + 1 and self._written >= message:
                break
            done = asyncio.get_running_loop().create_future()
            self._waiters.append(done)
            await done

    def tell_dropped(self) -> None:
        """Tell of what had no room since this was done last."""
        dropped, self._told = self.dropped - self._told, self.dropped
        if dropped:
            self._on_dropped(dropped)

    async def open(self, session: Session, subjects: list[bytes]) -> None:
        """Ask on a new session for these subjects, and all the channels of before."""
        self._is_busy = True
        self._apply_interest()
        await session.subscribe([*subjects, *self._interest.channels])
        self.session = session

    async def write_first(self, session: Session) -> None:
        """Write what goes before all messages, and no message."""
        first, self._first = self._first, []
        await _publish(session, first)

    async def run(self, session: Session) -> None:
        """Write what comes until the session is over."""
        window = _Window(session, self._wake)
        try:
            while not session.lost.done():
                self._begin_turn()
                await self._ask(session)
                self.tell_dropped()
                await self.write_first(session)
                if window.is_open():
                    window.add(await _publish(session, self._outbox.take(_A_WRITE)))
                if self._first or (self.size and window.is_open()):
                    continue
                self._is_busy = False
                self._release_waiters()
                await self._wake.wait()
        finally:
            window.close()

    def close(self) -> None:
        """The session is over."""
        self.session = None
        self._release_waiters()
        self._wake.set()

    def _begin_turn(self) -> None:
        """All that was taken in the turn before is with the broker."""
        self._wake.clear()
        self._is_busy = True
        self._begun += 1
        self._written = self._outbox.gone
        self._release_waiters()

    def _release_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for done in waiters:
            if not done.done():
                done.set_result(None)

    async def _ask(self, session: Session) -> None:
        added, removed = self._apply_interest()
        if added:
            await session.subscribe(added)
        if removed:
            await session.unsubscribe(removed)

    def _apply_interest(self) -> tuple[Iterable[bytes], Iterable[bytes]]:
        """Return the subjects that are new, and those that are asked for no more."""
        added, removed = self._interest.apply()
        for channel in removed.values():
            self._on_forgotten(channel)
        return added, removed


class _Window:
    """How much may be on its way that the broker has not read, or we of what came before it.

    Who has no time to read has none to send: a broker ends those who are far behind.
    """

    def __init__(self, session: Session, wake: asyncio.Event) -> None:
        self._session = session
        self._wake = wake
        self._size = 0
        self._confirming: asyncio.Future[None] | None = None

    def is_open(self) -> bool:
        """True when more may be written; `wake` is set when that is so again.

        Raises:
            Exception: as of `Session.sync`.
        """
        if self._confirming is not None and self._confirming.done():
            self._confirming.result()
            self._confirming = None
        return self._confirming is None

    def add(self, size: int) -> None:
        """So many bytes have been written."""
        self._size += size
        if self._size >= _UNCONFIRMED:
            self._size = 0
            self._confirming = asyncio.ensure_future(self._session.sync())
            self._confirming.add_done_callback(lambda _: self._wake.set())

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._confirming is not None:
            self._confirming.cancel()


async def _publish(session: Session, going: Iterable[_Outgoing]) -> int:
    """Publish letters, and return how many bytes that were."""
    payloads: list[tuple[bytes, bytes]] = []
    for subject, letter in going:
        payloads += [(subject, payload) for payload in encode(letter, session.largest)]
    if payloads:
        await session.publish(payloads)
    return sum(len(payload) for _, payload in payloads)
