"""The figures wsgroups has to reach."""

from collections.abc import Iterable
from dataclasses import dataclass

from .peers import SUBJECT, SUBJECT_ON_ASYNCIO, SUBJECT_ON_TRANSPORTS
from .scenarios import Scenario
from .summary import Spread, Summary


@dataclass(frozen=True, slots=True)
class Bar:
    """`subject` may need `limit` times what `peer` needs, or just `limit` when there is no peer.

    `other` is the scenario that `peer` is taken from, if not the same.
    """

    scenario: str
    limit: float
    peer: str | None
    subject: str = SUBJECT
    other: str | None = None

    @property
    def text(self) -> str:
        """The bar in words."""
        if self.peer is None:
            return f"<= {self.limit:,.0f} bytes"
        other = f" in {self.other}" if self.other else ""
        return f"<= {self.limit:.2f} x {self.peer}{other}"


BARS = (
    Bar("echo32-c100-k1", 1.0, "bun"),
    Bar("echo32-c100-k1", 1.0, "picows"),
    Bar("echo32-c100-k16", 0.9, "bun"),
    Bar("echo32-c100-k16", 0.3, "aiohttp"),
    Bar("echo16k", 0.6, "aiohttp"),
    Bar("echo1m", 1.0, "picows"),
    Bar("group1", 0.9, "bun"),
    Bar("group10", 1.0, "bun"),
    Bar("churn", 1.5, "bun"),
    Bar("churn", 0.6, "picows"),
    Bar("idle", 1024.0, None),
    Bar("tls-idle", 45 * 1024.0, None),
    Bar("group1k-deflate", 1.1, SUBJECT, other="group1k"),
    Bar("echo32-c100-k1", 1.1, SUBJECT, SUBJECT_ON_ASYNCIO),
    Bar("echo32-c100-k16", 1.1, SUBJECT, SUBJECT_ON_ASYNCIO),
    Bar("echo32-c100-k1", 1.3, SUBJECT, SUBJECT_ON_TRANSPORTS),
    Bar("echo32-c100-k16", 1.3, SUBJECT, SUBJECT_ON_TRANSPORTS),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a bar was met; `measured` is None when one side is missing."""

    bar: Bar
    measured: Spread | None

    @property
    def passed(self) -> bool | None:
        """Whether the median is within the limit."""
        return None if self.measured is None else self.measured.median <= self.bar.limit

    @property
    def word(self) -> str:
        """The verdict in a word; a bar that lies between the rounds' figures is a close one."""
        if self.measured is None:
            return "not measured"
        word = "pass" if self.passed else "FAIL"
        close = self.measured.least <= self.bar.limit < self.measured.greatest
        return f"{word}, within the noise" if close else word


def judge(summary: Summary, scenarios: Iterable[Scenario]) -> list[Verdict]:
    """Compare with every bar of these scenarios."""
    names = {scenario.name for scenario in scenarios}
    return [Verdict(bar, _measured(summary, bar)) for bar in BARS if bar.scenario in names]


def _measured(summary: Summary, bar: Bar) -> Spread | None:
    if bar.peer is None:
        return summary.value(bar.scenario, bar.subject)
    return summary.ratio(bar.scenario, bar.peer, bar.subject, bar.other)
