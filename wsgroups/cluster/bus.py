"""The Bus: what carries messages between workers, whatever it is made of.

It delivers at most once. Messages of one sender to one destination, sent or published, arrive in
the order in which they were given to it; what had to be dropped is counted and told as a gap.
"""

from __future__ import annotations

import logging
import secrets
from abc import ABC, abstractmethod
from typing import Protocol

from wsgroups.cluster.peers import Peers
from wsgroups.ids import WORKER_BITS

logger = logging.getLogger("wsgroups")

OUTBOX_LIMIT = 8 << 20  # bytes that wait for a bus that does not take them; then the oldest go
LARGEST_MESSAGE = 64 << 20  # bytes of one message
NODES = 1 << 30  # addresses from here on are of nodes themselves, by their numbers
VISITORS = 1 << 31  # addresses from here on are of visitors


class AddressTakenError(OSError):
    """Somebody else has this address on the bus."""


class Receiver(Protocol):
    """What a bus gives its messages to, in the loop that it was started in."""

    def received(self, data: bytes) -> None:
        """A message was sent to this worker's address."""

    def published(self, channel: bytes, data: bytes) -> None:
        """A message was published, by another worker, on a channel subscribed to."""

    def gap(self, count: int) -> None:
        """So many messages from or to this worker were dropped since the last call.

        0: the way to others is cut. How many that has cost is told when it is known.
        """

    def came(self, address: int) -> None:
        """A worker is there: also called for those that were there at the start."""

    def left(self, address: int) -> None:
        """A worker has ended; messages of its own may still come until `Bus.sync` has returned.

        Not called when this worker's own way to the bus is lost: then nobody has ended as far as
        is known.
        """


class Bus(ABC):
    """One worker's place on a bus. `start` and `stop` in its loop, the verbs from any thread.

    A visitor takes a place as well, to send from outside. It is told of the workers, but they are
    not told of it: answers reach it by the address that stands in what it has asked.

    Attributes:
        address: this worker's, 16 bits: `node << 6 | worker`, as it stands in its sockets' ids; of
            a visitor `visitor_address()`.
        dropped: messages that this worker's outbox had no room for.
    """

    address: int
    dropped: int

    @property
    @abstractmethod
    def peers(self) -> Peers:
        """The other workers; visitors are not among them."""

    @property
    @abstractmethod
    def backlog(self) -> int:
        """Bytes that the bus has not taken yet."""

    def backlog_to(self, destination: int) -> int:
        """Bytes that the way to an address has not taken yet."""
        return self.backlog

    @property
    def is_connected(self) -> bool:
        """False while the bus is away for a time, and what is sent waits."""
        return True

    @abstractmethod
    async def start(self, receiver: Receiver) -> None:
        """Take the place, in the running loop; `peers` is complete then.

        Raises:
            AddressTakenError: when somebody else has the address.
            OSError: when the bus cannot be reached.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Hand over what still waits, for a second at most, and leave."""

    @abstractmethod
    def send(self, destination: int, data: bytes) -> None:
        """Send a message to the worker at an address. Nobody there: it is dropped.

        Raises:
            ValueError: for more than 64 MiB.
        """

    @abstractmethod
    def publish(self, channel: bytes, data: bytes) -> None:
        """Send a message to every other worker that subscribes to a channel; as `send`."""

    @abstractmethod
    def subscribe(self, channel: bytes) -> None:
        """Ask for what others publish on a channel: any bytes but none.

        What is asked for before the start is in force before others hear of this worker.
        """

    @abstractmethod
    def unsubscribe(self, channel: bytes) -> None:
        """Ask for no more of it."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait until the bus has taken everything, or is gone."""

    @abstractmethod
    async def sync(self) -> None:
        """Wait until all that was asked before is in force, and what was sent is on its way.

        Raises:
            ConnectionError: when the bus is lost first.
        """


def visitor_address() -> int:
    """Return an address for somebody without sockets: 32 bits, the highest set, others by chance.

    No id leads there, as the addresses in ids have 16 bits.
    """
    return VISITORS | secrets.randbits(31)


def is_visitor(address: int) -> bool:
    """True for an address of somebody without sockets."""
    return address >= VISITORS


def describe_address(address: int) -> str:
    """Return whose address this is, for people.

    130 is "worker 2 of node 2", and 2 is "worker 2": node 0 is where there is only one.
    """
    if address >= VISITORS:
        return f"visitor {address:08x}"
    if address >= NODES:
        return f"node {address - NODES}"
    node, worker = divmod(address, 1 << WORKER_BITS)
    return f"worker {worker} of node {node}" if node else f"worker {worker}"


async def room_on(bus: Bus, destination: int | None = None) -> None:
    """Wait until a bus is not so far behind that messages given to it now would be dropped.

    Args:
        bus: which.
        destination: the address that they are for; None: more than one.
    """
    before = -1
    # Of many who wait, the first may fill it again. Where nothing has changed, the bus is gone.
    while (behind := backlog(bus, destination)) >= OUTBOX_LIMIT // 2 and behind != before:
        before = behind
        await bus.drain()


def backlog(bus: Bus, destination: int | None = None) -> int:
    """Bytes that a bus has not taken yet, on the way to an address, or on any."""
    return bus.backlog if destination is None else bus.backlog_to(destination)


def check_size(data: bytes) -> None:
    """Raise ValueError for a message that no bus takes."""
    if len(data) > LARGEST_MESSAGE:
        raise ValueError(f"a message of {len(data)} bytes is too large for another worker: 64 MiB")


def report(receiver: Receiver, address: int, *, is_there: bool) -> None:
    """Tell a receiver who has come or left; what it raises is logged."""
    try:
        (receiver.came if is_there else receiver.left)(address)
    except Exception:
        name = describe_address(address)
        logger.exception("that %s came or left could not be handled", name)


def hand_over(receiver: Receiver, channel: bytes | None, data: bytes) -> None:
    """Give a message to a receiver; what it raises is logged and hurts nobody else."""
    try:
        if channel is None:
            receiver.received(data)
        else:
            receiver.published(channel, data)
    except Exception:
        logger.exception("a message from another worker could not be handled")
