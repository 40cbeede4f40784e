"""An endpoint that answers text, refuses bytes, and knows how each connection ended.

python -m wsgroups examples.ported.starlette.echo:handle
ws://127.0.0.1:8080/ws
"""

from wsgroups import Handle, HandlerStatus, Request, WebSocketHandler

handle = Handle()
close_codes: list[int] = []


class Echo(WebSocketHandler):
    """One connection. Bytes close it with 1003, as only text has a method."""

    def on_open(self) -> None:
        """Greet."""
        self.send("Hello")

    def on_message(self, message: str) -> None:
        """Answer; `bye` closes with a code of the application's own."""
        if message == "bye":
            self.close("See you", code=4000)
        else:
            self.send(f"Message text was: {message}")

    def on_close(self) -> None:
        """Note the code."""
        close_codes.append(self.socket.close_info.code)


@handle.get("/ws")
def endpoint(request: Request) -> HandlerStatus:
    """Accept."""
    request.require_upgrade()
    return request.accept(Echo())
