"""Writes the results: JSON with everything, Markdown with what a reader wants."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .bars import Verdict
from .peers import SUBJECT
from .runner import Plan
from .scenarios import Scenario
from .summary import ENOUGH, Noise, Spread, Summary

REBUILT = "wsgroups was rebuilt during the run: its figures are of more than one build."


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found."""

    plan: Plan
    machine: dict[str, str]
    versions: dict[str, str]
    summary: Summary
    verdicts: Sequence[Verdict]
    noise: Noise
    builds: tuple[str, str]  # of wsgroups, before and after

    @property
    def rebuilt(self) -> bool:
        """Whether wsgroups changed meanwhile."""
        return self.builds[0] != self.builds[1]


def write_json(report: Report, path: Path) -> None:
    """Write every measurement and what was made of them."""
    settings = {**asdict(report.plan.settings), "rounds": report.plan.rounds}
    document = {
        "machine": report.machine,
        "settings": settings,
        "versions": report.versions,
        "builds": report.builds,
        "bars": [_bar_as_dict(verdict) for verdict in report.verdicts],
        "noise": asdict(report.noise),
        "measurements": [asdict(one) for one in report.summary.measurements],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _bar_as_dict(verdict: Verdict) -> dict[str, object]:
    measured = verdict.measured and asdict(verdict.measured)
    return {**asdict(verdict.bar), "measured": measured, "passed": verdict.passed}


def write_markdown(report: Report, path: Path) -> None:
    """Write the tables."""
    parts = [
        "# Benchmark results",
        _conditions(report),
        "## Server CPU per message\n\nµs, median of the rounds; for idle sockets resident bytes "
        "per socket. Lower is better.",
        _value_table(report),
        f"## {SUBJECT} / peer\n\nMedian of the ratios within each round, with the least and the "
        "greatest. Below 1 wsgroups needs less.",
        _ratio_table(report),
        "## Bars",
        _bar_table(report.verdicts),
        "## Noise",
        noise_statement(report.noise, report.plan.rounds),
        REBUILT if report.rebuilt else "",
        *_failures(report.summary),
    ]
    path.write_text("\n\n".join(part for part in parts if part) + "\n")


def _conditions(report: Report) -> str:
    machine, settings = report.machine, report.plan.settings
    kind = "Quick run" if settings.quick else "Full run"
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return (
        f"{kind}: {report.plan.rounds} interleaved rounds, {settings.seconds:g} s a measurement, "
        f"server on one core and load on another. {machine['processor']}, {machine['cores']} "
        f"cores, {machine['system']}, Python {machine['python']}.\n\nVersions: {versions}."
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _value_table(report: Report) -> str:
    peers = report.plan.peers
    rows = [
        [scenario.title, *(_value(report, scenario, peer.name) for peer in peers)]
        for scenario in report.plan.scenarios
    ]
    return table(["", *(peer.label for peer in peers)], rows)


def _value(report: Report, scenario: Scenario, peer: str) -> str:
    value = report.summary.value(scenario.name, peer)
    if value is not None:
        return number(value.median)
    failed = any(
        one.peer == peer and one.scenario == scenario.name for one in report.summary.failures
    )
    return "failed" if failed else "-"


def number(value: float) -> str:
    """Format with three significant digits or to the unit."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ratio_table(report: Report) -> str:
    peers = [peer for peer in report.plan.peers if peer.name != SUBJECT]
    rows = [
        [scenario.title, *(_ratio(report.summary.ratio(scenario.name, p.name)) for p in peers)]
        for scenario in report.plan.scenarios
    ]
    return table(["", *(peer.label for peer in peers)], rows)


def _ratio(ratio: Spread | None) -> str:
    if ratio is None:
        return "-"
    return f"**{ratio.median:.2f}** {ratio.least:.2f}..{ratio.greatest:.2f}"


def _bar_table(verdicts: Sequence[Verdict]) -> str:
    rows = [
        [f"{verdict.bar.scenario}, {verdict.bar.subject}", verdict.bar.text, *_outcome(verdict)]
        for verdict in verdicts
    ]
    return table(["scenario", "bar", "measured", "verdict"], rows)


def _outcome(verdict: Verdict) -> tuple[str, str]:
    measured = verdict.measured
    if measured is None:
        return "-", verdict.word
    if verdict.bar.peer is None:
        return number(measured.median), verdict.word
    return f"{measured.median:.2f} ({measured.least:.2f}..{measured.greatest:.2f})", verdict.word


def noise_statement(found: Noise, rounds: int) -> str:
    """Say how far to trust the figures."""
    if found.values is None:
        return "One round only: nothing can be said about noise."
    text = (
        f"Over {rounds} rounds the figures of one server in one scenario lie "
        f"{found.values.median:.0%} of their median apart (the middle case; at worst "
        f"{found.values.greatest:.0%})."
    )
    if found.ratios is not None:
        text += (
            f" The ratios within a round lie {found.ratios.median:.0%} apart (at worst "
            f"{found.ratios.greatest:.0%}): take a difference between two servers smaller than "
            "that as none."
        )
    if found.disturbed:
        text += (
            f" Other work on the machine came between in {found.disturbed} of "
            f"{found.measurements} measurements; where {ENOUGH} rounds without remain, "
            "those are left out."
        )
    return text


def _failures(summary: Summary) -> list[str]:
    if not summary.failures:
        return []
    alike = Counter((one.peer, one.scenario, one.error) for one in summary.failures)
    lines = [
        f"- {peer}, {scenario}, {times} times: {error}"
        for (peer, scenario, error), times in alike.items()
    ]
    return ["## Failures", "\n".join(lines)]
