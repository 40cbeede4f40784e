"""Peer: uvicorn on uvloop and httptools with a bare ASGI application."""

import sys
from pathlib import Path

import uvicorn

group: set = set()


async def echo(receive, send) -> None:
    """Send every message back."""
    while (event := await receive())["type"] == "websocket.receive":
        data = event.get("bytes")
        if data is not None:
            await send({"type": "websocket.send", "bytes": data})
        else:
            await send({"type": "websocket.send", "text": event["text"]})


async def join(receive, send) -> None:
    """Keep the socket in the group for as long as it lives."""
    group.add(send)
    try:
        while (await receive())["type"] == "websocket.receive":
            pass
    finally:
        group.discard(send)


async def publish(receive, send) -> None:
    """Send the payload of `[uint16 count][payload]` to the group, `count` times."""
    while (event := await receive())["type"] == "websocket.receive":
        message = event["bytes"]
        answer = {"type": "websocket.send", "bytes": message[2:]}
        for _ in range(int.from_bytes(message[:2], "big")):
            for send_to_member in tuple(group):
                await send_to_member(answer)


build = Path(__file__).parent.parent / "build"
pems = {"ssl_certfile": build / "cert.pem", "ssl_keyfile": build / "key.pem"}

ROUTES = {"/echo": echo, "/group": join, "/publish": publish}


async def application(scope, receive, send) -> None:
    """Accept, then choose by path."""
    await receive()
    await send({"type": "websocket.accept"})
    await ROUTES[scope["path"]](receive, send)


uvicorn.run(
    application,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    loop="uvloop",
    http="httptools",
    ws="auto",
    ws_per_message_deflate="deflate" in sys.argv,
    lifespan="off",
    log_level="warning",
    access_log=False,
    **(pems if "tls" in sys.argv else {}),
)
