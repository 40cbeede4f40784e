"""What pages say in tables and lists is what the code says."""

import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import wsgroups
from wsgroups import CloseCode, GroupPolicy, SendResult, ServerConfig, SocketStatus, testing

DOCS = Path(__file__).parents[2] / "docs"


def rows_below(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without the table's head."""
    text = (DOCS / page).read_text()
    assert f"\n{heading}\n" in text, f"{page} has no {heading!r}"
    lines = text.partition(f"\n{heading}\n")[2].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return table[2:]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("## Options of a group", GroupPolicy), ("## Options of a server", ServerConfig)],
)
def test_the_tables_of_options_are_those_of_the_code(
    heading: str, kind: type[GroupPolicy] | type[ServerConfig]
) -> None:
    shown = [
        (name.strip("`"), ast.literal_eval(default.strip("`")))
        for name, default, *_ in rows_below("guide/limits.md", heading)
    ]
    assert shown == [(field.name, field.default) for field in fields(kind)]


def test_the_close_codes_are_those_of_the_code() -> None:
    for code, name, *_ in rows_below("guide/errors.md", "## Close codes"):
        if name:
            assert CloseCode[name.strip("`")] == int(code)


def test_the_exceptions_are_those_of_the_code() -> None:
    shown = {row[0].strip("`") for row in rows_below("guide/errors.md", "## Exceptions")}
    raised = {name for name in wsgroups.__all__ if name.endswith("Error")}
    assert shown == raised - {"WSGroupsError"}


def test_the_results_and_states_are_those_of_the_code() -> None:
    results = [row[0].strip("`") for row in rows_below("guide/sockets.md", "## Sending")]
    assert results == [result.name for result in SendResult]
    states = [row[0].strip("`") for row in rows_below("guide/sockets.md", "## Is it alive?")]
    assert states == [state.name for state in SocketStatus]


def test_the_reference_has_every_public_name() -> None:
    pages = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    named = set(re.findall(r"^::: wsgroups\.([\w.]+)$", pages, re.MULTILINE))
    if "errors" in named:  # the whole module
        named |= {name for name in wsgroups.__all__ if name.endswith("Error")}
    assert set(wsgroups.__all__) <= named
    assert {f"testing.{name}" for name in testing.__all__} <= named


def test_the_flags_of_the_command_line_exist() -> None:
    asked = [sys.executable, "-m", "wsgroups", "--help"]
    help = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    flags = set(re.findall(r"--[a-z][a-z-]+", (DOCS / "guide/running.md").read_text()))
    assert flags
    assert flags <= set(re.findall(r"--[a-z][a-z-]+", help))
