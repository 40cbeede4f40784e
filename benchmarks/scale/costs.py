"""Unit costs as they were measured, and the file that they are kept in."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SMALL, LARGE = 32, 1024  # bytes of the payloads that are measured
PACED = 200  # where there is one only
ALL_TOGETHER = 1e6  # messages a second on one connection, from which none travels alone

STORED = Path(__file__).parent / "results" / "costs.json"


@dataclass(frozen=True, slots=True)
class Price:
    """CPU µs at a small and at a large payload."""

    small: float
    large: float

    def at(self, size: float) -> float:
        """Return the price at a size in bytes, on the line between both."""
        slope = max(0.0, self.large - self.small) / (LARGE - SMALL)
        return self.small + slope * (size - SMALL)

    def towards(self, other: Price, share: float) -> Price:
        """Return what lies between, at a share of the way."""
        return Price(
            self.small + share * (other.small - self.small),
            self.large + share * (other.large - self.large),
        )


@dataclass(frozen=True, slots=True)
class Passing:
    """CPU µs for passing messages on.

    Attributes:
        publish: of the broker, for each message that comes.
        deliver: of the broker, for each copy that goes.
        send: of a worker, for each message that it publishes.
        receive: of a worker, for each that comes.
    """

    publish: Price
    deliver: Price
    send: Price
    receive: Price

    def towards(self, other: Passing, worker: float, broker: float) -> Passing:
        """Return what lies between, at these shares of the way, 0 to 1, for either side."""
        return Passing(
            self.publish.towards(other.publish, broker),
            self.deliver.towards(other.deliver, broker),
            self.send.towards(other.send, worker),
            self.receive.towards(other.receive, worker),
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """Messages one by one to one worker, so many a second: the more, the more travel together.

    Attributes:
        rate: messages a second.
        receive: CPU µs of the worker for each.
        broker: CPU µs of the broker for each, that comes once and goes once.
    """

    rate: float
    receive: float
    broker: float


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU µs of a broker for one published message, as it was read.

    Attributes:
        way: `together` or `alone`.
        size: bytes of the payload.
        subscribers: who got a copy each.
        cpu: the least of a few runs.
    """

    way: str
    size: int
    subscribers: int
    cpu: float


@dataclass(frozen=True, slots=True)
class BrokerCosts:
    """What a broker and its client in Python cost.

    Attributes:
        name: and version.
        together: while a hundred messages are on their way at a time.
        alone: while there is one at a time, so that each wakes everybody.
        paces: what lies between, at a payload of `PACED` bytes.
        subscribe: CPU µs of the broker for a subscription that comes.
        unsubscribe: for one that goes.
        subject_bytes: of the broker for the first subscription to a subject.
        subscription_bytes: for each further one to it.
        connection_bytes: for a connection.
        base_bytes: of the broker with nobody there.
        interest_bytes: of a worker's client for each subscription.
        samples: what `together` and `alone` were made of.
    """

    name: str
    together: Passing
    alone: Passing
    paces: tuple[Pace, ...]
    subscribe: float
    unsubscribe: float
    subject_bytes: float
    subscription_bytes: float
    connection_bytes: float
    base_bytes: float
    interest_bytes: float
    samples: tuple[Sample, ...]

    @property
    def connections_each(self) -> int:
        """How many connections a worker or supervisor has: Redis takes one to receive alone."""
        return 2 if self.name.startswith(("redis", "valkey")) else 1

    def passing(self, rate: float) -> Passing:
        """Return the prices while so many messages a second go to each connection.

        They lie between those of `alone` and of `together`, where what was measured at such a rate
        lies: `send` and `receive` as the worker's, `publish` and `deliver` as the broker's.
        """
        least = self.together.receive.at(PACED)
        points = [(pace.rate, pace.receive) for pace in self.paces]
        received = _at_rate([*points, (ALL_TOGETHER, least)], rate)
        worker = _share(received, least, self.alone.receive.at(PACED))
        least = self.together.publish.at(PACED) + self.together.deliver.at(PACED)
        points = [(pace.rate, pace.broker) for pace in self.paces]
        passed = _at_rate([*points, (ALL_TOGETHER, least)], rate)
        most = self.alone.publish.at(PACED) + self.alone.deliver.at(PACED)
        broker = _share(passed, least, most)
        return self.together.towards(self.alone, worker, broker)


def _at_rate(points: list[tuple[float, float]], rate: float) -> float:
    """Return what is measured at a rate, on lines between points whose rates grow by factors."""
    before = points[0]
    for point in points:
        if rate <= point[0]:
            if point is before:
                break
            part = math.log(rate / before[0]) / math.log(point[0] / before[0])
            return before[1] + part * (point[1] - before[1])
        before = point
    return before[1]


def _share(value: float, low: float, high: float) -> float:
    """How far a value is on the way from one end to the other."""
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0


@dataclass(frozen=True, slots=True)
class WorkerCosts:
    """What a worker needs by itself.

    Attributes:
        hub_together: the Unix hub of a host, with its clients; as of `BrokerCosts`.
        hub_alone: the same.
        sequence_bytes: for the last number of one (sender, channel).
        peer_bytes: for another worker that is known.
        peer_come: CPU µs of each of 8,192 workers that come to be known, one after the other.
        channel_bytes: for a channel that is asked for, without the broker's client.
        idle_bytes: for a socket, without the kernel's.
        echo: CPU µs for a message by id to a socket, at most: an echo is read as well.
        delivery: CPU µs for one member of a group send.
        membership_bytes: for a socket in a room that has many.
        room_bytes: for a room with one member, its interest on the bus not counted.
    """

    hub_together: Passing
    hub_alone: Passing
    sequence_bytes: float
    peer_bytes: float
    peer_come: float
    channel_bytes: float
    idle_bytes: float
    echo: float
    delivery: float
    membership_bytes: float
    room_bytes: float


@dataclass(frozen=True, slots=True)
class Costs:
    """All of it, with the kind of machine that it was measured on."""

    processor: str
    nats: BrokerCosts
    redis: BrokerCosts
    worker: WorkerCosts

    def store(self, path: Path = STORED) -> None:
        """Write the file."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def load(path: Path = STORED) -> Costs:
    """Return what is stored.

    Raises:
        FileNotFoundError: when nothing is.
    """
    found = json.loads(path.read_text())
    return Costs(
        found["processor"],
        _broker(found["nats"]),
        _broker(found["redis"]),
        _worker(found["worker"]),
    )


def _passing(found: dict[str, Any]) -> Passing:
    return Passing(**{name: Price(**price) for name, price in found.items()})


def _broker(found: dict[str, Any]) -> BrokerCosts:
    passing = {name: _passing(found[name]) for name in ("together", "alone")}
    samples = tuple(Sample(**sample) for sample in found["samples"])
    paces = tuple(Pace(**pace) for pace in found["paces"])
    return BrokerCosts(**{**found, **passing, "samples": samples, "paces": paces})


def _worker(found: dict[str, Any]) -> WorkerCosts:
    passing = {name: _passing(found[name]) for name in ("hub_together", "hub_alone")}
    return WorkerCosts(**{**found, **passing})
