"""A dashboard of counters, one for each visitor: all tabs of a browser share it, by a session.

python -m wsgroups examples.counter.app:handle
"""

from wsgroups import Handle, HandlerStatus, Request, Response, Session, WebSocket

PAGE = """<!doctype html>
<title>Counter</title>
<style>
  body { font: 4rem system-ui; display: grid; place-items: center; height: 100vh; margin: 0 }
  button { font: inherit; padding: .2em .8em; border-radius: .3em }
</style>
<main><output>...</output> <button>+1</button></main>
<script>
  const ws = new WebSocket(location.origin.replace("http", "ws") + "/counter")
  ws.onmessage = event => document.querySelector("output").value = event.data
  ws.onclose = event => document.querySelector("output").value = event.reason || "closed"
  document.querySelector("button").onclick = () => ws.send("+1")
</script>
"""

handle = Handle()


@handle.get("/")
def page(request: Request) -> Response:
    """Show the page, and know the visitor from now on."""
    session = Session.find(request)
    if session is not None:
        return Response(PAGE, content_type="text/html; charset=utf-8")
    session = Session(timeout=20 * 60)
    session["count"] = 0
    return Response(
        PAGE, content_type="text/html; charset=utf-8", headers={"Set-Cookie": session.cookie()}
    )


@handle.get("/counter")
def connect(request: Request) -> HandlerStatus | Response:
    """Upgrade a visitor that is known."""
    request.require_upgrade()
    session = Session.find(request)
    if session is None:
        return Response("Open the page first.", status=403)
    ws = request.send_upgrade("counter", session=session)
    ws.send(str(session["count"]))
    return HandlerStatus.HANDLED


@handle.websocket("counter")
def count(message: str, ws: WebSocket) -> None:
    """Count, and tell all tabs of the visitor."""
    session = ws.session
    session["count"] += 1
    session.sockets.send(str(session["count"]))
