"""A chat with names, one object for each connection.

python -m wsgroups examples.ported.codeproject.chat:handle
ws://127.0.0.1:8080/chat?name=Ann
"""

from wsgroups import Handle, HandlerStatus, Request, WebSocketHandler

handle = Handle()
chat = handle.group("chat")


class ChatService(WebSocketHandler):
    """One person."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_open(self) -> None:
        """Greet the one who came, and tell the others."""
        self.send(f"Welcome, {self.name}. Here now: {len(chat)}")
        chat.send(f"{self.name} joined", exclude=self)

    def on_message(self, message: str) -> None:
        """Send what was said to everybody."""
        chat.send(f"{self.name}: {message}")

    def on_close(self) -> None:
        """Tell those who are left, however the connection ended."""
        chat.send(f"{self.name} left")


@handle.get("/chat")
def enter(request: Request) -> HandlerStatus:
    """Make a service for each person who says a name."""
    request.require_upgrade()
    return request.accept(ChatService(request.query.get("name", "somebody")), group="chat")
