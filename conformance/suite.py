"""The testsuite's cases by group, and which groups are run when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Cases whose ids begin with the same number; the suite has no group 8 and 11."""

    number: int
    cases: int
    about: str


GROUPS = {
    group.number: group
    for group in (
        Group(1, 16, "Messages of all sizes"),
        Group(2, 11, "Pings and pongs"),
        Group(3, 7, "Reserved bits"),
        Group(4, 10, "Reserved opcodes"),
        Group(5, 20, "Fragments"),
        Group(6, 145, "UTF-8"),
        Group(7, 37, "Closing"),
        Group(9, 54, "Large messages, and many"),
        Group(10, 1, "Fragments of the engine's choice"),
        Group(12, 90, "Compression, kinds of messages"),
        Group(13, 126, "Compression, parameters"),
    )
}

COMPRESSION = frozenset({12, 13})
PLAIN = tuple(number for number in GROUPS if number not in COMPRESSION)
WITHIN_DEFAULT_LIMITS = (1, 2, 3, 4, 5, 6, 7, 10)  # 9 sends up to 16 MiB in up to 65,536 fragments


def group_of(case: str) -> int:
    """Return the number of the group of a case, 7 for `7.13.1`."""
    return int(case.partition(".")[0])


def in_order(cases: Iterable[str]) -> list[str]:
    """Return case ids sorted by their numbers: 7.13.1 is behind 7.9.1."""
    return sorted(cases, key=lambda case: [int(part) for part in case.split(".")])


def miscounts(cases: Collection[str], groups: Iterable[int]) -> list[str]:
    """Return a line for each group of which there are not as many cases as the suite has.

    An engine may end well although its peer died half way, so that nobody misses the rest.
    """
    found = Counter(map(group_of, cases))
    wanted = {number: GROUPS[number].cases for number in groups}
    return [
        f"group {number}: {found[number]} results instead of {wanted.get(number, 0)}"
        for number in sorted(found.keys() | wanted)
        if found[number] != wanted.get(number, 0)
    ]
