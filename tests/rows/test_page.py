"""The page about bad input says what the rows say, and the rows are all there."""

import ast
import re

import pytest

from tests.rows.page import ALL_ROWS, PAGE, ROOT, render

NAMED = sorted({name for row in ALL_ROWS for name in row.shown_by})


def test_the_page_is_what_the_rows_say() -> None:
    assert PAGE.read_text() == render(), "to write it anew: python -m tests.rows"


def test_every_row_of_the_list_is_there_once_and_in_order() -> None:
    handshakes = [f"HS-{number:02}" for number in range(1, 41)]
    handshakes.insert(handshakes.index("HS-11"), "HS-10b")
    handshakes.insert(handshakes.index("HS-34"), "HS-33b")
    frames = [f"FR-{number:02}" for number in (*range(1, 16), *range(20, 36))]
    compressed = [f"DF-{number:02}" for number in range(1, 9)]
    others = ["KA-01", "SC-01", "DR-01", "EX-01", "RL-01"]
    assert [row.id for row in ALL_ROWS] == [*handshakes, *frames, *compressed, *others]


def test_every_row_is_shown_or_says_why_not() -> None:
    for row in ALL_ROWS:
        assert row.cases or row.shown_by or row.not_yet, row.id
        assert row.cases or row.outcome or row.not_yet, row.id
        names = [case.what for case in row.cases]
        assert len(names) == len(set(names)), f"{row.id} has two cases of one name"


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_exists_and_is_not_skipped(name: str) -> None:
    file, _, function = name.partition("::")
    found = [
        node
        for node in ast.parse((ROOT / file).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
    ]
    assert len(found) == 1
    marks = " ".join(ast.unparse(decorator) for decorator in found[0].decorator_list)
    assert not re.search("skip|xfail", marks)
