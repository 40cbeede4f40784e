"""What workers ask one another about their sockets, and what they answer."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from struct import Struct, error
from typing import NamedTuple

ASK, TOLD = 32, 33  # the first byte of each
COUNT, IDS, LIVE = 1, 2, 3

_ASK = Struct("!BBII")  # ASK, what, token, address
_TOLD = Struct("!BII")  # TOLD, token, address
_NUMBER = Struct("!Q")


class Question(NamedTuple):
    """A question to a worker.

    Attributes:
        what: COUNT or IDS of a set, whose channel is the body; LIVE: which of the packed ids.
        token: what the answer is to name.
        address: who asks.
        body: what it is about.
    """

    what: int
    token: int
    address: int
    body: bytes


class Told(NamedTuple):
    """An answer: a number for COUNT, packed ids for IDS, a bit for each id for LIVE."""

    token: int
    address: int
    body: bytes


def encode_question(question: Question) -> bytes:
    """Return the bytes of a question."""
    head = _ASK.pack(ASK, question.what, question.token, question.address)
    return head + question.body


def encode_told(told: Told) -> bytes:
    """Return the bytes of an answer."""
    return _TOLD.pack(TOLD, told.token, told.address) + told.body


def decode_question(data: bytes) -> Question:
    """Return a question.

    Raises:
        ValueError: when it is none.
    """
    try:
        _, what, token, address = _ASK.unpack_from(data)
    except error:
        raise ValueError("a question is cut off") from None
    if what not in (COUNT, IDS, LIVE):
        raise ValueError(f"there is no question of kind {what}")
    return Question(what, token, address, data[_ASK.size :])


def decode_told(data: bytes) -> Told:
    """Return an answer.

    Raises:
        ValueError: when it is none.
    """
    try:
        _, token, address = _TOLD.unpack_from(data)
    except error:
        raise ValueError("an answer is cut off") from None
    return Told(token, address, data[_TOLD.size :])


def pack_number(value: int) -> bytes:
    """Return the body of an answer to COUNT."""
    return _NUMBER.pack(value)


def unpack_number(body: bytes) -> int:
    """Return what `pack_number` has packed.

    Raises:
        ValueError: for bytes that are none.
    """
    if len(body) != _NUMBER.size:
        raise ValueError(f"a number of {len(body)} bytes")
    value: int = _NUMBER.unpack(body)[0]
    return value


def pack_ids(ids: Iterable[int]) -> bytes:
    """Return ids as eight bytes each, big-endian."""
    packed = array("q", ids)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed.tobytes()


def unpack_ids(body: bytes) -> array[int]:
    """Return what `pack_ids` has packed.

    Raises:
        ValueError: for bytes that are none.
    """
    ids = array("q")
    ids.frombytes(body)
    if sys.byteorder == "little":
        ids.byteswap()
    return ids


def pick(ids: list[int], bits: bytes) -> list[int]:
    """Return those of the ids whose bit is set, the first being the lowest of the first byte.

    Raises:
        ValueError: when there are more or fewer bits.
    """
    if len(bits) != (len(ids) + 7) // 8:
        raise ValueError(f"{len(bits)} bytes of bits for {len(ids)} ids")
    return [id for i, id in enumerate(ids) if bits[i >> 3] >> (i & 7) & 1]
