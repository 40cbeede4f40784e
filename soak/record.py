"""What a run leaves: its samples, and the counters before and after."""

from __future__ import annotations

from dataclasses import dataclass, field

from soak.counters import Counters
from soak.fit import Fit, fit

HOUR = 3600.0
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. Times in seconds, the rate in connections a second."""

    seconds: float
    rate: float
    interval: float
    warmup: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading.

    Attributes:
        at: seconds since those who come and go began.
        resident, private: bytes of the server's memory.
        counters: what it says of itself.
        p50, p99: round trips of the canary since the last sample, seconds; None without any.
        connections: started so far.
        errors: connections so far that did not go as they should.
        server_cpu, load_cpu: seconds used so far by the server and by those who load it.
    """

    at: float
    resident: int
    private: int
    counters: Counters
    p50: float | None
    p99: float | None
    connections: int
    errors: int
    server_cpu: float
    load_cpu: float


@dataclass(slots=True)
class Record:
    """A whole run.

    Attributes:
        before: counters before, with garbage collected and only the control connection open.
        after: the same when all have gone; None when the server could not say.
        canary_lost: why the canary lost its connection.
        round_trips: of the canary after the warm-up, seconds.
        endings: connections by how they ended.
        failure: what broke the run off.
    """

    plan: Plan
    machine: dict[str, str]
    started: str
    before: Counters | None = None
    after: Counters | None = None
    samples: list[Sample] = field(default_factory=list)
    pings: int = 0
    round_trips: list[float] = field(default_factory=list)
    canary_lost: str | None = None
    connections: int = 0
    established: int = 0
    endings: dict[str, int] = field(default_factory=dict)
    received: int = 0
    errors: int = 0
    error: str = ""
    failure: str | None = None
    stopped_early: bool = False

    @property
    def seconds(self) -> float:
        """How long it took, as far as there are samples."""
        return self.samples[-1].at if self.samples else 0.0

    @property
    def warmup(self) -> float:
        """When the server counts as warm; a run that was stopped early was to be shorter."""
        return min(self.plan.warmup, self.seconds / 2)

    @property
    def warm(self) -> list[Sample]:
        """The samples after the warm-up."""
        return [sample for sample in self.samples if sample.at >= self.warmup]

    def resident_fit(self) -> Fit | None:
        """The line through resident memory: bytes over seconds."""
        return fit([(sample.at, float(sample.resident)) for sample in self.warm])

    def private_fit(self) -> Fit | None:
        """The line through private memory: bytes over seconds."""
        return fit([(sample.at, float(sample.private)) for sample in self.warm])


def quantile(values: list[float], part: float) -> float | None:
    """Return the value below which that part of them lies; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
