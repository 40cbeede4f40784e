"""Puts the tables into the page, between marks that say which one."""

from __future__ import annotations

import re
from pathlib import Path

from .tables import Table

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "scale.md"
PICTURE = ROOT / "docs" / "assets" / "scale.png"

_PLACE = re.compile(r"(<!-- table: (\w+) -->\n)(?:\|[^\n]*\n)*(<!-- end -->)")


def filled(page: str, tables: dict[str, Table]) -> str:
    """Return the page with every table as it is now.

    Raises:
        KeyError: when the page asks for a table that there is not.
    """
    return _PLACE.sub(lambda found: found[1] + tables[found[2]].markdown() + "\n" + found[3], page)


def named(page: str) -> set[str]:
    """Return the names of the tables that a page has places for."""
    return {found[2] for found in _PLACE.finditer(page)}
