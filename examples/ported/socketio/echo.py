"""Echoes events to the one who sent them, and to all on `shout`.

python -m wsgroups examples.ported.socketio.echo:handle
ws://127.0.0.1:8080/
"""

from typing import Any

from wsgroups import Handle, HandlerStatus, Request, WebSocket

handle = Handle()
everybody = handle.group("echo")


@handle.get("/")
def connect(request: Request) -> HandlerStatus:
    """Upgrade, and say the id that stands where the sid stood."""
    request.require_upgrade()
    ws = request.send_upgrade("echo")
    ws.send_json({"event": "connected", "data": {"sid": str(ws.id)}})
    return HandlerStatus.HANDLED


@handle.websocket("echo")
def on_event(message: dict[str, Any], ws: WebSocket) -> None:
    """Answer JSON events."""
    if message.get("event") == "shout":
        everybody.send_json({"event": "heard", "data": message.get("data")})
    else:
        ws.send_json({"event": "echo", "data": message.get("data")})


@handle.websocket("echo")
def on_binary(message: bytes, ws: WebSocket) -> None:
    """Answer bytes: a message of their own, not an attachment."""
    ws.send(message)
