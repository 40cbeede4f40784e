"""Random streams of requests, mostly handshakes, right and wrong, and ways to cut them."""

from __future__ import annotations

import itertools
import json
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzz.streams import mutated
from fuzz.streams import random_case as random_frames

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
KEYS = [
    KEY,
    b"dGhlIHNhbXBsZSBub25jZR==",
    b"dGhlIHNhbXBsZSBub25jZQ=",
    b"dGhlIHNhbXBsZSBub25jZQ",
    b"dGhlIHNhbXBsZSBub25jZQ==,",
    b"AAAAAAAAAAAAAAAAAAAA",
    b"A" * 4000,
    b"not base64 at all!!!!!==",
    b"dGhlIHNhbXBsZS_ub25jZQ==",
    b"",
]
METHODS = [
    b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"TRACE", b"get", b"GETT", b"PRI", b"",
    b"G ET", b"PATCH", b"DELETE", b"M-SEARCH", b"G\xc3T", b"QUERY",
]  # fmt: skip
VERSIONS = [
    b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"http/1.1", b"HTTP/1", b"HTTP/01.1",
    b"HTTP/1.1 ", b"HTTP/1.10", b"HTTP/1,1", b"", b"HTTP/9.9", b"HTTPS/1.1", b"HTTP/1.1\t",
]  # fmt: skip
TARGETS = [
    b"/ws?a=b&c", b"/", b"/nowhere", b"/page", b"/form", b"/ws/", b"//ws", b"/ws#x", b"*", b"ws",
    b"http://test/ws", b"http://test/", b"http://TEST/ws?x", b"http://other/ws", b"http://test",
    b"http://test?x", b"https://test/ws", b"ftp://test/ws", b"test:80", b"/%77s", b"/%00", b"/w%s",
    b"/ws?\xc3\xa4", b"/w s", b"/ws\0", b"/ws\x7f", b"/ws\t", b"/../ws", b"/ws;x", b"", b"/ws?#",
    b"http://u@test/ws", b"http://test:80/ws", b"/ws?" + b"x" * 3000, b"/" + b"y" * 9000,
]  # fmt: skip
HOSTS = [
    b"test:80", b"test", b"TEST", b"[::1]", b"[::1]:80", b"127.0.0.1", b"", b"a,b", b"u@h", b"h/p",
    b"h p", b"h:port", b"h:123456", b"\xc3\xa4", b"[::1", b"test:", b"h\\x", b"h?x", b"h#x",
]  # fmt: skip
EXTRAS = [
    b"Origin: http://test", b"Origin: http://evil", b"Origin: null", b"Origin: http://test:80",
    b"Origin:", b"Origin: http://test, http://evil", b"User-Agent: fuzz \x80\xff", b"X: a\tb",
    b"Cookie: a=b; c=d", b"Cookie: " + b"c=d; " * 400, b"Content-Length: 0", b"Content-Length: 5",
    b"Content-Length: 00", b"Content-Length: +0", b"Content-Length: -1", b"Content-Length: 0x0",
    b"Content-Length: 0,0", b"Content-Length: 0, 0", b"Content-Length:", b"Content-Length: 0 0",
    b"Content-Length: 99999999999999999999", b"Content-Length: 2000000", b"Content-Length: 3",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: Chunked", b"Transfer-Encoding:",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding : chunked", b"Transfer_Encoding: chunked", b"Content_Length: 5",
    b"Expect: 100-continue", b"Expect: 100-Continue", b"Expect: nonsense", b"TE: trailers",
    b"Sec-WebSocket-Protocol: chat, superchat", b"Sec-WebSocket-Protocol: a,a",
    b"Sec-WebSocket-Protocol: ", b"Sec-WebSocket-Protocol: a b", b"Sec-WebSocket-Protocol: ,a",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    b"Sec-WebSocket-Extensions: x; y=\"", b"Sec-WebSocket-Extensions: ,;;=",
    b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=x", b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    b"X: " + b"v" * 8180, b"X: " + b"v" * 8192, b"X" * 300 + b": v", b"X:", b"X: ", b"X:\t \tv \t",
    b": v", b"X", b"X Y: v", b"X\t: v", b" X: v", b"\tX: v", b"X: a\0b", b"X: a\x07b", b"X: a\x7fb",
    b"X: a\r b", b"X\x80: v", b"X: a\r\n b", b"X: a\r\n\tb", b"X: \x0b", b"X: a\x0cb", b"X: a\x85b",
    b"X: \xa0", b"\xef\xbb\xbfX: v", b"X: a\nY: b", b"X: a\rY: b", b"X: \x1b[31m", b"X@Y: v",
    b"Host: test", b"Host: other", b"Host : test", b"Connection: close", b"Connection: keep-alive",
    b"Upgrade: h2c", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: " + KEY,
]  # fmt: skip
UPGRADES = [
    b"websocket", b"WebSocket", b"WEBSOCKET", b"h2c, websocket", b"websocket, h2c", b"h2c",
    b"websocketx", b"", b"websocket/13", b"websocket,", b"websocket;q=1", b"\"websocket\"", b",",
]  # fmt: skip
CONNECTIONS = [
    b"Upgrade", b"upgrade", b"keep-alive, Upgrade", b"Upgrade, close", b"close", b"keep-alive",
    b"notupgrade", b"", b"Upgrade,", b", Upgrade", b"upgrade,upgrade", b"keep-alive,\tUPGRADE",
]  # fmt: skip
WS_VERSIONS = [b"13", b"8", b"12", b"14", b"13, 8", b"013", b"", b"+13", b"13.0", b"13 ", b"\t13"]
CODINGS = [
    b"5\r\nhello\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"2\r\nhi\r\n3\r\nyou\r\n0\r\n\r\n",
    b"5;x=y\r\nhello\r\n0\r\nX: trailer\r\n\r\n",
    b"005\r\nhello\r\n000\r\n\r\n",
    b"A\r\n0123456789\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"5\r\nhello0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"-1\r\nhello\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\nhello",
    b"5\r\nhello\r\n",
    b"G\r\n\r\n",
    b"5;\0\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    b'5;x="y\r\nhello\r\n0\r\n\r\n',
]
STRANGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"GET /ws\r\n\r\n",
    b"GET /ws HTTP/1.1\r\n\r\n",
    b"\x81\x85\0\0\0\0hello",
    b"\r",
    b"\n",
    b"\0",
]


@dataclass(frozen=True, slots=True)
class Case:
    """One stream, where it is cut into chunks, and whether FIN or silence follows."""

    stream: bytes
    cuts: list[int] = field(default_factory=list)
    ends: bool = False

    def chunks(self) -> list[bytes]:
        """Return the parts in which it arrives."""
        edges = [0, *self.cuts, len(self.stream)]
        return [self.stream[a:b] for a, b in itertools.pairwise(edges) if a < b]

    def dumps(self) -> str:
        """Return it as JSON; latin-1, so that it can be read."""
        return json.dumps(
            {"stream": self.stream.decode("latin-1"), "cuts": self.cuts, "ends": self.ends}
        )

    @classmethod
    def load(cls, path: Path) -> Case:
        """Read one from a file; what else the file says is ignored."""
        values = json.loads(path.read_text())
        return cls(values["stream"].encode("latin-1"), values["cuts"], values["ends"])


def handshake(random: Random) -> list[bytes]:
    """Make the lines of a handshake; most are valid but for some twist."""
    daring = random.choice((0.0, 0.05, 0.15))

    def pick(usual: bytes, others: list[bytes]) -> bytes:
        return random.choice(others) if random.random() < daring else usual

    key = KEY if random.random() < 0.5 else b64encode(random.randbytes(16))
    line = b" ".join(
        (pick(b"GET", METHODS), pick(b"/ws", TARGETS), pick(b"HTTP/1.1", VERSIONS)),
    )
    lines = [
        b"Host: " + pick(b"test", HOSTS),
        b"Upgrade: " + pick(b"websocket", UPGRADES),
        b"Connection: " + pick(b"Upgrade", CONNECTIONS),
        b"Sec-WebSocket-Key: " + pick(key, KEYS),
        b"Sec-WebSocket-Version: " + pick(b"13", WS_VERSIONS),
    ]
    return [line, *_twisted(random, lines)]


def plain(random: Random) -> bytes:
    """Make a request of another kind, with its body."""
    kind = random.random()
    host = b"Host: test"
    if kind < 0.4:
        target = random.choice((b"/page", b"/ws", b"/nowhere", b"/form"))
        method = random.choice((b"GET", b"GET", b"HEAD", b"POST", b"DELETE"))
        return _joined(random, [method + b" " + target + b" HTTP/1.1", host])
    line = b"POST /form HTTP/1.1"
    if kind < 0.7:
        body = random.randbytes(random.choice((0, 1, 5, 100)))
        size = b"Content-Length: %d" % random.choice((len(body),) * 9 + (2_000_000,))
    else:
        body = random.choice(CODINGS)
        size = b"Transfer-Encoding: chunked"
    lines = _twisted(random, [host, size]) if random.random() < 0.3 else [host, size]
    return _joined(random, [line, *lines]) + body


def _twisted(random: Random, lines: list[bytes]) -> list[bytes]:
    """Reorder, repeat, leave out, add and respell headers, mostly not much."""
    lines = list(lines)
    if random.random() < 0.3:
        random.shuffle(lines)
    for _ in range(random.choice((0, 0, 0, 1, 1, 2, 4))):
        at = random.randrange(len(lines) + 1)
        kind = random.random()
        if kind < 0.6 or not lines:
            lines.insert(at, random.choice(EXTRAS))
        elif kind < 0.7:
            lines.insert(at, random.choice(lines))
        elif kind < 0.8:
            lines.pop(random.randrange(len(lines)))
        else:
            i = random.randrange(len(lines))
            name, colon, value = lines[i].partition(b":")
            name = random.choice((name.lower(), name.upper(), name, name + b" "))
            value = random.choice((value, value.strip(), value + b" ", b"\t" + value))
            lines[i] = name + colon + value
    if random.random() < 0.01:
        lines += [b"X-%d: y" % i for i in range(random.choice((90, 95, 96, 100, 130)))]
    if random.random() < 0.01:
        lines += [b"Y: " + b"z" * 4000] * random.choice((6, 7, 8, 9))
    return lines


def _joined(random: Random, lines: list[bytes]) -> bytes:
    """Join lines, now and then with a wrong end."""
    end = b"\r\n"
    if random.random() < 0.02:
        end = random.choice((b"\n", b"\r", b"\n\r", b"\r\r\n"))
    data = end.join(lines) + end + end
    if random.random() < 0.02:
        at = random.randrange(len(lines))
        wrong = random.choice((b"\n", b"\r", b"\r\r\n", b"\0\r\n", b" \r\n"))
        data = b"".join(
            line + (wrong if i == at else b"\r\n") for i, line in enumerate([*lines, b""])
        )
    return data


def _stream(random: Random) -> bytes:
    parts = []
    if random.random() < 0.06:
        parts.append(random.choice((b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n", b"\n", b" ")))
    while random.random() < 0.2:
        parts.append(plain(random))
        if random.random() < 0.05:
            parts.append(b"\r\n")
    kind = random.random()
    if kind < 0.85:
        parts.append(_joined(random, handshake(random)))
        if random.random() < 0.05:
            parts.append(random.choice(CODINGS))
    elif kind < 0.88:
        parts.append(random.choice(STRANGE))
    kind = random.random()
    if kind < 0.15:
        parts.append(random_frames(random).stream[:2000])
    elif kind < 0.2:
        parts.append(_joined(random, handshake(random)))
    elif kind < 0.23:
        parts.append(random.choice(STRANGE))
    return b"".join(parts) or random.randbytes(random.randrange(1, 40))


def cuts(random: Random, stream: bytes) -> list[int]:
    """Pick where a stream is cut: mostly near the ends of lines."""
    size = len(stream)
    if size < 2 or random.random() < 0.1:
        return []
    ends = [i for i in range(1, size) if stream[i - 1] in b"\r\n: "]
    if ends and random.random() < 0.6:
        return sorted(random.sample(ends, random.randrange(1, min(len(ends), 6) + 1)))
    return sorted({random.randrange(1, size) for _ in range(random.randrange(1, 9))})


def random_request(random: Random) -> Case:
    """Make a case."""
    stream = _stream(random)
    if random.random() < 0.25:
        stream = mutated(random, stream) or b"G"
    return Case(stream, cuts(random, stream), random.random() < 0.3)
