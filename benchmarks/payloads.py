"""The messages that are more than filling: JSON as applications send it, plain and deflated."""

import json
import random
import zlib
from pathlib import Path

from .layout import BUILD

_TAIL = b"\x00\x00\xff\xff"  # which RFC 7692, section 7.2.1, takes off


def json_payload(size: int) -> bytes:
    """Return prices of so many bytes in all, the same each time."""
    source = random.Random(size)
    prices: list[dict[str, object]] = []
    while len(text := json.dumps({"type": "prices", "list": prices})) < size:
        prices.append(
            {
                "symbol": "".join(source.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=4)),
                "bid": round(source.uniform(1, 500), 2),
                "ask": round(source.uniform(1, 500), 2),
                "volume": source.randrange(100000),
            }
        )
    return text[:size].encode()


def deflated(data: bytes) -> bytes:
    """Return a message as permessage-deflate sends it (RFC 7692)."""
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def payload_file(size: int, deflate: bool) -> Path:
    """Return a file that has such a payload, as it is or deflated."""
    data = json_payload(size)
    path = BUILD / f"json-{size}{'.deflated' if deflate else ''}"
    BUILD.mkdir(exist_ok=True)
    path.write_bytes(deflated(data) if deflate else data)
    return path
