"""Who comes and who leaves, as it travels between workers: many changes in one message."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from struct import Struct, error
from typing import NamedTuple, TypeAlias

from wsgroups.cluster.questions import pack_ids, unpack_ids

Change: TypeAlias = tuple[bytes, int, bool]
"""The label of a set, an id, and whether it has come; otherwise it has left."""

GUARD = 34  # the first byte of what a worker and its guardian say to each other
SNAPSHOT, CHANGES, RELEASE, AGAIN = 1, 2, 3, 4

_RUN = Struct("!BII")  # has come, size of the label, how many ids
_GUARDING = Struct("!BBIQI")  # GUARD, what, address, since, number


class Guarding(NamedTuple):
    """What a worker tells its guardian, and AGAIN: what that asks of the worker.

    Attributes:
        what: SNAPSHOT: forget what you have, this is all, and what follows; CHANGES; RELEASE: guard
            me no longer; AGAIN: send a snapshot, I have missed something.
        address: who says it.
        since: the id sequence that it began above.
        number: from 0 at a snapshot, one more for each message.
        changes: encoded.
    """

    what: int
    address: int
    since: int
    number: int = 0
    changes: bytes = b""


def encode_changes(changes: Iterable[Change]) -> bytes:
    """Return the bytes of changes, in order; neighbours of one set share its label."""
    parts: list[bytes] = []
    for (label, has_come), run in groupby(changes, lambda change: (change[0], change[2])):
        ids = pack_ids(id for _, id, _ in run)
        parts += (_RUN.pack(has_come, len(label), len(ids) // 8), label, ids)
    return b"".join(parts)


def decode_changes(data: bytes) -> list[tuple[bytes, bool, list[int]]]:
    """Return changes in order, those of neighbours together: label, whether they came, ids.

    Raises:
        ValueError: for bytes that are none.
    """
    runs: list[tuple[bytes, bool, list[int]]] = []
    at, end = 0, len(data)
    while at < end:
        try:
            has_come, size, count = _RUN.unpack_from(data, at)
        except error:
            raise ValueError("a list of changes is cut off") from None
        label_end = at + _RUN.size + size
        ids_end = label_end + 8 * count
        if ids_end > end:
            raise ValueError("a list of changes says that it is longer than it is")
        label = data[at + _RUN.size : label_end]
        runs.append((label, bool(has_come), unpack_ids(data[label_end:ids_end]).tolist()))
        at = ids_end
    return runs


def encode_guarding(message: Guarding) -> bytes:
    """Return the bytes of a message between a worker and its guardian."""
    head = _GUARDING.pack(GUARD, message.what, message.address, message.since, message.number)
    return head + message.changes


def decode_guarding(data: bytes) -> Guarding:
    """Return a message between a worker and its guardian.

    Raises:
        ValueError: when it is none.
    """
    try:
        _, what, address, since, number = _GUARDING.unpack_from(data)
    except error:
        raise ValueError("a message to a guardian is cut off") from None
    if not SNAPSHOT <= what <= AGAIN:
        raise ValueError(f"guardians know no message of kind {what}")
    return Guarding(what, address, since, number, data[_GUARDING.size :])
