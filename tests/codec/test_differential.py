"""The codec against two other implementations: the corpus, and a few random streams."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from fuzz.differential import CORPUS, differences, encoder_differences
from fuzz.streams import Case, random_case


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def test_the_corpus_is_read_as_decided(path: Path) -> None:
    case = Case.load(path)
    for cuts in (case.cuts, [], list(range(1, len(case.stream)))):
        assert differences(Case(case.stream, cuts, case.limits)) == []


def test_random_streams_are_read_as_decided() -> None:
    random = Random(2026)
    classes: Counter[tuple[str, str]] = Counter()
    for _ in range(4000):
        case = random_case(random)
        assert differences(case, classes) == [], case
    assert len(classes) > 10, "the streams are varied enough to meet most decisions"


def test_random_frames_are_decoded_by_others() -> None:
    random = Random(2027)
    for _ in range(1000):
        assert encoder_differences(random) == []
