"""The ways in which one stream can reach a decoder; the outcome must not depend on them.

Nor must it depend on the side: a client's stream means the same to a server as its frames without
masks mean to a client.
"""

from collections.abc import Iterator
from typing import TypeAlias

from wsgroups.codec.frames import Decoder

Event: TypeAlias = tuple[str, str | bytes | int | tuple[int, str]]

ALL_POSITIONS = 400  # bytes; longer streams are split at their ends and here and there between


def decode(
    stream: bytes,
    *,
    expect_mask: bool = True,
    max_message_size: int = 1 << 20,
    max_fragments: int = 4096,
) -> list[Event]:
    """Return the events of a stream, having fed it whole, in two parts, and byte by byte.

    A failure is given as its code alone. What a server's side makes of frames that are masked, a
    client's side has to make of them without their masks.
    """

    def run(parts: Iterator[bytes], *, directly: bool) -> list[Event]:
        decoder = Decoder(
            expect_mask=expect_mask,
            max_message_size=max_message_size,
            max_fragments=max_fragments,
        )
        take = decoder.receive if directly else decoder.feed
        return [_without_detail(event) for part in parts for event in take(part)]

    whole = run(iter([stream]), directly=False)
    if expect_mask and (bare := unmasked(stream)) is not None:
        options = {"max_message_size": max_message_size, "max_fragments": max_fragments}
        assert decode(bare, expect_mask=False, **options) == whole, "on a client's side"
    for directly in (False, True):
        assert run(iter([stream]), directly=directly) == whole
        assert run(_bytes_of(stream), directly=directly) == whole, "byte by byte"
        for position in _positions(len(stream)):
            parts = iter([stream[:position], stream[position:]])
            assert run(parts, directly=directly) == whole, f"split at {position}"
    return whole


def _without_detail(event: tuple[str, str | bytes | tuple[int, str]]) -> Event:
    name, value = event
    if name == "fail":
        assert isinstance(value, tuple)
        code, detail = value
        assert detail, "a failure says what was wrong"
        return name, code
    return name, value


def _bytes_of(stream: bytes) -> Iterator[bytes]:
    for i in range(len(stream)):
        yield stream[i : i + 1]


def _positions(size: int) -> list[int]:
    if size <= ALL_POSITIONS:
        return list(range(1, size))
    return [*range(1, 40), *range(40, size - 40, size // 16), *range(size - 40, size)]


def masked(first: int, payload: bytes = b"", key: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    """Return a client's frame, made without the code under test.

    Args:
        first: the first byte: FIN, RSV and opcode.
        payload: the bytes before masking.
        key: the masking key.
    """
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes([first]) + length + key + xored(payload, key)


def unmasked(stream: bytes) -> bytes | None:
    """Return a client's frames as a server would send them; None when some are not masked.

    The last one may be cut anywhere.
    """
    frames = b""
    while len(stream) >= 2:
        if not stream[1] & 0x80:
            return None
        size = stream[1] & 0x7F
        start = {126: 4, 127: 10}.get(size, 2)
        if start > 2:
            size = int.from_bytes(stream[2:start], "big")
        key, body = stream[start : start + 4], stream[start + 4 :]
        frames += bytes([stream[0], stream[1] & 0x7F]) + stream[2:start] + xored(body[:size], key)
        stream = body[size:]
    return frames + stream


def xored(payload: bytes, key: bytes) -> bytes:
    """Mask as RFC 6455 section 5.3 says it: octet i with octet i mod 4 of the key."""
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))
