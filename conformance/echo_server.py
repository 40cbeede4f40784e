"""The server under test: `python -m conformance.echo_server LOOP LIMITS DRIVER [CERT KEY]`.

It writes its address first, then a line for each socket that has closed.
"""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import click

import wsgroups
from conformance.limits import GROUP_OPTIONS, Limits
from conformance.loops import LOOPS, Loop
from conformance.program import CASE_DONE
from wsgroups import Handle, HandlerStatus, Request, WebSocket
from wsgroups.policy import DriverName

handle = Handle()


@handle.get("/")
def upgrade(request: Request) -> HandlerStatus:
    """Upgrade into the echo group."""
    request.send_upgrade("echo")
    return HandlerStatus.HANDLED


@handle.websocket("echo")
def echo_text(message: str, ws: WebSocket) -> None:
    """Send a text message back."""
    ws.send(message)


@handle.websocket("echo")
def echo_binary(message: bytes, ws: WebSocket) -> None:
    """Send a binary message back."""
    ws.send(message)


@handle.websocket_disconnect("echo")
def disconnected(ws: WebSocket) -> None:
    """Tell whoever watches that a case is through."""
    print(CASE_DONE, flush=True)


async def serve(driver: DriverName, cert: str | None, key: str | None) -> None:
    """Serve until the process is ended."""
    options: dict[str, Any] = {"driver": driver, "ssl_certfile": cert, "ssl_keyfile": key}
    async with wsgroups.serve(handle, host="127.0.0.1", port=0, **options) as server:
        print(f"listening on {server.ws_url}", flush=True)
        await server.serve_forever()


@click.command()
@click.argument("loop", type=click.Choice(list(LOOPS)))
@click.argument("limits", type=click.Choice(list(GROUP_OPTIONS)))
@click.argument("driver", type=click.Choice(get_args(DriverName)))
@click.argument("cert", required=False)
@click.argument("key", required=False)
def main(loop: Loop, limits: Limits, driver: DriverName, cert: str | None, key: str | None) -> None:
    """Echo on LOOP under LIMITS, over TLS with CERT and KEY; DRIVER moves the bytes."""
    handle.group("echo", **GROUP_OPTIONS[limits])
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(serve(driver, cert, key))


if __name__ == "__main__":
    main()
