"""An echo: two greetings behind the upgrade, then text comes back twice and bytes once.

python -m wsgroups examples.ported.starcounter.echo:handle
ws://127.0.0.1:8080/echo
"""

from wsgroups import Handle, HandlerStatus, Request, Response, WebSocket

handle = Handle()


@handle.get("/echo")
def enter(request: Request) -> Response | HandlerStatus:
    """Upgrade with two cookies and a header; refuse what is no handshake."""
    if request.websocket_upgrade:
        ws = request.send_upgrade(
            "echo",
            cookies=["theme=dark", "lang=en"],
            headers={"X-Served-By": "echo"},
        )
        ws.send("Hello")
        ws.send("Hello again")
        return HandlerStatus.HANDLED
    return Response(status=500, reason=f"{request.uri} is for WebSockets")


@handle.websocket("echo")
def on_text(message: str, ws: WebSocket) -> None:
    """Answer text twice: the current socket is the one that is passed."""
    WebSocket.current.send(message)
    ws.send(message)


@handle.websocket("echo")
def on_binary(message: bytes, ws: WebSocket) -> None:
    """Answer bytes once."""
    ws.send(message)


@handle.websocket_disconnect("echo")
def on_disconnect(ws: WebSocket) -> None:
    """Print how the socket ended."""
    print(f"{ws.to_uint64()} closed with {ws.close_info.code}", flush=True)
