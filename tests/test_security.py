"""SECURITY.md names tests that exist, options that exist, and pages that exist."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from wsgroups import GroupPolicy, ServerConfig

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text()
MODEL = TEXT.partition("## Threat model")[2].partition("## What is not defended against")[0]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)` \|$", TEXT, re.MULTILINE)))
OPTIONS = {field.name for kind in (GroupPolicy, ServerConfig) for field in fields(kind)}


def test_every_line_of_the_threat_model_names_a_test() -> None:
    rows = [
        line
        for line in MODEL.splitlines()
        if line.startswith("| ") and not line.endswith("| Test |")
    ]
    assert len(rows) == len(re.findall(r"::\w+` \|$", MODEL, re.MULTILINE)) > 30


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists_and_is_not_skipped(file: str, name: str) -> None:
    found = [
        node
        for node in ast.parse((ROOT / file).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    assert len(found) == 1
    marks = " ".join(ast.unparse(decorator) for decorator in found[0].decorator_list)
    assert not re.search("skip|xfail", marks)


def test_every_option_that_is_named_exists() -> None:
    others = {"wsgroups", "verbose", "null"}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", TEXT))
    assert named - others <= OPTIONS


def test_every_page_that_is_named_exists() -> None:
    pages = re.findall(r"\]\(([\w/.-]+)(?:#([\w-]+))?\)", TEXT)
    assert pages
    for page, heading in pages:
        text = (ROOT / page).read_text()
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert not heading or heading in [each.lower().replace(" ", "-") for each in headings]
