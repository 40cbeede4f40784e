"""Messages to one client by name, and to all except the sender.

    python -m wsgroups examples.ported.aspnet.private:handle
    ws://127.0.0.1:8080/chat?name=Ann

`@Bob hello` goes to Bob; anything else goes to the others.
"""

from wsgroups import Handle, HandlerStatus, Request, Response, WebSocketHandler

handle = Handle()


class PrivateHandler(WebSocketHandler):
    """One client, found by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_message(self, message: str) -> None:
        """Send to one, or to all except the sender."""
        if not message.startswith("@"):
            clients.send(f"{self.name}: {message}", exclude=self)
            return
        name, _, text = message[1:].partition(" ")
        for ws in clients:
            if ws.handler.name == name:
                ws.send(f"{self.name} to you: {text}")
                return
        self.send(f"{name} is not here")


clients = handle.group("PrivateHandler")


@handle.get("/chat")
def chat(request: Request) -> HandlerStatus | Response:
    """Accept whoever says a name that is free."""
    request.require_upgrade()
    name = request.query.get("name", "")
    if not name or any(ws.handler.name == name for ws in clients):
        return Response("That name is taken, or none.", status=409)
    return request.accept(PrivateHandler(name))
