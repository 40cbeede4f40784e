"""A consumer that answers text and bytes.

python -m wsgroups examples.ported.channels.echo:handle
ws://127.0.0.1:8080/ws/echo/
"""

from wsgroups import Handle, HandlerStatus, Request, WebSocketHandler

handle = Handle()


class EchoConsumer(WebSocketHandler):
    """One connection."""

    def on_message(self, message: str) -> None:
        """Receive `text_data`."""
        self.send(message)

    def on_binary(self, message: bytes) -> None:
        """Receive `bytes_data`."""
        self.send(message)


@handle.get("/ws/echo/")
def echo(request: Request) -> HandlerStatus:
    """Make a consumer for each connection."""
    request.require_upgrade()
    return request.accept(EchoConsumer())
