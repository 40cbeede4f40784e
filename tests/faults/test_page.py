"""The page about faults names tests that exist, and every test of the package."""

import ast
import re

import pytest

import tests.faults
from tests.faults.service import ROOT

TEXT = (ROOT / "docs/faults.md").read_text()
DOCSTRING = tests.faults.__doc__ or ""
ROW = re.compile(
    r"^\| (?:[A-Z]{2}-\d\d(?:, )?)+ \|.* `(tests/[\w/]+\.py)::(\w+)` \|$", re.MULTILINE
)

ELSEWHERE = [
    (f"tests/{file}", name)
    for file, name in re.findall(r"^    [A-Z]{2}-\d\d (\S+)::(\w+)$", DOCSTRING, re.MULTILINE)
]
NAMED = sorted({*ROW.findall(TEXT), *ELSEWHERE})


def marks_of(file: str, name: str) -> str:
    """Return the decorators of a test, which must exist."""
    found = [
        node
        for node in ast.parse((ROOT / file).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    assert len(found) == 1
    return " ".join(ast.unparse(decorator) for decorator in found[0].decorator_list)


def test_every_line_of_the_tables_names_a_test() -> None:
    lines = [line for line in TEXT.splitlines() if re.match(r"\| [A-Z]{2}-", line)]
    assert len(lines) == len(ROW.findall(TEXT)) > 40
    assert DOCSTRING.count("::") == len(ELSEWHERE) > 10


def test_every_fault_of_one_host_is_there() -> None:
    named = set(re.findall(r"\b[A-Z]{2}-\d\d\b", TEXT))
    faults = {1, 2, 3, 7, *range(9, 23), 24, 25, 26, 28}
    assert named == {
        *(f"FT-{number:02}" for number in faults),
        *(f"CL-{number:02}" for number in range(2, 6)),
        *(f"KA-{number:02}" for number in range(4, 7)),
    }


def test_every_test_of_the_package_is_on_the_page() -> None:
    on_the_page = {(file, name) for file, name in ROW.findall(TEXT)}
    for file in sorted((ROOT / "tests/faults").glob("test_*.py")):
        if file.name == "test_page.py":
            continue
        path = str(file.relative_to(ROOT))
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE):
            assert (path, name) in on_the_page


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists_and_is_not_skipped(file: str, name: str) -> None:
    assert not re.search("skip|xfail", marks_of(file, name))
