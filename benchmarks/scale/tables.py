"""The tables of the page and of the terminal: rows of words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .costs import Costs, Passing
from .limits import (
    BUS_MEMORY,
    BUS_SHARE,
    MEMORY,
    NATS_CORES,
    NETWORK,
    NODES,
    REDIS_CORES,
    USES,
    Model,
    used_up_at,
)
from .load import Load
from .model import AS_BUILT, Beats, Design, Interest
from .trial import draw

SIZES = (1, 3, 10, 100, 1000)  # nodes
WAYS = ("together", "alone")
BROKERS = ("nats", "redis")
CORES = {"nats": NATS_CORES, "redis": REDIS_CORES}
DESIGNS = {
    "as it is": AS_BUILT,
    "numbers of senders forgotten after 10 s": Design(remembered=10.0),
    "and one sign of life a node": Design(Beats.NODES, remembered=10.0),
    "and each node tells three": Design(Beats.GOSSIP, remembered=10.0),
    "and a gateway a node": Design(Beats.GOSSIP, Interest.NODES, 10.0),
    "and rooms with a home": Design(Beats.GOSSIP, Interest.HOMES, 10.0),
}
TRIAL_LOAD = Load(
    workers_per_node=2,
    sockets_per_worker=300,
    speak_interval=20.0,
    id_interval=10.0,
    move_interval=60.0,
)
TRIAL_NODES, TRIAL_SEED = 3, 1


@dataclass(frozen=True, slots=True)
class Table:
    """Heads and rows; the first column is text, the others are figures."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return it as Markdown."""
        rule = "|---|" + "---:|" * (len(self.heads) - 1)
        lines = [f"| {' | '.join(self.heads)} |", rule]
        return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in self.rows)])


def tables(costs: Costs) -> dict[str, Table]:
    """Return all tables, by the names that the page has for them."""
    load = Load()
    return {
        "messages": _messages(costs),
        "paces": _paces(costs),
        "memory": _memory(costs),
        "load": _load(load),
        "trial": _trial(),
        "traffic": _traffic(load, costs),
        "bill": _bill(load, costs),
        "limits": _limits(load, costs),
        "room": _room(),
        "designs": _designs(load, costs),
    }


def short(value: float) -> str:
    """Return a figure with two digits or three, and k, M or G behind it."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{_digits(value / unit)}{name}"
    return _digits(value)


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"


# --- what was measured ----------------------------------------------------------------------


def _messages(costs: Costs) -> Table:
    heads = (
        "CPU µs a message, 32 B / 1 KiB",
        *(f"{name}, {way}" for name in ("NATS", "Redis", "Unix hub") for way in WAYS),
    )
    worker = costs.worker
    columns: list[Passing] = [
        costs.nats.together,
        costs.nats.alone,
        costs.redis.together,
        costs.redis.alone,
        worker.hub_together,
        worker.hub_alone,
    ]
    words = {
        "publish": "broker or hub, a message that comes",
        "deliver": "broker or hub, a copy that goes",
        "send": "worker, a message that it publishes",
        "receive": "worker, a message that it gets",
    }
    rows = tuple(
        (text, *(_pair(column, name) for column in columns)) for name, text in words.items()
    )
    return Table(heads, (*rows, *_samples(costs)))


def _pair(passing: Passing, name: str) -> str:
    price = getattr(passing, name)
    return f"{_digits(price.small)} / {_digits(price.large)}"


def _samples(costs: Costs) -> list[tuple[str, ...]]:
    rows = []
    for count in (1, 10, 100):
        cells = []
        for broker in (costs.nats, costs.redis):
            for way in WAYS:
                found = [
                    _digits(one.cpu)
                    for one in broker.samples
                    if one.way == way and one.subscribers == count
                ]
                cells.append(" / ".join(found))
        rows.append((f"broker, a message to {count} in all", *cells, "", ""))
    return rows


def _paces(costs: Costs) -> Table:
    heads = (
        "One by one to one worker, CPU µs a message",
        "NATS, broker",
        "NATS, worker",
        "Redis, broker",
        "Redis, worker",
    )
    rows = []
    for nats, redis in zip(costs.nats.paces, costs.redis.paces, strict=True):
        figures = (nats.broker, nats.receive, redis.broker, redis.receive)
        rows.append(
            (
                f"{short(nats.rate)} a second; Redis {short(redis.rate)}",
                *(_digits(figure) for figure in figures),
            )
        )
    return Table(heads, tuple(rows))


def _memory(costs: Costs) -> Table:
    heads = ("", costs.nats.name, costs.redis.name)

    def row(text: str, name: str) -> tuple[str, ...]:
        return (text, *(f"{getattr(one, name):,.1f}" for one in (costs.nats, costs.redis)))

    def size(text: str, name: str) -> tuple[str, ...]:
        return (text, *(f"{getattr(one, name):,.0f}" for one in (costs.nats, costs.redis)))

    def own(text: str, value: float) -> tuple[str, ...]:
        return (text, f"{value:,.0f}", f"{value:,.0f}")

    return Table(
        heads,
        (
            row("a subscription that comes, CPU µs", "subscribe"),
            row("one that goes, CPU µs", "unsubscribe"),
            size("the first subscription to a subject, bytes", "subject_bytes"),
            size("each further one, bytes", "subscription_bytes"),
            size("a connection, bytes", "connection_bytes"),
            size("worker: a subscription in its client, bytes", "interest_bytes"),
            own("worker: the names of a channel, bytes", costs.worker.channel_bytes),
            own("worker: the count of a sender in a channel, bytes", costs.worker.sequence_bytes),
            own("worker: another worker that is known, bytes", costs.worker.peer_bytes),
            own("worker: a room with one member, bytes", costs.worker.room_bytes),
        ),
    )


def _load(load: Load) -> Table:
    return Table(
        ("Each", "does or has"),
        (
            ("node", f"{load.workers_per_node} workers"),
            ("worker", f"{load.sockets_per_worker:,} sockets"),
            ("socket", f"{load.rooms_per_socket:g} rooms"),
            ("socket", f"gets a message by its id every {load.id_interval:g} s, from anywhere"),
            ("member of a room", f"says something there every {load.speak_interval:g} s"),
            ("room", f"takes {load.room_limit:g} messages a second at most"),
            ("membership", f"ends after {load.move_interval:g} s, and another begins"),
            (
                "group",
                f"({load.groups} of them, in all workers) a send every {load.group_interval:g} s",
            ),
            ("message", f"{load.payload} bytes"),
            ("worker", f"tells all every {load.beat_interval:g} s that it is alive"),
        ),
    )


# --- what was tried and computed --------------------------------------------------------------


def _trial() -> Table:
    counted = draw(TRIAL_LOAD, TRIAL_NODES, TRIAL_SEED).expected
    rows = {
        "messages in": counted.messages_in,
        "messages out": counted.messages_out,
        "bytes in": counted.bytes_in,
        "bytes out": counted.bytes_out,
        "subscriptions made": counted.subscribes,
        "subscriptions ended": counted.unsubscribes,
        "subscriptions in force": counted.subscriptions,
    }
    return Table(
        ("nats-server", "on paper, and counted"),
        tuple((text, f"{value:,}") for text, value in rows.items()),
    )


def _traffic(load: Load, costs: Costs) -> Table:
    heads = (
        "Nodes",
        "sockets",
        "rooms",
        "messages in /s",
        "copies out /s",
        "of these: by id",
        "rooms",
        "signs of life",
        "dropped: the hub had it",
        "out, Gb/s",
        "joins told /s",
        "subscriptions",
    )
    rows = []
    for nodes in SIZES:
        found = _model(load, costs, "nats").case(nodes).traffic
        figures = (
            found.sockets,
            found.rooms,
            found.coming,
            found.going,
            found.ids.going,
            found.room_sends.going,
            found.beats.going,
            found.wasted,
            found.bytes_going * 8e-9,
            found.subscribes,
            found.interest,
        )
        rows.append((f"{nodes:,}", *(short(figure) for figure in figures)))
    return Table(heads, tuple(rows))


def _bill(load: Load, costs: Costs) -> Table:
    heads = (
        "Nodes",
        "NATS, cores",
        "Redis, cores",
        "NATS, memory GB",
        "Redis, memory GB",
        "worker for NATS, % of a core",
        "worker for Redis",
        "worker for its sockets",
        "worker's tables for the bus, MB",
        "worker's sockets and rooms, MB",
    )
    rows = []
    for nodes in SIZES:
        nats, redis = (_model(load, costs, which).case(nodes).bill for which in BROKERS)
        figures = (
            nats.broker_cores,
            redis.broker_cores,
            nats.broker_bytes / 1e9,
            redis.broker_bytes / 1e9,
            nats.worker_share * 100,
            redis.worker_share * 100,
            nats.socket_share * 100,
            nats.bus_bytes / 1e6,
            nats.socket_bytes / 1e6,
        )
        rows.append((f"{nodes:,}", *(short(figure) for figure in figures)))
    return Table(heads, tuple(rows))


def _room() -> Table:
    rows = (
        ("CPU of the broker", f"{NATS_CORES:g} cores for NATS; {REDIS_CORES:g} for Redis"),
        ("Bytes out of the broker", f"{NETWORK * 8e-9:g} Gb/s"),
        ("Memory of the broker", f"{MEMORY / 1e9:g} GB"),
        ("CPU of a worker for the bus", f"{BUS_SHARE:.0%} of a core"),
        ("Memory of a worker for the bus", f"{BUS_MEMORY / 1e6:g} MB"),
        ("A worker for its sockets, a hub", "one core"),
        ("Numbers of nodes in ids", f"{NODES:,}"),
    )
    return Table(("What there is", "so much of"), rows)


def _limits(load: Load, costs: Costs) -> Table:
    models = [_model(load, costs, which) for which in BROKERS]
    rows = []
    for text, use in USES.items():
        found = [used_up_at(model, use) for model in models]
        rows.append((text, *("not below a million" if n is None else f"{n:,}" for n in found)))
    return Table(("Used up at so many nodes", "NATS", "Redis"), tuple(rows))


def _designs(load: Load, costs: Costs) -> Table:
    heads = (
        "1,000 nodes on NATS",
        "copies out /s",
        "of these: signs of life",
        "out, Gb/s",
        "subscriptions",
        "cores",
        "memory, GB",
        "machines for NATS",
        "worker, % of a core",
        "gateway, cores",
        "tables of each, MB",
    )
    rows = []
    for text, design in DESIGNS.items():
        case = _model(load, costs, "nats", design).case(SIZES[-1])
        figures = (
            case.traffic.going,
            case.traffic.beats.going,
            case.traffic.bytes_going * 8e-9,
            case.traffic.interest,
            case.bill.broker_cores,
            case.bill.broker_bytes / 1e9,
            math.ceil(case.brokers),
            case.bill.worker_share * 100,
            case.bill.gateway_share,
            case.bill.bus_bytes / 1e6,
        )
        rows.append((text, *(short(figure) for figure in figures)))
    return Table(heads, tuple(rows))


def _model(load: Load, costs: Costs, which: str, design: Design = AS_BUILT) -> Model:
    return Model(load, costs, getattr(costs, which), CORES[which], design)
