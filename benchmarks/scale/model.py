"""The same as expected values, for clusters of any size: what passes a second, and what it costs.

Members of a room are anywhere, independently of one another. A worker other than the speaker's then
has at least one of the other `m - 1` members with probability `1 - (1 - 1/W) ** (m - 1)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from wsgroups.cluster.letters import HEAD_SIZE, Presence, encode_presence
from wsgroups.cluster.messages import BINARY, TEXT, Many, One, encode_many, encode_one

from .costs import BrokerCosts, Costs, Passing
from .load import Load, RoomClass, room_classes
from .wires import NatsWire

HOUR = 3600.0  # seconds
ONE_OVERHEAD = HEAD_SIZE + len(encode_one(One(TEXT, 1, b"")))  # bytes
MANY_OVERHEAD = HEAD_SIZE + len(encode_many(Many(BINARY, b"")))  # bytes
BEAT = HEAD_SIZE + len(encode_presence(Presence(0, False)))  # bytes
SUBJECT = f"wsgroups.on.{0:040x}"


class Beats(Enum):
    """Who tells whom that it is alive."""

    WORKERS = "each worker tells all"
    NODES = "each node tells all, for its workers"
    GOSSIP = "each node tells three"


class Interest(Enum):
    """Who asks the broker for a room."""

    WORKERS = "each worker that has members"
    NODES = "each node that has members, once"
    HOMES = "nobody: one node keeps the list"


@dataclass(frozen=True, slots=True)
class Design:
    """How a cluster is wired. The default is how it is built.

    Attributes:
        beats: who tells whom.
        interest: who asks for what.
        remembered: seconds for which the last number of a sender in a room is kept.
    """

    beats: Beats = Beats.WORKERS
    interest: Interest = Interest.WORKERS
    remembered: float = HOUR

    @property
    def has_gateways(self) -> bool:
        """True when workers reach the broker through one connection of their node."""
        return self.interest is not Interest.WORKERS


AS_BUILT = Design()


@dataclass(frozen=True, slots=True)
class Flow:
    """Through the broker, a second.

    Attributes:
        coming: messages published.
        going: copies delivered.
        size: bytes of each, with the headers of the bus.
    """

    coming: float
    going: float
    size: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """A cluster at work, all figures a second or at any moment.

    Attributes:
        nodes: hosts.
        workers: processes with sockets.
        places: who sends and receives at the broker: workers, or nodes where each has a gateway.
        connections: clients of the broker, with those that keep the numbers of nodes.
        sockets: open ones.
        rooms: that have members.
        ids, room_sends, group_sends, beats: through the broker.
        wasted: copies that a worker gets and drops, because its hub has brought them.
        hub_coming: messages into all hubs.
        hub_going: copies out of them.
        subscribes: subscriptions that come, and as many that go.
        interest: subscriptions that are there.
        subjects: different ones.
        sequences: last numbers that all places keep for rooms, after `Design.remembered`.
        peers: entries that all workers keep of one another, and each node's gateway of others.
        socket_messages: to sockets by id.
        deliveries: to sockets of groups and rooms.
    """

    nodes: int
    workers: int
    places: int
    connections: int
    sockets: int
    rooms: float
    ids: Flow
    room_sends: Flow
    group_sends: Flow
    beats: Flow
    wasted: float
    hub_coming: float
    hub_going: float
    subscribes: float
    interest: float
    subjects: float
    sequences: float
    peers: float
    socket_messages: float
    deliveries: float

    @property
    def flows(self) -> tuple[Flow, ...]:
        """All that passes through the broker."""
        return (self.ids, self.room_sends, self.group_sends, self.beats)

    @property
    def coming(self) -> float:
        """Messages into the broker."""
        return sum(flow.coming for flow in self.flows)

    @property
    def going(self) -> float:
        """Messages out of it."""
        return sum(flow.going for flow in self.flows)

    @property
    def bytes_coming(self) -> float:
        """Bytes into it, its protocol included."""
        around = len(NatsWire().publish(SUBJECT, b"x" * 100)) - 100
        return sum(flow.coming * (flow.size + around) for flow in self.flows)

    @property
    def bytes_going(self) -> float:
        """Bytes out of it, its protocol included."""
        around = len(NatsWire().delivered(SUBJECT, 1000, b"x" * 100)) - 100
        return sum(flow.going * (flow.size + around) for flow in self.flows)


def simulate(load: Load, nodes: int, design: Design = AS_BUILT) -> Traffic:
    """Return what passes in a cluster of so many nodes."""
    per_node = load.workers_per_node
    workers = nodes * per_node
    sockets = workers * load.sockets_per_worker
    rooms = _Rooms(load, nodes, design)
    places = nodes if design.has_gateways else workers
    connections = nodes if design.has_gateways else workers + nodes
    by_id = sockets / load.id_interval
    group_sends = load.groups / load.group_interval
    beats = _beats(load, nodes, workers, design)
    crossing = by_id * (nodes - 1) / nodes
    to_neighbours = by_id * (per_node - 1) / workers
    near = crossing if design.has_gateways else 0.0  # to and from the gateway, over the hub
    return Traffic(
        nodes=nodes,
        workers=workers,
        places=places,
        connections=connections,
        sockets=sockets,
        rooms=rooms.count,
        ids=Flow(crossing, crossing, load.payload + ONE_OVERHEAD),
        room_sends=Flow(rooms.coming, rooms.going, load.payload + MANY_OVERHEAD),
        group_sends=Flow(group_sends, group_sends * (places - 1), load.payload + MANY_OVERHEAD),
        beats=beats,
        wasted=rooms.wasted + (0.0 if design.has_gateways else group_sends * (per_node - 1)),
        hub_coming=to_neighbours + rooms.hub_coming + group_sends + 2 * near,
        hub_going=to_neighbours + rooms.hub_going + group_sends * (per_node - 1) + 2 * near,
        subscribes=rooms.subscribes,
        interest=rooms.interest + load.groups * places + 2 * connections,
        subjects=rooms.subjects + load.groups + connections + 1,
        sequences=rooms.sequences,
        peers=float(workers) * workers,
        socket_messages=by_id,
        deliveries=rooms.deliveries + group_sends * sockets,
    )


def _beats(load: Load, nodes: int, workers: int, design: Design) -> Flow:
    if design.beats is Beats.WORKERS:
        tellers = workers + nodes  # who keeps a node's number tells that it is there, too
        return Flow(
            tellers / load.beat_interval, tellers * (tellers - 1.0) / load.beat_interval, BEAT
        )
    told = nodes - 1.0 if design.beats is Beats.NODES else min(3.0, nodes - 1.0)
    # To all it is one message that the broker copies, to three it is three.
    coming = nodes if design.beats is Beats.NODES else nodes * told
    about = 10 * load.workers_per_node  # bytes: address and first sequence of each worker
    return Flow(coming / load.beat_interval, nodes * told / load.beat_interval, BEAT + about)


class _Rooms:
    """Sums over all rooms."""

    def __init__(self, load: Load, nodes: int, design: Design) -> None:
        self.count = self.coming = self.going = self.wasted = self.deliveries = 0.0
        self.hub_coming = self.hub_going = self.subscribes = 0.0
        self.interest = self.subjects = self.sequences = 0.0
        workers = nodes * load.workers_per_node
        sockets = workers * load.sockets_per_worker
        places = nodes if design.has_gateways else workers
        for each in room_classes(load, sockets):
            rate = each.count * min(each.size / load.speak_interval, load.room_limit)
            moves = each.count * each.size / load.move_interval
            self.count += each.count
            self.deliveries += rate * (each.size - 1)
            self._talk(load, design, nodes, each.size, rate)
            self._ask(design, nodes, workers, each.size, each.count, moves)
            self._number(load, design, places, each, rate / each.count)

    def _talk(self, load: Load, design: Design, nodes: int, size: int, rate: float) -> None:
        """Messages of rooms of one size, of which there are so many a second in all."""
        per_node = load.workers_per_node
        workers = nodes * per_node
        other_worker = 1.0 - (1.0 - 1.0 / workers) ** (size - 1)  # has a member, given the speaker
        self.hub_coming += rate
        self.hub_going += rate * (per_node - 1) * other_worker
        if design.interest is Interest.WORKERS:
            self.coming += rate
            self.going += rate * (workers - 1) * other_worker
            self.wasted += rate * (per_node - 1) * other_worker
            return
        other_node = 1.0 - (1.0 - 1.0 / nodes) ** (size - 1)
        reached = rate * (nodes - 1) * other_node
        self.hub_going += rate  # to the gateway
        self.hub_coming += reached
        self.hub_going += rate * (nodes - 1) * per_node * other_worker
        if design.interest is Interest.NODES:
            self.coming += rate
            self.going += reached
        else:  # first to the home, if that is another node; from there to each that has members
            passed = rate * (nodes - 1) / nodes + reached
            self.coming += passed
            self.going += passed

    def _ask(
        self, design: Design, nodes: int, workers: int, size: int, count: float, moves: float
    ) -> None:
        """Subscriptions to rooms of one size, and how often they come."""
        places = workers if design.interest is Interest.WORKERS else nodes
        holding = places * (1.0 - (1.0 - 1.0 / places) ** size)
        first = moves * (1.0 - 1.0 / places) ** (size - 1)  # nobody else of the room is there
        if design.interest is Interest.HOMES:  # two messages to the home instead
            self.coming += 2 * first * (nodes - 1) / nodes
            self.going += 2 * first * (nodes - 1) / nodes
            return
        self.interest += count * holding
        self.subjects += count
        self.subscribes += first

    def _number(
        self, load: Load, design: Design, places: int, each: RoomClass, rate: float
    ) -> None:
        """Senders that each place with members has heard of late; of a home there is one.

        They are forgotten when the last member there has left: members that come and go are the
        customers of a queue with as many servers as it needs, whose busy periods have this length.
        """
        holding = places * (1.0 - (1.0 - 1.0 / places) ** each.size)
        if design.interest is Interest.HOMES:
            self.sequences += each.count * holding
            return
        there = min(each.size / places, 50.0)  # members, in the mean; beyond, they never all leave
        kept = min(design.remembered, load.move_interval * math.expm1(there) / there)
        heard = holding * -math.expm1(-rate * kept / holding)
        self.sequences += each.count * max(0.0, holding - 1.0) * heard


# --- what it costs --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bill:
    """What a broker and the workers need.

    Attributes:
        broker_cores: CPU seconds a second, all of the broker.
        broker_bytes: its memory.
        worker_share: of one core, that the bus takes in each worker.
        hub_share: of one core, that the hub takes on each host.
        socket_share: of one core, that the sockets take in each worker.
        bus_bytes: for interest, sequence numbers and peers, in each worker or in each gateway.
        socket_bytes: for sockets and rooms in each worker.
        gateway_share: of one core, that a node's gateway takes; 0 where there is none.
    """

    broker_cores: float
    broker_bytes: float
    worker_share: float
    hub_share: float
    socket_share: float
    bus_bytes: float
    socket_bytes: float
    gateway_share: float


def bill(traffic: Traffic, load: Load, costs: Costs, broker: BrokerCosts) -> Bill:
    """Return what it costs.

    Args:
        traffic: what passes.
        load: what makes it.
        costs: the unit costs.
        broker: those of one broker.
    """
    passing, hub = prices(traffic, broker), costs.worker.hub_alone
    if traffic.places < traffic.workers:  # all that comes passes it, most of it not alone
        hub = costs.worker.hub_together
    cores = sum(
        flow.coming * passing.publish.at(flow.size) + flow.going * passing.deliver.at(flow.size)
        for flow in traffic.flows
    ) + traffic.subscribes * (broker.subscribe + broker.unsubscribe)
    size = load.payload + MANY_OVERHEAD
    clients = sum(
        flow.coming * passing.send.at(flow.size) + flow.going * passing.receive.at(flow.size)
        for flow in traffic.flows
    )
    locally = traffic.hub_coming * hub.send.at(size) + traffic.hub_going * hub.receive.at(size)
    carried = traffic.hub_coming * hub.publish.at(size) + traffic.hub_going * hub.deliver.at(size)
    has_gateways = traffic.places < traffic.workers
    worker = costs.worker
    sockets = traffic.socket_messages * worker.echo + traffic.deliveries * worker.delivery
    return Bill(
        broker_cores=cores * 1e-6,
        broker_bytes=_broker_bytes(traffic, broker),
        worker_share=(locally + (0 if has_gateways else clients)) * 1e-6 / traffic.workers,
        hub_share=carried * 1e-6 / traffic.nodes,
        socket_share=sockets * 1e-6 / traffic.workers,
        bus_bytes=_bus_bytes(traffic, costs, broker),
        socket_bytes=_socket_bytes(traffic, load, costs),
        gateway_share=(clients if has_gateways else 0) * 1e-6 / traffic.nodes,
    )


def prices(traffic: Traffic, broker: BrokerCosts) -> Passing:
    """Return what messages cost at the rate at which they go to each connection."""
    return broker.passing(max(1.0, traffic.going / traffic.places))


def _broker_bytes(traffic: Traffic, broker: BrokerCosts) -> float:
    # A second connection asks for a subject of its own, to see that both are there.
    second = (broker.connections_each - 1) * (broker.connection_bytes + broker.subject_bytes)
    return (
        broker.base_bytes
        + traffic.connections * (broker.connection_bytes + second)
        + traffic.subjects * broker.subject_bytes
        + (traffic.interest - traffic.subjects) * broker.subscription_bytes
    )


def _bus_bytes(traffic: Traffic, costs: Costs, broker: BrokerCosts) -> float:
    worker = costs.worker
    by_address = 2 * float(traffic.places) * traffic.places  # numbers sent, and numbers heard
    kept = (
        (traffic.sequences + by_address) * worker.sequence_bytes
        + traffic.peers * worker.peer_bytes
        + traffic.interest * (worker.channel_bytes + broker.interest_bytes)
    )
    return kept / traffic.places


def _socket_bytes(traffic: Traffic, load: Load, costs: Costs) -> float:
    worker = costs.worker
    memberships = load.rooms_per_socket * load.sockets_per_worker
    held = min(memberships, traffic.interest / traffic.workers)
    return (
        load.sockets_per_worker * worker.idle_bytes
        + held * worker.room_bytes
        + (memberships - held) * worker.membership_bytes
    )
