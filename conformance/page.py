"""The page about it, made from what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from conformance.expectation import Expectation
from conformance.flipping import FLIPPING
from conformance.limits import GROUP_OPTIONS
from conformance.outcome import VERDICTS, Results
from conformance.program import ROOT
from conformance.reasons import REASONS
from conformance.runs import SIDES, Side
from conformance.suite import COMPRESSION, GROUPS, WITHIN_DEFAULT_LIMITS, group_of, in_order

PAGE = ROOT / "docs" / "autobahn.md"

_ALWAYS_SHOWN = ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED")
_TITLES: dict[Side, str] = {"server": "The server", "client": "The client"}
_UNDER_TEST: dict[Side, str] = {
    "server": "`wsgroups.serve` with a group whose handlers send every message back.",
    "client": "`wsgroups.connect` with a task that sends every message back.",
}
_RAISED = GROUP_OPTIONS["raised"]


def write(expectation: Expectation) -> None:
    """Write the page."""
    PAGE.write_text(render(expectation))


def without_reason(expectation: Expectation) -> list[str]:
    """Return a line for each exception of which nobody has said what is behind it."""
    return [
        f"{side}: {case} is {expectation.sides[side][case]}; say why in conformance/reasons.py"
        for side in SIDES
        for case in exceptions(expectation.sides[side])
        if case not in REASONS[side]
    ]


def exceptions(results: Results) -> list[str]:
    """Return the cases that are not OK."""
    return [case for case in in_order(results) if results[case].verdict != "OK"]


def render(expectation: Expectation) -> str:
    """Return the page."""
    return "\n".join([*_page(expectation), ""])


def _page(expectation: Expectation) -> Iterator[str]:
    yield "<!-- made by `make autobahn STORE=1` -->"
    yield "# Autobahn"
    yield ""
    yield from _introduction(expectation)
    for side in SIDES:
        results = expectation.sides[side]
        yield ""
        yield f"## {_TITLES[side]}"
        yield ""
        yield _UNDER_TEST[side]
        yield ""
        yield from _counts(results)
        if exceptions(results):
            yield ""
            yield from _exceptions(side, results)


def _introduction(expectation: Expectation) -> Iterator[str]:
    within = ", ".join(map(str, WITHIN_DEFAULT_LIMITS))
    yield (
        "`make autobahn` plays the cases of the [Autobahn testsuite]"
        "(https://github.com/crossbario/autobahn-testsuite) with our server and our client. "
        f"The engine is {expectation.engine}."
    )
    yield ""
    yield (
        f"- Once on asyncio and once on uvloop, with raised limits: messages of "
        f"{_RAISED['max_message_size'] >> 20} MiB, {_RAISED['max_fragments']:,} fragments at the "
        "server, no pings of our own."
    )
    yield f"- Groups {within} on both once more, with the default limits."
    yield (
        "- All runs must agree with one another and with `conformance/expected.json`, case by "
        "case. A case that came out better fails the run as well, until it is stored."
    )
    yield (
        "- `make autobahn TLS=1` plays the server's cases over TLS, through a tunnel, since the "
        "engine speaks none. They are held to the same file."
    )
    if not any(group_of(case) in COMPRESSION for case in expectation.sides["server"]):
        cases = sum(GROUPS[number].cases for number in COMPRESSION)
        yield (
            f"- Groups 12 and 13, {cases} cases about compression, take many minutes and are left "
            "out here; `make autobahn COMPRESSION=1` plays them too."
        )


def _counts(results: Results) -> Iterator[str]:
    by_group: dict[int, Counter[str]] = {}
    for case, outcome in results.items():
        by_group.setdefault(group_of(case), Counter())[outcome.verdict] += 1
    total = sum(by_group.values(), Counter[str]())
    columns = [*_ALWAYS_SHOWN, *(v for v in VERDICTS if total[v] and v not in _ALWAYS_SHOWN)]
    yield _row("Group", "About", "Cases", *columns)
    yield _row("---", "---", *["---:"] * (len(columns) + 1))
    for number in sorted(by_group):
        counts = by_group[number]
        name = GROUPS[number].about
        yield _row(number, name, counts.total(), *(counts[column] for column in columns))
    yield _row("all", "", total.total(), *(total[column] for column in columns))


def _exceptions(side: Side, results: Results) -> Iterator[str]:
    together: dict[tuple[str, ...], list[str]] = {}
    for case in exceptions(results):
        reason = REASONS[side].get(case, "")
        if case in FLIPPING[side]:
            reason += " OK when the two come apart."
        together.setdefault((*results[case], reason), []).append(case)
    yield _row("Case", "Behaviour", "Closing", "What is behind it")
    yield _row("---", "---", "---", "---")
    for (behaviour, closing, reason), cases in together.items():
        yield _row(", ".join(cases), behaviour, closing, reason)


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |".replace("|  |", "| |")
