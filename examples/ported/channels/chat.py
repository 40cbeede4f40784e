"""The chat of the tutorial, with names: a room for each path, JSON both ways.

python -m wsgroups examples.ported.channels.chat:handle
ws://127.0.0.1:8080/ws/chat/lobby/?name=Ann
"""

from typing import Any

from wsgroups import Handle, HandlerStatus, Request, WebSocket

handle = Handle()


@handle.get("/ws/chat/{room}/")
def enter(request: Request, room: str) -> HandlerStatus:
    """Upgrade, join the room, and tell those who are there."""
    request.require_upgrade()
    name = request.query.get("name", "somebody")
    ws = request.send_upgrade("chat", data=(name, room))
    handle.room(room).send_json({"message": f"{name} joined"})
    ws.join(room)
    return HandlerStatus.HANDLED


@handle.websocket("chat")
def receive(content: dict[str, Any], ws: WebSocket) -> None:
    """Send a message to the room, and a notice of typing to all others in it."""
    name, room = ws.data
    match content:
        case {"message": str(text)}:
            handle.room(room).send_json({"name": name, "message": text})
        case {"typing": True}:
            handle.room(room).send_json({"name": name, "typing": True}, exclude=ws)


@handle.websocket_disconnect("chat")
def disconnect(ws: WebSocket) -> None:
    """Tell the room; the socket has left it by itself."""
    name, room = ws.data
    handle.room(room).send_json({"message": f"{name} left"})
