"""A server over TLS in a process of its own: `python -m tests.tls.target OPTIONS`, in JSON.

Prints its port. For each line of its standard input it prints the bytes of memory that are its own;
when there is no more it ends.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
from pathlib import Path

import wsgroups
from wsgroups import Handle, HandlerStatus, Request, WebSocket

handle = Handle()


@handle.get("/ws")
def upgrade(request: Request) -> HandlerStatus:
    """Upgrade into the echo group."""
    request.send_upgrade("echo")
    return HandlerStatus.HANDLED


@handle.websocket("echo")
def echo(message: str | bytes, ws: WebSocket) -> None:
    """Send a message back."""
    ws.send(message)


def memory() -> int:
    """Return the bytes that are this process's own, without its code."""
    gc.collect()
    found = re.search(
        r"^Private_Dirty: +(\d+) kB$", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE
    )
    assert found is not None
    return int(found[1]) << 10


async def main() -> None:
    """Serve and answer."""
    loop = asyncio.get_running_loop()
    options = json.loads(sys.argv[1])
    async with wsgroups.serve(handle, port=0, **options) as server:
        print(server.port, flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(memory(), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
