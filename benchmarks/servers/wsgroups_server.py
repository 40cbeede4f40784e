"""wsgroups itself: `wsgroups_server.py PORT --loop LOOP --driver DRIVER [deflate] [tls]`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvloop

import wsgroups
from wsgroups import Handle, HandlerStatus, Request, WebSocket

LIMITS = {
    "max_message_size": 16 << 20,
    "write_limit": 64 << 20,
    "compression": "deflate" in sys.argv,
}

handle = Handle()
handle.group("echo", **LIMITS)
group = handle.group("group", **LIMITS)


@handle.get("/echo")
def upgrade_echo(request: Request) -> HandlerStatus:
    """Upgrade into the echo group."""
    request.send_upgrade("echo")
    return HandlerStatus.HANDLED


@handle.get("/group")
def upgrade_member(request: Request) -> HandlerStatus:
    """Upgrade into the group that is published to."""
    request.send_upgrade("group")
    return HandlerStatus.HANDLED


@handle.get("/publish")
def upgrade_publisher(request: Request) -> HandlerStatus:
    """Upgrade the control connection."""
    request.send_upgrade("publish")
    return HandlerStatus.HANDLED


@handle.websocket("echo")
def echo_text(message: str, ws: WebSocket) -> None:
    """Send a text message back."""
    ws.send(message)


@handle.websocket("echo")
def echo_binary(message: bytes, ws: WebSocket) -> None:
    """Send a binary message back."""
    ws.send(message)


@handle.websocket("group")
def ignore(message: bytes, ws: WebSocket) -> None:
    """Members only listen."""


@handle.websocket("publish")
def publish(message: bytes, ws: WebSocket) -> None:
    """Send the payload of `[uint16 count][payload]` to the group, `count` times."""
    payload = message[2:]
    for _ in range(int.from_bytes(message[:2], "big")):
        group.send(payload)


def tls() -> dict[str, Any]:
    """The files to serve with, when asked for."""
    if "tls" not in sys.argv:
        return {}
    build = Path(__file__).parent.parent / "build"
    return {"ssl_certfile": build / "cert.pem", "ssl_keyfile": build / "key.pem"}


async def main(port: int) -> None:
    """Serve until the process is ended."""
    options = {"driver": sys.argv[5], **tls()}
    async with wsgroups.serve(handle, host="127.0.0.1", port=port, **options):
        await asyncio.get_running_loop().create_future()


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

with asyncio.Runner(loop_factory=LOOPS[sys.argv[3]]) as runner:
    runner.run(main(int(sys.argv[1])))
