"""A chat with names; what somebody says goes to the others, what happens goes to all.

python -m wsgroups examples.ported.starcounter.chat:handle
ws://127.0.0.1:8080/chat/Ann
"""

from wsgroups import Handle, HandlerStatus, Request, WebSocket

handle = Handle()
chat = handle.group("chat")


@handle.get("/chat/{name}")
def enter(request: Request, name: str) -> HandlerStatus:
    """Upgrade, and keep the name with the socket."""
    request.require_upgrade()
    ws = request.send_upgrade("chat", data=name)
    chat.send_to_all_except_one(f"{name} joined", ws)
    return HandlerStatus.HANDLED


@handle.websocket("chat")
def on_text(message: str, ws: WebSocket) -> None:
    """Send what was said to everybody but the one who said it."""
    chat.send_to_all_except_one(f"{ws.data}: {message}", ws)


@handle.websocket_disconnect("chat")
def on_disconnect(ws: WebSocket) -> None:
    """Tell those who are left; the socket is no longer in the group."""
    chat.send_to_all(f"{ws.data} left")
