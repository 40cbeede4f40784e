"""wsgroups with one kind of handler: `handlers_server.py PORT KIND`, see `KINDS`."""

import asyncio
import sys

import uvloop

import wsgroups
from wsgroups import Handle, HandlerStatus, Request, WebSocket
from wsgroups.surface import runner

handle = Handle()


@handle.get("/echo")
def upgrade_echo(request: Request) -> HandlerStatus:
    """Upgrade into the echo group."""
    request.send_upgrade("echo")
    return HandlerStatus.HANDLED


def plain(message: bytes, ws: WebSocket) -> None:
    """Send a message back."""
    ws.send(message)


async def asynchronous(message: bytes, ws: WebSocket) -> None:
    """The same, with nothing to wait for."""
    ws.send(message)


async def suspended(message: bytes, ws: WebSocket) -> None:
    """The same, after a turn of the loop."""
    await asyncio.sleep(0)
    ws.send(message)


async def main(port: int) -> None:
    """Serve until the process is ended."""
    async with wsgroups.serve(handle, host="127.0.0.1", port=port):
        await asyncio.get_running_loop().create_future()


# Whether tasks begin at once is for the interpreter to say; "task" has them not, whatever it is.
KINDS = {"def": plain, "async": asynchronous, "task": asynchronous, "suspends": suspended}
if sys.argv[2] == "task":
    runner.BEGINS_AT_ONCE = False
handle.websocket("echo")(KINDS[sys.argv[2]])

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as main_runner:
    main_runner.run(main(int(sys.argv[1])))
