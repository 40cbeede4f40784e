"""The server of the article: a service at /chat that answers, pages beside it, a log.

python -m wsgroups examples.ported.codeproject.echo:handle --log-level subtle
ws://127.0.0.1:8080/chat
"""

import logging

from wsgroups import Handle, HandlerStatus, Request, Response, WebSocketHandler

PAGE = "<!doctype html><title>Chat</title><p>Open a WebSocket at /chat."

logger = logging.getLogger(__name__)
handle = Handle()


class ChatService(WebSocketHandler):
    """One connection, as a subclass of WebSocketService is."""

    def on_message(self, message: str) -> None:
        """Answer a text message."""
        response = f"ServerABC: {message}"
        self.send(response)
        logger.info("%s", response)

    def on_close(self) -> None:
        """Log the close code; the Close frame has been answered already."""
        logger.info("closed with %d", self.socket.close_info.code)


@handle.get("/chat")
def chat(request: Request) -> HandlerStatus:
    """Make a service for each WebSocket connection."""
    request.require_upgrade()
    return request.accept(ChatService(), group="chat")


@handle.get("/")
def page(request: Request) -> Response:
    """Answer the other kind of connection: plain HTTP."""
    return Response(PAGE, content_type="text/html; charset=utf-8")
