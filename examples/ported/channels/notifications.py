"""Notifications for users who have logged in, sent by a view and by plain threads.

python -m wsgroups examples.ported.channels.notifications:handle
POST /login/Ann gives the cookie, then ws://127.0.0.1:8080/ws/notifications/
"""

from wsgroups import Handle, HandlerStatus, Request, Response, Session

handle = Handle()


@handle.post("/login/{user}")
def login(request: Request, user: str) -> Response:
    """Stand for Django's login: a session with the user in it."""
    session = Session()
    session["user"] = user
    return Response(status=204, headers={"Set-Cookie": session.cookie()})


@handle.post("/logout")
def logout(request: Request) -> Response:
    """End the session; its sockets close with 1001."""
    session = Session.find(request)
    if session is not None:
        session.destroy()
    return Response(status=204)


@handle.get("/ws/notifications/")
def connect(request: Request) -> HandlerStatus | Response:
    """Refuse who is not logged in, with a status and a text; else join the user's room."""
    request.require_upgrade()
    session = Session.find(request)
    if session is None:
        return Response("Log in first.", status=401)
    ws = request.send_upgrade("notifications", session=session)
    ws.join(room_of(session["user"]))
    return HandlerStatus.HANDLED


def room_of(user: str) -> str:
    """Return the name of a user's room."""
    return f"user {user}"


def notify(user: str, text: str) -> int:
    """Send to every tab of a user; returns how many. Any thread may call it."""
    return handle.room(room_of(user)).send_json({"type": "notification", "text": text})


@handle.post("/notify/{user}")
def view(request: Request, user: str) -> dict[str, int]:
    """Send the body to a user, and say how many tabs it is on its way to."""
    return {"sent": notify(user, request.body().decode())}
