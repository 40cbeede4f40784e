"""The table in docs/behaviour.md names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.findall(
    r"`(tests/[\w/]+\.py)::(\w+)` \|$", (ROOT / "docs/behaviour.md").read_text(), re.M
)


def test_every_line_of_the_table_names_a_test() -> None:
    text = (ROOT / "docs/behaviour.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "Behaviour" not in line]
    assert len(rows) == len(NAMED) > 50


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists_and_is_not_skipped(file: str, name: str) -> None:
    found = [
        node
        for node in ast.parse((ROOT / file).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    assert len(found) == 1
    marks = [ast.unparse(decorator) for decorator in found[0].decorator_list]
    assert not any("skip" in mark or "xfail" in mark for mark in marks)
