"""A node among many: its workers by its own hub, those of other nodes through a broker."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

from wsgroups.cluster.broker import BrokerBus
from wsgroups.cluster.bus import NODES, AddressTakenError, Bus, Receiver, is_visitor
from wsgroups.cluster.kinds import session_of
from wsgroups.cluster.peers import Peers
from wsgroups.cluster.unix import UnixBus
from wsgroups.ids import NODE_BITS, WORKER_BITS

_MOST = 1 << NODE_BITS
# Seconds for the node that has a number to say so: it may itself be just coming back to the broker.
_CLAIM = 2.0


class NodeBus(Bus):
    """A worker's place among those of its node and those of others.

    Messages within the node stay in it, and go on when the broker is away.

    Args:
        hub: the path of the node's hub.
        url: of the broker.
        address: as of `Bus`.
        since: the id sequence that this worker began above.
        on_lost: called when the hub is gone.
        on_note: called with the notes that the hub sends to all.
    """

    def __init__(
        self,
        hub: str,
        url: str,
        address: int,
        since: int,
        *,
        on_lost: Callable[[], None] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        self.address = address
        self._peers = Peers(near=address >> WORKER_BITS)
        self._near = UnixBus(
            hub, address, since, peers=self._peers, on_lost=on_lost, on_note=on_note
        )
        # The node's number is leased and the worker's as well: nobody has to be asked.
        self._far = BrokerBus(
            url,
            session_of(url),
            address,
            since,
            is_node_near=True,
            may_wait=True,
            peers=self._peers,
        )

    @property
    def peers(self) -> Peers:
        """As of `Bus`."""
        return self._peers

    @property
    def dropped(self) -> int:  # type: ignore[override]
        """As of `Bus`."""
        return self._near.dropped + self._far.dropped

    @property
    def backlog(self) -> int:
        """As of `Bus`: of the way that is further behind."""
        return max(self._near.backlog, self._far.backlog)

    def backlog_to(self, destination: int) -> int:
        """As of `Bus`: a broker that is behind holds up nothing within the node."""
        return self._way_to(destination).backlog

    async def start(self, receiver: Receiver) -> None:
        """As of `Bus`. The broker may be away; it is looked for until it is there."""
        await self._near.start(receiver)
        try:
            await self._far.start(receiver)
        except BaseException:
            await self._near.stop()
            raise

    async def stop(self) -> None:
        """As of `Bus`."""
        await self._far.stop()
        await self._near.stop()

    def send(self, destination: int, data: bytes) -> None:
        """As of `Bus`; visitors are on the broker."""
        self._way_to(destination).send(destination, data)

    def _way_to(self, destination: int) -> Bus:
        is_near = destination >> WORKER_BITS == self.address >> WORKER_BITS
        return self._near if is_near and not is_visitor(destination) else self._far

    def publish(self, channel: bytes, data: bytes) -> None:
        """As of `Bus`."""
        self._near.publish(channel, data)
        self._far.publish(channel, data)

    def subscribe(self, channel: bytes) -> None:
        """As of `Bus`."""
        self._near.subscribe(channel)
        self._far.subscribe(channel)

    def unsubscribe(self, channel: bytes) -> None:
        """As of `Bus`."""
        self._near.unsubscribe(channel)
        self._far.unsubscribe(channel)

    async def drain(self) -> None:
        """As of `Bus`."""
        await self._near.drain()
        await self._far.drain()

    async def sync(self) -> None:
        """As of `Bus`; without the broker while that is away."""
        await self._near.sync()
        with contextlib.suppress(ConnectionError):
            await self._far.sync()

    def note(self, text: str) -> None:
        """Tell whoever keeps the hub something. In the loop's thread."""
        self._near.note(text)


class NodeLease:
    """A node number that no other node has, as long as this is open and hears of others.

    It is held by being there: who comes later and wants the number is told. When two have the same,
    each cut off from the other, the younger gives way as soon as they hear of one another.

    Attributes:
        number: 1 to 1,023.
    """

    def __init__(self, bus: BrokerBus, number: int) -> None:
        self.number = number
        self._bus = bus

    def tell_ended(self, address: int, since: int) -> None:
        """Tell the other nodes that a worker of this one has ended. In the loop's thread."""
        self._bus.tell_ended(address, since)

    async def close(self) -> None:
        """Give the number back."""
        await self._bus.stop()


async def lease_node(
    url: str, since: int, on_taken: Callable[[], None], wanted: int | None = None
) -> NodeLease:
    """Take a node number on a broker: one by chance, or the one that is wanted.

    Args:
        url: of the broker.
        since: the id sequence of now; who has a smaller one keeps a number against us.
        on_taken: called when another node has turned out to have had the number for longer.
        wanted: 1 to 1,023.

    Raises:
        AddressTakenError: when another node has the number that is wanted, or all of many others.
        OSError: when the broker cannot be reached.
    """
    free = set(range(1, _MOST)) if wanted is None else {wanted}
    while free:
        number = random.choice(tuple(free))
        bus = BrokerBus(
            url, session_of(url), NODES | number, since, patience=_CLAIM, on_taken=on_taken
        )
        try:
            await bus.start(_Deaf())
        except AddressTakenError:
            heard = bus.neighbours.heard
            free -= {number, *(address & ~NODES for address in heard if address & NODES)}
        else:
            return NodeLease(bus, number)
    if wanted is not None:
        raise AddressTakenError(
            f"node {wanted} is another node's on this bus; without --node one is chosen"
        )
    raise AddressTakenError(
        f"all {_MOST - 1} node numbers are taken on this bus; wait until one ends, "
        "or give each application its own ?app=NAME in --bus"
    )


class _Deaf:
    """Nothing is sent to a node itself."""

    def received(self, data: bytes) -> None:
        """Nothing to do."""

    def published(self, channel: bytes, data: bytes) -> None:
        """Nothing to do."""

    def gap(self, count: int) -> None:
        """Nothing to do."""

    def came(self, address: int) -> None:
        """Nothing to do."""

    def left(self, address: int) -> None:
        """Nothing to do."""
