"""The page about attacks has each of them, with a test that exists."""

import ast
import re

import pytest

from tests.attacks.list import ATTACKS
from tests.attacks.page import NOT_MEASURED, PAGE, ROOT, render, stored

NAMED = sorted({name for attack in ATTACKS for name in attack.shown_by})


def test_the_page_is_what_the_list_says() -> None:
    assert PAGE.read_text() == render(stored()), "to write it anew: python -m tests.attacks --store"


def test_every_attack_is_there_once_and_in_order() -> None:
    assert list(stored()) == [f"RX-{number:02}" for number in range(1, 18)]


def test_every_attack_is_measured_or_says_why_not() -> None:
    for attack in ATTACKS:
        assert attack.not_yet or attack.shown_by
        is_measured = any(name.startswith("tests/attacks/") for name in attack.shown_by)
        assert (stored()[attack.id] != NOT_MEASURED) == is_measured


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_exists_and_is_not_skipped(name: str) -> None:
    file, _, function = name.partition("::")
    (found,) = [
        node
        for node in ast.parse((ROOT / file).read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    marks = " ".join(ast.unparse(decorator) for decorator in found.decorator_list)
    assert not re.search("skip|xfail", marks)
