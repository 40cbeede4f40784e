from wsgroups import Handle, HandlerStatus, Request, Response, WebSocket

handle = Handle()

@handle.get("/wstest")
def wstest(request: Request):
    if request.websocket_upgrade:
        ws = request.send_upgrade("echotestws",
                                  cookies=["MyCookie1=123", "MyCookie2=456"],
                                  headers={"MyHeader": "MyHeaderData"})
        ws.send("Hello WebSocket!")          # usable at once; sends queue behind the 101, in order
        ws.send("Hello again WebSocket!")
        return HandlerStatus.HANDLED         # the 101 already answered this request
    return Response(status=500, reason=f"WebSocket upgrade on {request.uri} was not approved.")

@handle.websocket("echotestws")
def on_text(message: str, ws: WebSocket):
    WebSocket.current.send("Here is the server push!")
    ws.send("Here is the server push!")      # the same socket

@handle.websocket("echotestws")
def on_binary(message: bytes, ws: WebSocket):
    ws.send(message)

@handle.websocket_disconnect("echotestws")
def on_disconnect(ws: WebSocket): ...
