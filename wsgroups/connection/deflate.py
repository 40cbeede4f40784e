"""Compression of messages: permessage-deflate (RFC 7692)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

from wsgroups.policy import Compression

_TAIL = b"\x00\x00\xff\xff"  # what section 7.2.1 takes off the end of each message
_LAST = b"\x03\x00"  # an empty last block, behind which nothing may come
_LONGEST_HEADER = 2048  # of offers; more are no browser's
_LARGEST_WINDOW = 15
_FREE_RATIO = 65536  # bytes that a message may become without regard to max_ratio


class InflateError(Exception):
    """A message cannot be inflated; `close_code` says what to close with."""

    def __init__(self, close_code: int, why: str) -> None:
        super().__init__(why)
        self.close_code = close_code


class Deflate:
    """The compression that one connection has agreed on.

    Args:
        policy: what the group says.
        ours: bits of the window that messages to the peer are compressed with.
        theirs: the same of the peer's messages.
        keeps_ours: our window lasts from message to message (context takeover).
        keeps_theirs: the peer's does.

    Attributes:
        threshold: bytes from which on messages are compressed.
        shared_as: equal for connections that may be sent the same compressed bytes; 0 for none.
    """

    __slots__ = (
        "_deflater", "_keeps_ours", "_keeps_theirs", "_level", "_max_ratio", "_memory", "_ours",
        "_theirs", "_window", "shared_as", "threshold",
    )  # fmt: skip

    def __init__(
        self, policy: Compression, ours: int, theirs: int, keeps_ours: bool, keeps_theirs: bool
    ) -> None:
        self._ours, self._theirs = ours, theirs
        self._keeps_ours, self._keeps_theirs = keeps_ours, keeps_theirs
        self._level, self._memory = policy.level, policy.memory_level
        self._max_ratio = policy.max_ratio
        self._deflater: zlib._Compress | None = None
        self._window = b""
        self.threshold = policy.threshold
        self.shared_as = 0 if keeps_ours else ours << 8 | policy.memory_level << 4 | policy.level

    def deflate(self, data: bytes) -> bytes:
        """Return a message as it goes over the wire."""
        deflater = self._deflater
        if deflater is None:
            deflater = zlib.compressobj(self._level, zlib.DEFLATED, -self._ours, self._memory)
            if self._keeps_ours:
                self._deflater = deflater
        return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]

    def inflate(self, data: bytes, limit: int) -> bytes:
        """Return a message as the peer's application gave it.

        Args:
            data: as it came over the wire.
            limit: bytes of the largest message.

        Raises:
            InflateError: for what is larger, or no deflated message.
        """
        if not data:  # what some send for an empty message, without the block that it should be
            return b""
        most = min(limit, max(_FREE_RATIO, self._max_ratio * len(data)))
        message = self._take(data + _TAIL + _LAST, most)
        if self._keeps_theirs:
            self._window = (self._window + message)[-(1 << self._theirs) :]
        return message

    def _take(self, data: bytes, most: int) -> bytes:
        """Inflate until the end that `inflate` has put behind the message.

        A message may have a last block of its own (section 7.2.3.5), once.
        """
        message = b""
        window = self._window
        for is_first in (True, False):
            inflater = zlib.decompressobj(-self._theirs, zdict=window)
            try:
                message += inflater.decompress(data, most + 1 - len(message))
            except zlib.error as error:
                raise InflateError(1007, f"no deflated message: {error}") from None
            if len(message) > most:
                raise InflateError(1009, "message is larger than max_message_size or max_ratio")
            if not inflater.eof:
                break
            data = inflater.unused_data
            if not data or (is_first and data == _TAIL + _LAST):
                return message
            window = (window + message)[-(1 << self._theirs) :]
        raise InflateError(1007, "no deflated message: it does not end where it should")


# --- negotiation ----------------------------------------------------------------------------

Parameters = dict[str, str | None]


def negotiate(lines: Iterable[bytes], policy: Compression) -> tuple[str, Deflate] | None:
    """Choose among the offers of a client; returns the header's value and what it means.

    The first offer that can be met is taken (section 5.1). One with a parameter that is unknown,
    doubled or out of range is declined, which is no error.
    """
    text = ",".join(line.decode("latin-1") for line in lines)
    if len(text) > _LONGEST_HEADER:
        return None
    for name, parameters in _offers(text):
        if name == "permessage-deflate" and parameters is not None:
            agreed = _agree(parameters, policy)
            if agreed is not None:
                return agreed
    return None


def offer(policy: Compression) -> str:
    """Return what a client offers."""
    parameters = ["permessage-deflate"]
    if not policy.context_takeover:
        parameters += ["client_no_context_takeover", "server_no_context_takeover"]
    # Without a value it says that the server may choose (section 7.1.2.2).
    return "; ".join([*parameters, "client_max_window_bits"])


def accept(lines: Iterable[bytes], policy: Compression) -> Deflate | None:
    """Return what a server has made of `offer`; None when it does not compress.

    Raises:
        ValueError: for an answer to something that was not offered.
    """
    text = ",".join(line.decode("latin-1") for line in lines)
    if not text:
        return None
    (name, parameters), *others = _offers(text)
    if name != "permessage-deflate" or parameters is None or others:
        raise ValueError("the server uses an extension that was not offered")
    known: dict[str, Callable[[str | None], object]] = {
        "server_no_context_takeover": lambda value: value is None,
        "client_no_context_takeover": lambda value: value is None,
        "server_max_window_bits": _bits,
        "client_max_window_bits": lambda value: (_bits(value) or 0) > 8,  # zlib cannot with 8
    }
    for key, value in parameters.items():
        if key not in known or not known[key](value):
            raise ValueError(f"the server answers the offer of compression with {key!r}")
    ours = min(policy.window_bits, int(parameters.get("client_max_window_bits") or 15))
    theirs = int(parameters.get("server_max_window_bits") or 15)
    keeps_ours = policy.context_takeover and "client_no_context_takeover" not in parameters
    keeps_theirs = "server_no_context_takeover" not in parameters
    return Deflate(policy, ours, theirs, keeps_ours, keeps_theirs)


def _agree(offer: Parameters, policy: Compression) -> tuple[str, Deflate] | None:
    ours = theirs = policy.window_bits
    for name, value in offer.items():
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
        elif name == "server_max_window_bits":
            if (bits := _bits(value)) is None or bits == 8:  # zlib cannot compress with 8
                return None
            ours = min(ours, bits)
        elif name == "client_max_window_bits":
            if value is not None and _bits(value) is None:
                return None
        else:
            return None
    keeps_ours = policy.context_takeover and "server_no_context_takeover" not in offer
    keeps_theirs = policy.context_takeover and "client_no_context_takeover" not in offer
    answer = ["permessage-deflate"]
    if not keeps_ours:
        answer.append("server_no_context_takeover")
    if not keeps_theirs:
        answer.append("client_no_context_takeover")
    if ours < _LARGEST_WINDOW:
        answer.append(f"server_max_window_bits={ours}")
    if "client_max_window_bits" in offer:  # otherwise it cannot be asked of this client
        theirs = min(theirs, _bits(offer["client_max_window_bits"]) or _LARGEST_WINDOW)
        if theirs < _LARGEST_WINDOW:
            answer.append(f"client_max_window_bits={theirs}")
    else:
        theirs = _LARGEST_WINDOW
    return "; ".join(answer), Deflate(policy, ours, theirs, keeps_ours, keeps_theirs)


def _bits(value: str | None) -> int | None:
    """A window size of section 7.1.2: 8 to 15, without leading zeros."""
    if value in ("8", "9", "10", "11", "12", "13", "14", "15"):
        return int(value)
    return None


def _offers(text: str) -> Iterator[tuple[str, Parameters | None]]:
    """Each extension with its parameters (section 9.1); None for a parameter that stands twice."""
    for part in text.split(","):
        name, *pairs = (piece.strip(" \t") for piece in part.split(";"))
        parameters: Parameters | None = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            key = key.strip(" \t")
            if parameters is None or key in parameters:
                parameters = None
                break
            parameters[key] = value.strip(" \t").strip('"') if equals else None
        yield name, parameters
