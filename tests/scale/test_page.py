"""The page about scale shows what is computed from the costs that are stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale.brokers import find_program
from benchmarks.scale.costs import PACED, load
from benchmarks.scale.page import PAGE, filled, named
from benchmarks.scale.tables import tables


def test_the_page_shows_all_tables_as_they_are_computed() -> None:
    page, found = PAGE.read_text(), tables(load())
    assert named(page) == set(found)
    assert filled(page, found) == page, "to write them anew: python -m benchmarks.scale --stored"


def test_what_is_stored_is_what_was_measured(tmp_path: Path) -> None:
    costs = load()
    costs.store(tmp_path / "costs.json")
    assert load(tmp_path / "costs.json") == costs


def test_prices_fall_from_alone_to_together_as_more_messages_come() -> None:
    nats = load().nats
    prices = [nats.passing(rate).receive.at(PACED) for rate in (1, 1_000, 4_000, 20_000, 1e6)]
    assert prices == sorted(prices, reverse=True)
    assert nats.together.receive.at(PACED) <= prices[-1] < prices[0]
    assert prices[0] <= nats.alone.receive.at(PACED)


def test_who_lacks_a_broker_is_told_where_to_get_it() -> None:
    with pytest.raises(FileNotFoundError, match="pip install nothing"):
        find_program("no-such-server", "pip install nothing")
