"""`python -m benchmarks.scale.keeper PATH`: a process that keeps a hub, as a supervisor does."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from wsgroups.cluster.hub import Hub


async def keep(path: str) -> None:
    """Say `ready`, and pass messages on until the process is ended."""
    await Hub().start(path)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(keep(sys.argv[1]))
