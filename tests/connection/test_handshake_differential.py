"""The HTTP phase against two other implementations: the corpus, and a few random streams."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fuzz.handshake import CORPUS, REFUSALS, differences
from fuzz.requests import Case, random_request
from fuzz.site import Site


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def test_the_corpus_is_answered_as_decided(site: Site, path: Path) -> None:
    case = Case.load(path)
    for ends in (False, True):
        _, wrong = differences(site, Case(case.stream, case.cuts, ends))
        assert wrong == []


def test_random_requests_are_answered_as_decided(site: Site) -> None:
    random = Random(2028)
    classes: Counter[tuple[str, str]] = Counter()
    statuses: Counter[int] = Counter()
    for _ in range(2000):
        case = random_request(random)
        outcome, wrong = differences(site, case, classes)
        assert wrong == [], case
        statuses.update(answer.status for answer in outcome.answers)
    assert set(statuses) >= REFUSALS | {101, 200, 404}, "varied enough to be refused in every way"
    assert statuses[101] > 300, "and to be accepted"
