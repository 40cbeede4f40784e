"""What a worker says of itself to whoever asks: `python -m wsgroups ls` shows it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from struct import Struct, error

_QUESTION = Struct("!BII")  # DESCRIBE, token, address
_ANSWER = Struct("!BI")  # DESCRIPTION, token; then JSON
DESCRIBE, DESCRIPTION = 0x60, 0x61  # beside the kinds of `messages`


@dataclass(frozen=True, slots=True)
class Description:
    """What a worker serves.

    Attributes:
        pid: its process.
        sockets: how many are open.
        groups: the names of the largest, with the number of their sockets here.
        rooms: as `groups`.
        left_out: how many groups and rooms are not among them.
    """

    pid: int
    sockets: int
    groups: dict[str, int]
    rooms: dict[str, int]
    left_out: int = 0


def encode_question(token: int, address: int) -> bytes:
    """Return the bytes that ask for a description.

    Args:
        token: what the answer is to name.
        address: who wants it.
    """
    return _QUESTION.pack(DESCRIBE, token, address)


def encode_description(token: int, description: Description) -> bytes:
    """Return the bytes of the answer."""
    # Not orjson: a name may hold half of a surrogate pair.
    return _ANSWER.pack(DESCRIPTION, token) + json.dumps(asdict(description)).encode()


def decode_question(data: bytes) -> tuple[int, int]:
    """Return token and address of a question.

    Raises:
        ValueError: when it is none.
    """
    try:
        _, token, address = _QUESTION.unpack(data)
    except error:
        raise ValueError("a question for a description is cut off") from None
    return token, address


def decode_description(data: bytes) -> tuple[int, Description]:
    """Return the token that an answer names, and what it says.

    Raises:
        ValueError: when it is none.
    """
    try:
        _, token = _ANSWER.unpack_from(data)
        return token, Description(**json.loads(data[_ANSWER.size :]))
    except (error, TypeError, ValueError):
        raise ValueError("a description makes no sense") from None
