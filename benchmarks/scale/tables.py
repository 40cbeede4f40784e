"""The tables of the page and of the terminal: rows of words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .costs import BrokerCosts, Costs, Passing
from .limits import NATS_CORES, REDIS_CORES, USES, Case, Model, used_up_at
from .load import Load
from .model import AS_BUILT, Beats, Design, Interest
from .trial import draw

SIZES = (1, 3, 10, 100, 1000)  # nodes
WAYS = ("together", "alone")
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
        "memory": _memory(costs),
        "load": _load(load),
        "trial": _trial(),
        "traffic": _traffic(load, costs),
        "bill": _bill(load, costs),
        "limits": _limits(load, costs),
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


def between(low: float, high: float) -> str:
    """Return both ends of what is possible, or one figure when they are the same."""
    first, last = short(low), short(high)
    return first if first == last else f"{first} .. {last}"


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


def _memory(costs: Costs) -> Table:
    heads = ("", costs.nats.name, costs.redis.name)

    def row(text: str, name: str) -> tuple[str, ...]:
        return (text, *(f"{getattr(one, name):,.1f}" for one in (costs.nats, costs.redis)))

    def size(text: str, name: str) -> tuple[str, ...]:
        return (text, *(f"{getattr(one, name):,.0f}" for one in (costs.nats, costs.redis)))

    return Table(
        heads,
        (
            row("a subscription that comes, CPU µs", "subscribe"),
            row("one that goes, CPU µs", "unsubscribe"),
            size("the first subscription to a subject, bytes", "subject_bytes"),
            size("each further one, bytes", "subscription_bytes"),
            size("a connection, bytes", "connection_bytes"),
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
            ("group", f"({load.groups} of them, in all workers) a send every {load.group_interval:g} s"),
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
        "workers",
        "rooms",
        "messages in /s",
        "copies out /s",
        "of these: by id",
        "rooms",
        "signs of life",
        "out, Gb/s",
        "joins told /s",
        "subscriptions",
    )
    rows = []
    for nodes in SIZES:
        found = _model(load, costs, "together", AS_BUILT).case(nodes).traffic
        figures = (
            found.sockets,
            found.workers,
            found.rooms,
            found.coming,
            found.going,
            found.ids.going,
            found.room_sends.going,
            found.beats.going,
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
        "worker's tables, MB",
        "worker's sockets, MB",
    )
    rows = []
    for nodes in SIZES:
        nats, redis = (_both(load, costs, which, AS_BUILT, nodes) for which in ("nats", "redis"))
        rows.append(
            (
                f"{nodes:,}",
                between(*(one.bill.broker_cores for one in nats)),
                between(*(one.bill.broker_cores for one in redis)),
                short(nats[0].bill.broker_bytes / 1e9),
                short(redis[0].bill.broker_bytes / 1e9),
                between(*(one.bill.worker_share * 100 for one in nats)),
                between(*(one.bill.worker_share * 100 for one in redis)),
                short(nats[0].bill.socket_share * 100),
                short(nats[0].bill.bus_bytes / 1e6),
                short(nats[0].bill.socket_bytes / 1e6),
            )
        )
    return Table(heads, tuple(rows))


def _limits(load: Load, costs: Costs) -> Table:
    heads = (
        "Used up at so many nodes",
        *(f"{name}, {way}" for name in ("NATS", "Redis") for way in WAYS),
    )
    models = [_model(load, costs, way, AS_BUILT, which) for which in ("nats", "redis") for way in WAYS]
    rows = []
    for text, use in USES.items():
        found = [used_up_at(model, use) for model in models]
        rows.append((text, *("never" if nodes is None else f"{nodes:,}" for nodes in found)))
    return Table(heads, tuple(rows))


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
        low, high = _both(load, costs, "nats", design, SIZES[-1])
        rows.append(
            (
                text,
                short(low.traffic.going),
                short(low.traffic.beats.going),
                short(low.traffic.bytes_going * 8e-9),
                short(low.traffic.interest),
                between(low.bill.broker_cores, high.bill.broker_cores),
                short(low.bill.broker_bytes / 1e9),
                between(low.brokers, high.brokers),
                between(low.bill.worker_share * 100, high.bill.worker_share * 100),
                between(low.bill.gateway_share, high.bill.gateway_share),
                short(low.bill.bus_bytes / 1e6),
            )
        )
    return Table(heads, tuple(rows))


def _model(load: Load, costs: Costs, way: str, design: Design, which: str = "nats") -> Model:
    broker: BrokerCosts = getattr(costs, which)
    cores = NATS_CORES if which == "nats" else REDIS_CORES
    return Model(load, costs, broker, cores, way, design)


def _both(load: Load, costs: Costs, which: str, design: Design, nodes: int) -> tuple[Case, Case]:
    model = _model(load, costs, "together", design, which)
    return model.case(nodes), replace(model, way="alone").case(nodes)
