"""The chat of the tutorial: names from the query string, a collection of clients, Broadcast.

python -m wsgroups examples.ported.aspnet.chat:handle
ws://127.0.0.1:8080/chat?name=Ann
"""

from wsgroups import Handle, HandlerStatus, Request, SocketSet, WebSocketHandler

handle = Handle()
clients = SocketSet()


class ChatHandler(WebSocketHandler):
    """One client."""

    name = ""

    def on_open(self) -> None:
        """Read the name, and tell everybody, the new one as well."""
        self.name = self.request.query.get("name", "somebody")
        clients.add(self)
        clients.send(f"{self.name} has connected.")

    def on_message(self, message: str) -> None:
        """Send what was said to everybody."""
        clients.send(f"{self.name} said: {message}")

    def on_close(self) -> None:
        """Tell those who are left; this client has left the set by itself."""
        clients.send(f"{self.name} has gone away.")


@handle.get("/chat")
def chat(request: Request) -> HandlerStatus:
    """Accept a WebSocket; anything else is answered with 426."""
    request.require_upgrade()
    return request.accept(ChatHandler())
