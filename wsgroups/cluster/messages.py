"""What workers say to one another: a message for one socket, for a set of them, or an answer."""

from __future__ import annotations

from struct import Struct, error
from typing import NamedTuple, TypeAlias

TEXT, BINARY, CLOSE, ANSWER = 1, 2, 8, 16

Key: TypeAlias = str | int | bytes | None

_ONE = Struct("!BqHIIBI")  # what, id, flags, token, address, kind and size of the key
_MANY = Struct("!BIBI")  # what, how many are left out, kind and size of the key
_ANSWER = Struct("!BIB")  # what, token, result
_NO_KEY = b""


class One(NamedTuple):
    """A message for one socket.

    Attributes:
        what: TEXT, BINARY, or CLOSE, whose data is the body of a Close frame.
        id: the socket's.
        data: the payload.
        flags: ConnectionFlags.
        key: as of `WebSocket.send`.
        token: what the answer is to name; 0 when none is wanted.
        address: who wants it.
    """

    what: int
    id: int
    data: bytes
    flags: int = 0
    key: Key = None
    token: int = 0
    address: int = 0


class Many(NamedTuple):
    """A message for all members of a set; `excluded` holds ids."""

    what: int
    data: bytes
    excluded: tuple[int, ...] = ()
    key: Key = None


class Answer(NamedTuple):
    """What the owner of a socket did with a message: a SendResult."""

    token: int
    result: int


def encode_one(message: One) -> bytes:
    """Return the bytes of a message for one socket."""
    kind, key = (0, _NO_KEY) if message.key is None else _encode_key(message.key)
    return (
        _ONE.pack(
            message.what,
            message.id,
            message.flags & 0xFFFF,
            message.token,
            message.address,
            kind,
            len(key),
        )
        + key
        + message.data
    )


def encode_answer(answer: Answer) -> bytes:
    """Return the bytes of an answer."""
    return _ANSWER.pack(ANSWER, answer.token, answer.result)


def encode_many(message: Many) -> bytes:
    """Return the bytes of a message for a set."""
    kind, key = (0, _NO_KEY) if message.key is None else _encode_key(message.key)
    count = len(message.excluded)
    head = _MANY.pack(message.what, count, kind, len(key))
    return b"".join((head, Struct(f"!{count}q").pack(*message.excluded), key, message.data))


def decode_sent(data: bytes) -> One | Answer:
    """Return what was sent to a worker's address.

    Raises:
        ValueError: when it is none of ours.
    """
    try:
        if data[:1] == b"\x10":
            _, token, result = _ANSWER.unpack(data)
            return Answer(token, result)
        what, id, flags, token, address, kind, size = _ONE.unpack_from(data)
        key, rest = _decode_key(kind, data, _ONE.size, size)
    except error:
        raise ValueError("a message for a socket is cut off") from None
    return One(_known(what), id, rest, flags, key, token, address)


def decode_published(data: bytes) -> Many:
    """Return what was published for a set.

    Raises:
        ValueError: when it is none of ours.
    """
    try:
        what, count, kind, size = _MANY.unpack_from(data)
        excluded: tuple[int, ...] = ()
        if count:
            if count > len(data) // 8:
                raise ValueError("a message leaves out more sockets than it has room for")
            excluded = Struct(f"!{count}q").unpack_from(data, _MANY.size)
        key, rest = _decode_key(kind, data, _MANY.size + 8 * count, size)
    except error:
        raise ValueError("a message for a set is cut off") from None
    return Many(_known(what), rest, excluded, key)


def _known(what: int) -> int:
    if what not in (TEXT, BINARY, CLOSE):
        raise ValueError(f"there is no message of kind {what}")
    return what


def _encode_key(key: str | int | bytes) -> tuple[int, bytes]:
    if isinstance(key, str):
        return 1, key.encode("utf-8", "surrogatepass")
    if isinstance(key, int):
        return 2, b"%x" % key if key >= 0 else b"-%x" % -key
    return 3, key


def _decode_key(kind: int, data: bytes, begin: int, size: int) -> tuple[Key, bytes]:
    end = begin + size
    if end > len(data):
        raise ValueError("a key is longer than its message")
    if kind == 0 and size == 0:
        return None, data[begin:]
    key = data[begin:end]
    if kind == 1:
        return key.decode("utf-8", "surrogatepass"), data[end:]
    if kind == 2:
        return int(key, 16), data[end:]
    if kind == 3:
        return key, data[end:]
    raise ValueError(f"there is no key of kind {kind}")
