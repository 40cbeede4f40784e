"""What a machine and a process have to give, and at how many nodes that is used up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wsgroups.ids import NODE_BITS

from .costs import BrokerCosts, Costs
from .load import Load
from .model import AS_BUILT, Bill, Design, Flow, Traffic, bill, prices, simulate

NATS_CORES, REDIS_CORES = 16.0, 1.0  # Redis passes all messages on in one thread
NETWORK = 1.25e9  # bytes a second each way: 10 Gb/s
MEMORY = 64e9  # bytes
BUS_SHARE = 0.25  # of a worker's core; the rest is for sockets and the application
BUS_MEMORY = 256e6  # bytes of a worker
ONE_CORE = 1.0  # the hub and a gateway are one process each
NODES = (1 << NODE_BITS) - 1  # that ids have numbers for
FAR = 1 << 20  # nodes; nobody looks further


@dataclass(frozen=True, slots=True)
class Case:
    """A cluster with its bill."""

    traffic: Traffic
    bill: Bill
    cores_limit: float

    @property
    def brokers(self) -> float:
        """Machines that the broker needs, when its subjects are dealt out among them evenly."""
        return max(
            self.bill.broker_cores / self.cores_limit,
            max(self.traffic.bytes_coming, self.traffic.bytes_going) / NETWORK,
            self.bill.broker_bytes / MEMORY,
        )


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that a case depends on but its number of nodes.

    Attributes:
        load: what sockets do.
        costs: measured.
        broker: which of both.
        cores: that it can use.
        design: how it is wired.
    """

    load: Load
    costs: Costs
    broker: BrokerCosts
    cores: float
    design: Design = AS_BUILT

    def case(self, nodes: int) -> Case:
        """Return a cluster of so many nodes."""
        traffic = simulate(self.load, nodes, self.design)
        found = bill(traffic, self.load, self.costs, self.broker)
        return Case(traffic, found, self.cores)

    def cores_of(self, traffic: Traffic, flow: Flow) -> float:
        """Return what one kind of message takes of the broker."""
        passing = prices(traffic, self.broker)
        of_coming = flow.coming * passing.publish.at(flow.size)
        return 1e-6 * (of_coming + flow.going * passing.deliver.at(flow.size))

    def cores_of_moves(self, traffic: Traffic) -> float:
        """Return what subscriptions take of it that come and go."""
        return 1e-6 * traffic.subscribes * (self.broker.subscribe + self.broker.unsubscribe)


Use = Callable[[Model, Case], float]

# What is used up, as a share of what there is: 1 and more is too much.
USES: dict[str, Use] = {
    "CPU of the broker, all together": lambda model, case: case.bill.broker_cores / model.cores,
    "· room sends": lambda model, case: (
        model.cores_of(case.traffic, case.traffic.room_sends) / model.cores
    ),
    "· signs of life": lambda model, case: (
        model.cores_of(case.traffic, case.traffic.beats) / model.cores
    ),
    "· messages by id": lambda model, case: (
        model.cores_of(case.traffic, case.traffic.ids) / model.cores
    ),
    "· subscriptions that come and go": lambda model, case: (
        model.cores_of_moves(case.traffic) / model.cores
    ),
    "· group sends": lambda model, case: (
        model.cores_of(case.traffic, case.traffic.group_sends) / model.cores
    ),
    "Bytes out of the broker": lambda model, case: case.traffic.bytes_going / NETWORK,
    "Memory of the broker": lambda model, case: case.bill.broker_bytes / MEMORY,
    "CPU of a worker for the bus": lambda model, case: case.bill.worker_share / BUS_SHARE,
    "CPU of a host's hub": lambda model, case: case.bill.hub_share / ONE_CORE,
    "Memory of a worker for the bus": lambda model, case: case.bill.bus_bytes / BUS_MEMORY,
    "CPU of a worker for its sockets": lambda model, case: case.bill.socket_share / ONE_CORE,
    "Numbers of nodes in ids": lambda model, case: case.traffic.nodes / (NODES + 0.5),
}


def used_up_at(model: Model, use: Use) -> int | None:
    """Return the least number of nodes at which something is used up; None when it never is."""
    if use(model, model.case(1)) >= 1.0:
        return 1
    if use(model, model.case(FAR)) < 1.0:
        return None
    enough, too_many = 1, FAR
    while too_many - enough > 1:
        middle = (enough + too_many) // 2
        if use(model, model.case(middle)) < 1.0:
            enough = middle
        else:
            too_many = middle
    return too_many
