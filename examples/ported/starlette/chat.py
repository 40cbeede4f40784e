"""The chat of FastAPI's tutorial, with names instead of numbers. The group is the manager.

python -m wsgroups examples.ported.starlette.chat:handle
ws://127.0.0.1:8080/ws/Ann
"""

from wsgroups import Handle, HandlerStatus, Request, WebSocket

handle = Handle()
chat = handle.group("chat")


@handle.get("/ws/{name}")
def enter(request: Request, name: str) -> HandlerStatus:
    """Accept, and keep the name with the socket."""
    request.require_upgrade()
    request.send_upgrade("chat", data=name)
    return HandlerStatus.HANDLED


@handle.websocket("chat")
def on_text(message: str, ws: WebSocket) -> None:
    """Answer the one who wrote, and tell the others."""
    ws.send(f"You wrote: {message}")
    chat.send(f"{ws.data} says: {message}", exclude=ws)


@handle.websocket_disconnect("chat")
def on_disconnect(ws: WebSocket) -> None:
    """Tell those who are left."""
    chat.send(f"{ws.data} left the chat")
