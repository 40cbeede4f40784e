"""Random streams of frames, mostly valid, and ways to cut them."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzz.reference import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Limits

SIZES = [0, 1, 2, 3, 4, 7, 8, 9, 15, 31, 64, 124, 125]
MEDIUM = [126, 127, 128, 255, 300, 1000, 4096]
LARGE = [16383, 16384, 16385, 17000, 20000, 65535, 65536, 65537]
LENGTHS = [125, 126, 65535, 65536, 1 << 20, (1 << 20) + 1, 1 << 31, 1 << 32]
ENORMOUS = [(1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 63) - 7]
CODES = [0, 999, *range(1000, 1016), 1016, 2999, 3000, 3999, 4000, 4999, 5000, 65535]
DEFAULTS = Limits()
LIMITS = [
    *[DEFAULTS] * 6,
    Limits(max_message_size=1000),
    Limits(max_message_size=125),
    Limits(max_message_size=70),
    Limits(max_message_size=1),
    Limits(max_fragments=1),
    Limits(max_fragments=3),
]
GOOD = ["a", "hello, world! ", "ä", "é€", "😀", "\0", "\ufeff", "\U0010ffff", "~" * 40]
GOOD_TEXT = [text.encode() for text in GOOD]
BAD_TEXT = [
    b"\x80",
    b"\xbf",
    b"\xc0\x80",
    b"\xc1",
    b"\xe0\x80",
    b"\xe0\x80\x80",
    b"\xed\xa0",
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xf5",
    b"\xff",
    b"\xc3",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
]


@dataclass(frozen=True, slots=True)
class Case:
    """One stream, where it is cut into chunks, and the limits it is held to."""

    stream: bytes
    cuts: list[int] = field(default_factory=list)
    limits: Limits = DEFAULTS

    def chunks(self) -> list[bytes]:
        """Return the parts in which it arrives."""
        edges = [0, *self.cuts, len(self.stream)]
        return [self.stream[a:b] for a, b in itertools.pairwise(edges) if a < b]

    def dumps(self) -> str:
        """Return it as JSON."""
        return json.dumps(
            {
                "stream": self.stream.hex(),
                "cuts": self.cuts,
                "max_message_size": self.limits.max_message_size,
                "max_fragments": self.limits.max_fragments,
            }
        )

    @classmethod
    def load(cls, path: Path) -> Case:
        """Read one from a file; what else the file says is ignored."""
        values = json.loads(path.read_text())
        limits = Limits(values["max_message_size"], values["max_fragments"])
        return cls(bytes.fromhex(values["stream"]), values["cuts"], limits)


def xored(payload: bytes, key: bytes) -> bytes:
    """Mask a payload."""
    size = len(payload)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def payload_size(random: Random) -> int:
    """Pick a size, seldom a large one."""
    kind = random.random()
    if kind < 0.88:
        return random.choice(SIZES)
    return random.choice(MEDIUM if kind < 0.97 else LARGE)


def text(random: Random) -> bytes:
    """Make UTF-8, now and then wrong."""
    size = payload_size(random)
    parts = random.choices(GOOD_TEXT, k=random.randrange(1, 6))
    if random.random() < 0.15:
        parts.insert(random.randrange(len(parts) + 1), random.choice(BAD_TEXT))
    data = b"".join(parts)
    if size > 200:
        return b"x" * (size - len(data)) + data
    return data if random.random() < 0.8 else data[:size]


def close_payload(random: Random) -> bytes:
    """Make the body of a Close frame, right or wrong."""
    kind = random.random()
    if kind < 0.2:
        return b""
    if kind < 0.25:
        return random.randbytes(1)
    code = random.choice(CODES) if kind < 0.9 else random.randrange(65536)
    reason = text(random) if random.random() < 0.5 else b""
    return code.to_bytes(2, "big") + (reason if random.random() < 0.1 else reason[:123])


class _Writer:
    """Writes frames that mostly fit what was written before."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.message = 0  # opcode of the message in progress

    def frame(self) -> bytes:
        random = self.random
        kind = random.random()
        if kind < 0.12:
            opcode, payload = random.choice((PING, PONG)), random.randbytes(random.choice(SIZES))
        elif kind < 0.18:
            opcode, payload = CLOSE, close_payload(random)
        elif kind < 0.2:
            opcode, payload = random.randrange(16), random.randbytes(random.choice(SIZES))
        else:
            return self.data_frame()
        return self.encode(0x80 | opcode, payload)

    def data_frame(self) -> bytes:
        random = self.random
        in_message = (self.message != 0) != (random.random() < 0.03)
        opcode = CONTINUATION if in_message else random.choice((TEXT, BINARY))
        if (self.message or opcode) == TEXT:
            payload = text(random)
        else:
            payload = random.randbytes(payload_size(random))
        final = random.random() < 0.55
        if final:
            self.message = 0
        elif opcode:
            self.message = opcode
        return self.encode(opcode | (0x80 if final else 0), payload)

    def encode(self, first: int, payload: bytes) -> bytes:
        random = self.random
        size = len(payload)
        if random.random() < 0.02:
            first ^= random.choice((0x10, 0x20, 0x40, 0x80, 0x70))
        claimed = size
        if random.random() < 0.015:
            claimed = random.choice(LENGTHS if random.random() < 0.7 else ENORMOUS)
        form = 7 if claimed < 126 else 16 if claimed < 65536 else 64
        if random.random() < 0.02:
            form = random.choice((16, 64))
            claimed = min(claimed, 65535) if form == 16 else claimed
        if form == 7:
            header = bytes([first, 0x80 | claimed])
        elif form == 16:
            header = bytes([first, 0xFE]) + claimed.to_bytes(2, "big")
        else:
            header = bytes([first, 0xFF]) + claimed.to_bytes(8, "big")
        if random.random() < 0.01:
            return header[:1] + bytes([header[1] & 0x7F]) + header[2:] + payload
        key = random.randbytes(4)
        return header + key + xored(payload, key)


def mutated(random: Random, stream: bytes) -> bytes:
    """Change a few bytes."""
    data = bytearray(stream)
    for _ in range(random.randrange(1, 4)):
        if not data:
            break
        i = random.randrange(len(data))
        j = min(len(data), i + random.choice((1, 1, 2, 4, 16)))
        kind = random.randrange(6)
        if kind == 0:
            data[i] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[i] = random.choice((0, 0x7F, 0x80, 0xFE, 0xFF))
        elif kind == 2:
            del data[i:j]
        elif kind == 3:
            data[i:i] = random.randbytes(j - i)
        elif kind == 4:
            data[i:i] = data[i:j]
        else:
            del data[i:]
    return bytes(data)


def framing(stream: bytes) -> list[tuple[int, int, int]]:
    """Return where the frames of a stream begin, where their headers end, and where they end.

    What is broken ends it; the last frame may be incomplete.
    """
    frames = []
    start = 0
    while len(stream) - start >= 2:
        second = stream[start + 1]
        short = second & 0x7F
        header = start + 2 + {126: 2, 127: 8}.get(short, 0)
        length = short if short < 126 else int.from_bytes(stream[start + 2 : header], "big")
        header += 4 if second & 0x80 else 0
        end = header + length
        if header > len(stream):
            break
        frames.append((start, header, min(end, len(stream))))
        start = end
    return frames


def cuts(random: Random, stream: bytes) -> list[int]:
    """Pick where a stream is cut."""
    size = len(stream)
    kind = random.random()
    if size < 2 or kind < 0.15:
        return []
    if kind < 0.35 and size < 400:
        return list(range(1, size))
    if kind < 0.65:
        # What is begun in one chunk and what is found in the next changes at these places.
        edges = sorted({edge for frame in framing(stream) for edge in frame if 0 < edge < size})
        return sorted(random.sample(edges, random.randrange(min(len(edges), 4) + 1)))
    return sorted(random.randrange(1, size) for _ in range(random.randrange(1, 9)))


def random_case(random: Random) -> Case:
    """Make a case."""
    writer = _Writer(random)
    stream = b"".join(writer.frame() for _ in range(random.randrange(1, 7)))
    if random.random() < 0.3:
        stream = mutated(random, stream)
    return Case(stream, cuts(random, stream), random.choice(LIMITS))
