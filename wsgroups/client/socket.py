"""One WebSocket as a client has it, on an asyncio transport."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Self, cast

import orjson
from multidict import CIMultiDictProxy

from wsgroups.client.opening import Opening
from wsgroups.closing import CloseCode, CloseInfo, Side, close_payload
from wsgroups.codec.frames import Decoder, encode_frame
from wsgroups.connection.deflate import Deflate, InflateError
from wsgroups.errors import HandshakeFailedError, SocketGoneError

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_DEFLATED = frozenset({"deflated text", "deflated binary"})
_MESSAGES = frozenset({"text", "binary"})


class ClientSocket(asyncio.BufferedProtocol):
    """A connection to a WebSocket server; `wsgroups.connect` makes it. Only in its loop's thread.

    Iterate over it for its messages, `async for message in socket`; that ends when the socket
    closes. `async with` closes it at the end.

    Attributes:
        subprotocol: what was agreed on, or None.
        headers: the headers of the server's answer, without regard to case.
        close_info: how it ended, or None while it is open.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        max_message_size: int,
        max_fragments: int,
        max_queue: int,
        ping_interval: float | None,
        ping_timeout: float | None,
        close_timeout: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._opening: Opening | None = opening
        self._answer = opening
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self.close_info: CloseInfo | None = None
        self._decoder = Decoder(
            expect_mask=False, max_message_size=max_message_size, max_fragments=max_fragments
        )
        self._deflate: Deflate | None = None
        self._max_message_size = max_message_size
        # A view: asyncio's TLS slices what it is given, and the slice of a bytearray is a copy.
        self._buffer = memoryview(bytearray(65536))
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._messages: deque[str | bytes] = deque()
        self._max_queue = max_queue
        self._reader: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._pings: dict[bytes, asyncio.Future[float]] = {}
        self._pinged = 0
        self._ping_interval, self._ping_timeout = ping_interval, ping_timeout
        self._close_timeout = close_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._last_seen = 0.0
        self._sent_close: tuple[int, str] | None = None
        self._outcome: CloseInfo | None = None
        self._failed_with: int | None = None  # a failure that waits for the messages before it

    def __repr__(self) -> str:
        state = "open" if self.close_info is None else f"closed with {self.close_info.code}"
        return f"<ClientSocket {state}>"

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    # --- state ------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """True while messages can be sent."""
        return self.close_info is None and self._sent_close is None and self._outcome is None

    @property
    def has_message(self) -> bool:
        """True when `recv` would return at once."""
        return bool(self._messages)

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on, or None."""
        return self._answer.subprotocol

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers of the server's answer."""
        return self._answer.headers

    @property
    def buffered_amount(self) -> int:
        """Bytes sent that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    # --- messages ---------------------------------------------------------------------------

    async def send(self, data: Any, is_text: bool | None = None) -> None:
        """Send one message; waits while the server reads more slowly than is sent.

        Args:
            data: str goes as text, bytes-like as binary.
            is_text: overrides either way; bytes sent as text must be UTF-8.

        Raises:
            SocketGoneError: when the socket is closed, or closes meanwhile.
            TypeError: for anything else than str and bytes.
        """
        if isinstance(data, str):
            payload, opcode = data.encode(), _TEXT
        elif isinstance(data, bytes | bytearray | memoryview):
            payload, opcode = bytes(data), _BINARY
        else:
            raise TypeError(
                f"send() takes str or bytes, not {type(data).__name__}; "
                "send_json() takes dicts and lists"
            )
        if is_text is not None:
            if is_text and opcode == _BINARY:
                payload.decode()  # text frames hold UTF-8 only (section 5.6)
            opcode = _TEXT if is_text else _BINARY
        if not self.is_open:
            raise self._gone("nothing can be sent")
        if self._deflate is not None and len(payload) >= self._deflate.threshold:
            payload = self._deflate.deflate(payload)
            self._write(opcode, payload, deflated=True)
        else:
            self._write(opcode, payload)
        if not self._room.is_set():
            await self._room.wait()
            if self.close_info is not None:
                raise self._gone("the message may not have arrived")

    async def send_json(self, value: Any) -> None:
        """Send `value` as JSON text; as `send`."""
        await self.send(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode())

    async def recv(self, timeout: float | None = None) -> str | bytes:
        """Return the next message, str for text and bytes for binary.

        Args:
            timeout: seconds to wait; None for ever.

        Raises:
            SocketGoneError: when the socket is closed and everything that came was returned.
            TimeoutError: when none came in time.
            RuntimeError: when another task is receiving.
        """
        while not self._messages:
            if self._failed_with is not None and self._outcome is None:
                self._fail(self._failed_with)
            if self.close_info is not None:
                raise self._gone("there are no more messages")
            if self._reader is not None:
                raise RuntimeError("another task is receiving from this socket")
            self._reader = self._loop.create_future()
            try:
                await asyncio.wait_for(self._reader, timeout)
            finally:
                self._reader = None
        message = self._messages.popleft()
        has_room = len(self._messages) == self._max_queue - 1
        if has_room and self.close_info is None and self._failed_with is None:
            self._transport.resume_reading()
        return message

    async def recv_json(self, timeout: float | None = None) -> Any:
        """Return the next message decoded from JSON; as `recv`.

        Raises:
            ValueError: when it is no JSON.
        """
        return orjson.loads(await self.recv(timeout))

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Iterate over the messages until the socket has closed, however that was."""
        while True:
            try:
                message = await self.recv()
            except SocketGoneError:
                return
            yield message

    async def ping(self, timeout: float | None = None) -> float:
        """Send a ping and return the seconds until its pong.

        Raises:
            SocketGoneError: when the socket closes first.
            TimeoutError: when `timeout` seconds pass first.
        """
        if not self.is_open:
            raise self._gone("no ping can be sent")
        self._pinged += 1
        payload = self._pinged.to_bytes(8, "big")
        answered: asyncio.Future[float] = self._loop.create_future()
        self._pings[payload] = answered
        began = self._loop.time()
        self._write(_PING, payload)
        try:
            return await asyncio.wait_for(answered, timeout) - began
        finally:
            self._pings.pop(payload, None)

    async def close(self, code: int = CloseCode.NORMAL, reason: str | None = None) -> None:
        """Close the socket and wait until it is; again makes no difference.

        Raises:
            ValueError: for a code that may not be sent.
        """
        payload = close_payload(code, reason)
        if self._failed_with is not None and self._outcome is None:
            self._fail(self._failed_with)
        if self.is_open:
            self._sent_close = (code, payload[2:].decode())
            self._write(_CLOSE, payload)
            self._after(self._close_timeout, self._transport.abort)
        if len(self._messages) >= self._max_queue and self.close_info is None:
            self._transport.resume_reading()  # the server's Close must be heard
        await asyncio.shield(self._ended)

    async def wait_closed(self) -> None:
        """Wait until the socket has closed, whoever begins."""
        await asyncio.shield(self._ended)

    def _gone(self, what: str) -> SocketGoneError:
        info = self.close_info or self._outcome
        code = info.code if info else (self._sent_close or (1006, ""))[0]
        return SocketGoneError(f"the socket is closed ({code}): {what}", code)

    # --- the transport's side ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        assert self._opening is not None
        self._transport.write(self._opening.request)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where bytes are to be received to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was received: the handshake's answer first, then frames."""
        data = bytes(self._buffer[:nbytes])
        self._last_seen = self._loop.time()
        if self._opening is not None:
            try:
                behind = self._opening.feed(data)
            except HandshakeFailedError as error:
                self._refused(error)
                return
            if behind is None:
                return
            self._opening = None
            self._deflate = self._answer.deflate
            if self._deflate is not None:
                self._decoder.allow_deflate()
            if self.opened.done():  # whoever wanted the socket was cancelled meanwhile
                self._transport.abort()
                return
            self._keep_alive()
            self.opened.set_result(None)
            data = behind
        if self._outcome is None:
            self._take(data)

    def eof_received(self) -> bool:
        """The server sends nothing more: neither do we."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Come to the end: tell everybody who waits."""
        if self._opening is not None:
            self._refused(HandshakeFailedError("the server closed during the handshake"))
            return
        self._end(self._outcome or CloseInfo(1006, "", False, self._first_side()))

    def pause_writing(self) -> None:
        """The transport holds too much."""
        self._room.clear()

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._room.set()

    # --- frames -----------------------------------------------------------------------------

    def _write(self, opcode: int, payload: bytes, deflated: bool = False) -> None:
        # Section 5.3: each mask must be unpredictable, for proxies between here and there.
        mask = os.urandom(4)
        self._transport.write(encode_frame(opcode, payload, mask=mask, deflated=deflated))

    def _take(self, data: bytes) -> None:
        for kind, value in self._decoder.feed(data):
            if self._outcome is not None or self._failed_with is not None:
                break  # what follows a message that could not be inflated is ignored
            if kind in _DEFLATED:
                if self._sent_close is None and self._outcome is None:
                    self._take_deflated(kind, cast(bytes, value))
            elif kind in _MESSAGES:
                if self._sent_close is None:
                    self._messages.append(value)  # type: ignore[arg-type]
            elif kind == "ping":
                if self._sent_close is None:
                    self._write(_PONG, cast(bytes, value))
            elif kind == "pong":
                self._on_pong(cast(bytes, value))
            elif kind == "close":
                self._on_close(*cast(tuple[int, str], value))
            else:
                self._on_failure(cast(tuple[int, str], value)[0])
        if self._messages:
            self._wake_reader()
            if len(self._messages) >= self._max_queue and self.is_open:
                self._transport.pause_reading()

    def _take_deflated(self, kind: str, payload: bytes) -> None:
        assert self._deflate is not None
        try:
            message: str | bytes = self._deflate.inflate(payload, self._max_message_size)
            if kind == "deflated text":
                message = cast(bytes, message).decode()
        except InflateError as error:
            self._on_failure(error.close_code)
        except UnicodeDecodeError:
            self._on_failure(CloseCode.INVALID_PAYLOAD)
        else:
            self._messages.append(message)

    def _on_pong(self, payload: bytes) -> None:
        """A pong answers its ping and all before it (section 5.5.3)."""
        if payload not in self._pings:
            return
        now = self._loop.time()
        for sent, answered in self._pings.items():
            if not answered.done():
                answered.set_result(now)
            if sent == payload:
                return

    def _on_close(self, code: int, reason: str) -> None:
        """Answer the server's Close, unless it is itself the answer; the server closes TCP."""
        if self._sent_close is not None:
            self._outcome = CloseInfo(*self._sent_close, True, Side.LOCAL)
        else:
            self._write(_CLOSE, b"" if code == CloseCode.NO_STATUS else code.to_bytes(2, "big"))
            self._outcome = CloseInfo(code, reason, True, Side.REMOTE)
        self._after(self._close_timeout, self._transport.abort)

    def _on_failure(self, code: int) -> None:
        """The server broke the protocol: what came before it may still be answered, for a while."""
        if self._messages and self.is_open:
            self._failed_with = code
            self._transport.pause_reading()
            self._after(self._close_timeout, self._fail, code)
        else:
            self._fail(code)

    def _fail(self, code: int) -> None:
        """Fail the connection (section 7.1.7)."""
        if self._sent_close is None:
            self._write(_CLOSE, code.to_bytes(2, "big"))
        self._outcome = CloseInfo(code, "", False, Side.LOCAL)
        self._transport.close()
        self._after(self._close_timeout, self._transport.abort)

    def _first_side(self) -> Side:
        return Side.REMOTE if self._sent_close is None else Side.LOCAL

    # --- time -------------------------------------------------------------------------------

    def _after(self, seconds: float, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function after so many seconds, and nothing that was to be called before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, function, *arguments)

    def _keep_alive(self) -> None:
        """Ping a silent server; any byte counts as life."""
        if self._ping_interval is None or not self.is_open:
            return
        left = self._last_seen + self._ping_interval - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._keep_alive)
            return
        self._write(_PING, b"")
        if self._ping_timeout is None:
            self._timer = self._loop.call_later(self._ping_interval, self._keep_alive)
        else:
            self._timer = self._loop.call_later(self._ping_timeout, self._give_up, self._last_seen)

    def _give_up(self, last_seen: float) -> None:
        if self._last_seen > last_seen or not self._transport.is_reading():
            self._keep_alive()
        elif self.is_open:
            self._fail(CloseCode.INTERNAL_ERROR)

    # --- the end ----------------------------------------------------------------------------

    def _refused(self, error: HandshakeFailedError) -> None:
        self._opening = None
        self._outcome = CloseInfo(1006, "", False, Side.REMOTE)
        self.close_info = self._outcome
        if not self.opened.done():
            self.opened.set_exception(error)
            self.opened.exception()  # seen: nobody may be waiting any more
        self._transport.abort()

    def _end(self, info: CloseInfo) -> None:
        if self.close_info is None:
            self.close_info = info
        if self._timer is not None:
            self._timer.cancel()
        self._room.set()
        self._wake_reader()
        for answered in self._pings.values():
            if not answered.done():
                answered.set_exception(self._gone("the ping was not answered"))
        if not self._ended.done():
            self._ended.set_result(None)

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def abort(self) -> None:
        """Drop the connection at once, without a Close frame."""
        if self._outcome is None:
            self._outcome = CloseInfo(1006, "", False, Side.LOCAL)
        with contextlib.suppress(AttributeError):
            self._transport.abort()
