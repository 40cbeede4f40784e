"""A handler that greets with the address of the client and answers each message.

python -m wsgroups examples.ported.aspnet.echo:handle
ws://127.0.0.1:8080/echo
"""

from wsgroups import Handle, HandlerStatus, Request, WebSocketHandler

handle = Handle()


class EchoHandler(WebSocketHandler):
    """One client."""

    def on_open(self) -> None:
        """Greet."""
        host, _ = self.request.client or ("a Unix socket", 0)
        self.send(f"Welcome from {host}")

    def on_message(self, message: str) -> None:
        """Answer text."""
        self.send(f"You sent {message}")

    def on_binary(self, message: bytes) -> None:
        """Answer bytes."""
        self.send(message)


@handle.get("/echo")
def echo(request: Request) -> HandlerStatus:
    """Accept a WebSocket; anything else is answered with 426."""
    request.require_upgrade()
    return request.accept(EchoHandler())
