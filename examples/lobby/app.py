"""A game lobby in class style: one object a client, one room a game.

    python -m wsgroups examples.lobby.app:handle
    ws://127.0.0.1:8080/lobby?name=Ann

A client sends `play chess` to sit down at a game, `say ...` to talk to its table, `stand` to leave.
"""

from wsgroups import Handle, HandlerStatus, Request, WebSocketHandler

handle = Handle()
lobby = handle.group("lobby")


class Player(WebSocketHandler):
    """One client."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.game: str | None = None

    def on_open(self) -> None:
        """Tell the lobby who came."""
        self.send(f"welcome, {self.name}; {len(lobby)} here")
        lobby.send(f"{self.name} came", exclude=self.socket)

    def on_message(self, message: str) -> None:
        """Do what a player asks for."""
        verb, _, rest = message.partition(" ")
        if verb == "play" and rest:
            self.stand()
            self.game = rest
            self.socket.join(rest)
            handle.room(rest).send(f"{self.name} plays {rest}")
        elif verb == "say" and self.game:
            handle.room(self.game).send(f"{self.name}: {rest}", exclude=self.socket)
        elif verb == "stand":
            self.stand()
        else:
            self.send("play GAME, say TEXT, or stand")

    def on_close(self) -> None:
        """Tell the others; this socket has left its room by itself."""
        if self.game:
            handle.room(self.game).send(f"{self.name} is gone")
        lobby.send(f"{self.name} left")

    def stand(self) -> None:
        """Leave the table."""
        if self.game:
            handle.room(self.game).send(f"{self.name} stands up")
            self.socket.leave(self.game)
            self.game = None


@handle.get("/lobby")
def enter(request: Request) -> HandlerStatus:
    """Make a player of a client that says its name."""
    request.require_upgrade()
    return request.accept(Player(request.query.get("name", "somebody")), group="lobby")
