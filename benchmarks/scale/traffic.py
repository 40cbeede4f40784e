"""What passes through a broker, counted one operation after the other.

`Cluster` is a cluster on paper, of any size that fits in memory: who subscribes to what. Its
counters are what everything else is measured by: the expectations of `model` have to come near
them, and a real broker has to have counted the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from wsgroups.cluster.letters import HEAD_SIZE


@dataclass(slots=True)
class Counted:
    """Messages and bytes through a broker; bytes are those of the messages, as brokers count."""

    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    through_hubs: int = 0
    subscriptions: int = 0
    subscribes: int = 0
    unsubscribes: int = 0
    received: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))


class Cluster:
    """Workers by number, `workers_per_node` on each node, and what they ask for.

    Behind them come the nodes themselves: who keeps a node's number tells that it is there, too.

    A message by id goes to one worker: over the hub of the host, or over the broker. A message for
    a set goes to the broker once, and from there to each worker that has members but the sender;
    those of its own host have it from the hub already and drop that copy.
    """

    def __init__(self, nodes: int, workers_per_node: int) -> None:
        self.workers = nodes * workers_per_node
        self.tellers = self.workers + nodes
        self.workers_per_node = workers_per_node
        self.members: defaultdict[str, defaultdict[int, int]] = defaultdict(
            lambda: defaultdict(int)
        )
        self.counted = Counted()
        # Each asks for its own address and for signs of life.
        self.counted.subscriptions = self.counted.subscribes = 2 * self.tellers

    def node_of(self, worker: int) -> int:
        """Return the host of a worker."""
        return worker // self.workers_per_node

    def join(self, channel: str, worker: int) -> bool:
        """A socket of a worker joins a set; True when the broker has to be told."""
        members = self.members[channel]
        members[worker] += 1
        if members[worker] > 1:
            return False
        self.counted.subscribes += 1
        self.counted.subscriptions += 1
        return True

    def leave(self, channel: str, worker: int) -> bool:
        """A socket leaves it; True when the broker has to be told."""
        members = self.members[channel]
        members[worker] -= 1
        if members[worker]:
            return False
        del members[worker]
        self.counted.unsubscribes += 1
        self.counted.subscriptions -= 1
        return True

    def send(self, sender: int, owner: int, size: int) -> bool:
        """Send a message to a socket of another worker; True when the broker has to carry it."""
        if self.node_of(sender) == self.node_of(owner):
            self.counted.through_hubs += sender != owner
            return False
        self._pass(size, [owner])
        return True

    def publish(self, sender: int, channel: str, size: int) -> None:
        """Send a message to a set."""
        others = [worker for worker in self.members[channel] if worker != sender]
        near = sum(self.node_of(worker) == self.node_of(sender) for worker in others)
        self.counted.through_hubs += near
        self._pass(size, others)

    def beat(self, sender: int, size: int) -> None:
        """Tell all others that a worker is alive."""
        self._pass(size, [worker for worker in range(self.tellers) if worker != sender])

    def _pass(self, size: int, to: list[int]) -> None:
        counted = self.counted
        counted.messages_in += 1
        counted.bytes_in += size + HEAD_SIZE
        counted.messages_out += len(to)
        counted.bytes_out += len(to) * (size + HEAD_SIZE)
        for worker in to:
            counted.received[worker] += 1
