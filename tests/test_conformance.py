"""What is stored of the Autobahn testsuite, and the page about it; the engine is not run here."""

import re
from collections import Counter

import pytest

from conformance import expectation, page
from conformance.differences import differences
from conformance.expectation import Expectation
from conformance.flipping import FLIPPING, settle
from conformance.outcome import Outcome, Results
from conformance.runs import SIDES, Side, all_runs
from conformance.suite import COMPRESSION, GROUPS, PLAIN, group_of, in_order, miscounts

OK = Outcome("OK", "OK")
NON_STRICT = Outcome("NON-STRICT", "OK")
FAILED = Outcome("FAILED", "WRONG CODE")
ACCEPTABLE = {"OK", "NON-STRICT", "INFORMATIONAL"}

INFORMATIONAL_BY_THE_SUITE = {"7.1.6", "7.13.1", "7.13.2"}
MAY_BE_NON_STRICT: dict[Side, set[str]] = {
    "server": {"6.4.3", "6.4.4"},
    "client": {"6.4.3", "6.4.4", *FLIPPING["client"]},
}
MAY_FAIL: dict[Side, set[str]] = {
    "server": set(),
    "client": set(),
}


@pytest.fixture(scope="module")
def stored() -> Expectation:
    found = expectation.load()
    assert found is not None
    return found


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> Side:
    name: Side = request.param
    return name


def groups_of(results: Results) -> set[int]:
    return {group_of(case) for case in results}


# --- what is stored -------------------------------------------------------------------------


def test_every_case_of_every_group_is_stored(stored: Expectation, side: Side) -> None:
    results = stored.sides[side]
    compression = groups_of(results) & COMPRESSION
    assert compression in (frozenset(), COMPRESSION)
    assert miscounts(results, {*PLAIN, *compression}) == []
    assert list(results) == in_order(results)


def test_both_sides_have_the_same_cases(stored: Expectation) -> None:
    assert stored.sides["server"].keys() == stored.sides["client"].keys()


def test_no_case_fails(stored: Expectation, side: Side) -> None:
    results = stored.sides[side]
    failed = {case for case, outcome in results.items() if not {*outcome} <= ACCEPTABLE}
    assert failed <= MAY_FAIL[side]


def test_few_cases_are_not_strict_and_three_only_inform(stored: Expectation, side: Side) -> None:
    results = stored.sides[side]
    by_word = {word: {case for case in results if word in results[case]} for word in ACCEPTABLE}
    assert by_word["NON-STRICT"] <= MAY_BE_NON_STRICT[side]
    assert by_word["INFORMATIONAL"] == INFORMATIONAL_BY_THE_SUITE


def test_what_is_stored_is_read_back_as_it_was(stored: Expectation) -> None:
    assert stored.text() == expectation.STORED.read_text()


def test_the_server_has_no_case_that_flips() -> None:
    assert FLIPPING["server"] == {}


# --- the page -------------------------------------------------------------------------------


def tables_below(heading: str) -> list[list[list[str]]]:
    """Return the rows of both tables of a side: counts by group, and exceptions."""
    text = page.PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    tables = [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    ]
    assert len(tables) == 2
    return tables


HEADINGS: dict[Side, str] = {"server": "The server", "client": "The client"}


def test_the_page_has_the_stored_numbers(stored: Expectation, side: Side) -> None:
    results = stored.sides[side]
    (head, _, *rows), _ = tables_below(HEADINGS[side])
    assert head[2:] == ["Cases", "OK", "NON-STRICT", "INFORMATIONAL", "FAILED"]
    for group, _, *numbers in rows:
        outcomes = [results[c] for c in results if group in ("all", str(group_of(c)))]
        counts = Counter(outcome.verdict for outcome in outcomes)
        assert [int(number) for number in numbers] == [
            len(outcomes),
            *(counts[word] for word in head[3:]),
        ]
    assert [row[0] for row in rows] == [*map(str, sorted(groups_of(results))), "all"]


def test_the_page_explains_every_exception(stored: Expectation, side: Side) -> None:
    results = stored.sides[side]
    _, (_, _, *rows) = tables_below(HEADINGS[side])
    shown = {case: row for row in rows for case in row[0].split(", ")}
    assert shown.keys() == {case for case, outcome in results.items() if outcome != OK}
    for case, (_, behaviour, closing, reason) in shown.items():
        assert (behaviour, closing) == results[case]
        assert reason.endswith(".")


def test_the_page_is_the_one_that_is_made_from_what_is_stored(stored: Expectation) -> None:
    assert page.PAGE.read_text() == page.render(stored)
    assert stored.engine in page.PAGE.read_text()


def test_an_exception_without_a_reason_is_named() -> None:
    unexplained = Expectation("engine 1", {"server": {"1.1.1": FAILED}, "client": {}})
    assert page.without_reason(unexplained) == [
        "server: 1.1.1 is FAILED, closing WRONG CODE; say why in conformance/reasons.py"
    ]


# --- comparing ------------------------------------------------------------------------------


def test_any_change_is_a_difference_for_the_better_too() -> None:
    expected = {"7.9.1": OK, "7.13.1": NON_STRICT, "1.1.1": OK, "2.1": FAILED}
    found = {"7.9.1": FAILED, "7.13.1": OK, "2.1": Outcome("FAILED", "OK"), "12.1.1": OK}
    assert differences(expected, found) == [
        "1.1.1: no result; OK, closing OK is stored",
        "2.1: FAILED, closing OK; FAILED, closing WRONG CODE is stored (neither better nor worse)",
        "7.9.1: FAILED, closing WRONG CODE; OK, closing OK is stored (worse)",
        "7.13.1: OK, closing OK; NON-STRICT, closing OK is stored (better)",
        "12.1.1: OK, closing OK; it is not stored",
    ]


def test_the_same_results_are_no_difference(stored: Expectation, side: Side) -> None:
    assert differences(stored.sides[side], dict(stored.sides[side])) == []


def test_missing_results_are_noticed(stored: Expectation) -> None:
    played = [case for case in stored.sides["server"] if group_of(case) in PLAIN]
    cases = [case for case in played if case not in ("7.1.5", "10.1.1")]
    assert miscounts(cases, PLAIN) == [
        "group 7: 36 results instead of 37",
        "group 10: 0 results instead of 1",
    ]


def test_a_group_that_was_not_asked_for_is_noticed() -> None:
    assert miscounts(["8.1"], []) == ["group 8: 1 results instead of 0"]


def test_a_case_that_flips_settles_on_the_worst_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(FLIPPING["client"], "3.2", frozenset({OK, NON_STRICT}))
    assert settle("client", {"3.2": OK, "1.1.1": OK}) == {"3.2": NON_STRICT, "1.1.1": OK}
    assert settle("client", {"3.2": FAILED}) == {"3.2": FAILED}
    assert settle("server", {"3.2": OK}) == {"3.2": OK}


def test_the_suite_has_517_cases_301_of_them_without_compression() -> None:
    assert sum(group.cases for group in GROUPS.values()) == 517
    assert sum(GROUPS[number].cases for number in PLAIN) == 301


def test_both_sides_are_run_on_both_loops_under_both_limits() -> None:
    runs = [(run.side, run.limits, run.loop, run.cases) for run in all_runs(compression=False)]
    assert len(set(runs)) == 8
    assert {run[1:2] + run[3:] for run in runs} == {("raised", 301), ("default", 247)}
    assert {run.cases for run in all_runs(compression=True)} == {517, 247}
