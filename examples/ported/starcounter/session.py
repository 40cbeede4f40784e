"""A session that several requests share: a GET makes it, a socket joins it, a POST pushes to it.

python -m wsgroups examples.ported.starcounter.session:handle
http://127.0.0.1:8080/ gives the cookie, then ws://127.0.0.1:8080/live
"""

from wsgroups import Handle, HandlerStatus, Request, Response, Session, WebSocket

handle = Handle()


@handle.get("/")
def begin(request: Request) -> Response:
    """Make a session, and give the visitor its cookie."""
    session = Session.find(request) or Session(timeout=20 * 60)
    return Response("The session is there.", headers={"Set-Cookie": session.cookie()})


@handle.get("/live")
def live(request: Request) -> HandlerStatus | Response:
    """Attach a socket to the session of the cookie; it learns what was said last."""
    request.require_upgrade()
    session = Session.find(request)
    if session is None:
        return Response("There is no session.", status=403)
    ws = request.send_upgrade("live", session=session)
    if "last" in session:
        ws.send(f"the last was: {session['last']}")
    return HandlerStatus.HANDLED


@handle.websocket("live")
def on_text(message: str, ws: WebSocket) -> None:
    """Keep the last message in the session, which `Session.current` is here."""
    Session.current["last"] = message
    ws.session.sockets.send(f"all your tabs see: {message}")


@handle.post("/push")
def push(request: Request) -> Response:
    """Send the body to the socket of the visitor that was active last."""
    session = Session.find(request)
    ws = session.active_websocket if session else None
    if ws is None:
        return Response("Nobody is there.", status=404)
    ws.send(request.body().decode())
    return Response(status=204)


@handle.post("/end")
def end(request: Request) -> Response:
    """End the session: its sockets are closed with 1001."""
    session = Session.find(request)
    if session is not None:
        session.destroy()
    return Response(status=204)
