"""A chat with names in the manner of Socket.IO: events as JSON objects, rooms, skip the sender.

    python -m wsgroups examples.ported.socketio.chat:handle
    ws://127.0.0.1:8080/?name=Ann

Both ways a message is `{"event": ..., "data": ...}`.
"""

from typing import Any

from wsgroups import Handle, HandlerStatus, Request, Response, Room, WebSocket

handle = Handle()
chat = handle.group("chat")


def emit(to: WebSocket | Room, event: str, data: Any, skip: tuple[WebSocket, ...] = ()) -> None:
    """Send an event to a socket, or to a room without those to be skipped."""
    message = {"event": event, "data": data}
    if isinstance(to, WebSocket):
        to.send_json(message)
    else:
        to.send_json(message, exclude=skip)


@handle.get("/")
def connect(request: Request) -> HandlerStatus | Response:
    """Refuse who says no name; keep the name with the socket, as a session does."""
    request.require_upgrade()
    name = request.query.get("name")
    if not name:
        return Response("authentication failed", status=401)
    request.send_upgrade("chat", data={"name": name})
    return HandlerStatus.HANDLED


@handle.websocket("chat")
def on_event(message: dict[str, Any], ws: WebSocket) -> None:
    """Do what an event asks for."""
    name = ws.data["name"]
    match message:
        case {"event": "enter", "data": str(room)}:
            ws.join(room)
            emit(handle.room(room), "entered", {"name": name}, skip=(ws,))
        case {"event": "leave", "data": str(room)}:
            ws.leave(room)
            emit(handle.room(room), "left", {"name": name})
        case {"event": "say", "data": {"room": str(room), "text": str(text)}} if room in ws.rooms:
            emit(handle.room(room), "said", {"name": name, "text": text})
        case {"event": "typing", "data": str(room)} if room in ws.rooms:
            emit(handle.room(room), "typing", {"name": name}, skip=(ws,))
        case _:
            emit(ws, "error", "not understood")


@handle.websocket_disconnect("chat")
def disconnect(ws: WebSocket) -> None:
    """Tell everybody; the socket has left its rooms by itself."""
    chat.send_json({"event": "disconnected", "data": {"name": ws.data["name"]}})
