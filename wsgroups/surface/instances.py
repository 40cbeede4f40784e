"""Class style: one object for each client, whose methods are the handlers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from wsgroups.closing import CloseCode
from wsgroups.enums import ConnectionFlags, SendResult
from wsgroups.surface.handlers import method_decoder
from wsgroups.surface.websocket import WebSocket

if TYPE_CHECKING:
    from wsgroups.surface.request import Request

logger = logging.getLogger("wsgroups")


class WebSocketHandler:
    """What happens on one socket: derive from it, and give an object to `Request.accept`.

    Each method may be `def` or `async def`. A frame type whose method is not overridden closes
    with 1003 when the other one is; with neither, messages are ignored. `__init__` is yours.

    Attributes:
        socket: the WebSocket; from `accept` on.
        request: the Request that was upgraded; from `accept` on.
    """

    socket: WebSocket
    request: Request
    _decode: ClassVar[Callable[[bytes], Any] | None] = None

    def __init_subclass__(cls) -> None:
        """Look at what the methods take.

        Raises:
            HandlerSignatureError: when one cannot be called with a message, or wants one of a type
                that is unknown.
        """
        super().__init_subclass__()
        if "on_message" in cls.__dict__:
            cls._decode = method_decoder(cls.on_message, "text")
        if "on_binary" in cls.__dict__:
            method_decoder(cls.on_binary, "binary")

    def __index__(self) -> int:
        """Return the socket's id: it stands for its socket in sets and in `exclude`."""
        return self.socket.id

    def on_open(self) -> Any:
        """Do what there is to do once the socket is open."""

    def on_message(self, message: Any) -> Any:
        """Handle a text message: a str, or JSON as the annotation of `message` says."""
        self._refuse("on_binary")

    def on_binary(self, message: bytes) -> Any:
        """Handle a binary message."""
        self._refuse("on_message")

    def on_close(self) -> Any:
        """Handle the end, once; `self.socket.close_info` says how. Others can be sent to."""

    def on_error(self, error: BaseException) -> Any:
        """Handle what another method raised; the socket closes with 1011."""

    def send(
        self,
        data: Any,
        is_text: bool | None = None,
        flags: ConnectionFlags = ConnectionFlags.NONE,
        key: str | int | bytes | None = None,
    ) -> SendResult:
        """Send one message; as `WebSocket.send`."""
        return self.socket.send(data, is_text, flags, key)

    def send_json(self, value: Any, key: str | int | bytes | None = None) -> SendResult:
        """Send `value` as JSON text; as `WebSocket.send_json`."""
        return self.socket.send_json(value, key)

    def close(self, reason: str | None = None, code: int = CloseCode.NORMAL) -> None:
        """Begin the close handshake; as `WebSocket.disconnect`."""
        self.socket.disconnect(reason, code)

    def _refuse(self, other: str) -> None:
        """Close when messages of the other kind are taken and of this kind are not."""
        if getattr(type(self), other) is not getattr(WebSocketHandler, other):
            self.socket.disconnect(code=CloseCode.UNSUPPORTED_DATA)


# The handlers of a group whose sockets have such objects.


def opened(ws: WebSocket) -> Any:
    """Call `on_open`."""
    return ws.handler.on_open()


def got_text(message: str, ws: WebSocket) -> Any:
    """Call `on_message`, with what its annotation makes of the message."""
    handler = ws.handler
    if handler._decode is None:
        return handler.on_message(message)
    try:
        value = handler._decode(message.encode())
    except Exception as error:
        logger.info("%r: message could not be decoded: %s", ws, error)
        ws.disconnect(code=CloseCode.INVALID_PAYLOAD)
        return None
    return handler.on_message(value)


def got_binary(message: bytes, ws: WebSocket) -> Any:
    """Call `on_binary`."""
    return ws.handler.on_binary(message)


def closed(ws: WebSocket) -> Any:
    """Call `on_close`."""
    return ws.handler.on_close()


def failed(error: BaseException, ws: WebSocket) -> Any:
    """Call `on_error`."""
    return ws.handler.on_error(error)
