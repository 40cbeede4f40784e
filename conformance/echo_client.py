"""The client under test: `python -m conformance.echo_client URL LOOP LIMITS`.

The engine is the server then. It tells how many cases it has, plays one with each socket that asks
for it, and writes its report when it is told that all have been asked for. A line is written for
each case that is through.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import click

import wsgroups
from conformance.limits import CLIENT_OPTIONS, Limits
from conformance.loops import LOOPS, Loop
from conformance.program import CASE_DONE
from wsgroups import SocketGoneError

AGENT = "wsgroups"
AT_A_TIME = 4


async def play(url: str, case: int, options: dict[str, Any]) -> None:
    """Echo whatever one case sends, until the socket closes."""
    async with wsgroups.connect(f"{url}/runCase?case={case}&agent={AGENT}", **options) as socket:
        with suppress(SocketGoneError):  # it has closed while a message was still to be echoed
            async for message in socket:
                await socket.send(message)
    print(CASE_DONE, flush=True)


async def play_all(url: str, options: dict[str, Any]) -> None:
    """Play every case, a few at a time, and have the report written."""
    async with wsgroups.connect(f"{url}/getCaseCount") as socket:
        cases = iter(range(1, int(await socket.recv()) + 1))

    async def play_next() -> None:
        for case in cases:
            await play(url, case, options)

    async with asyncio.TaskGroup() as players:
        for _ in range(AT_A_TIME):
            players.create_task(play_next())
    async with wsgroups.connect(f"{url}/updateReports?agent={AGENT}") as socket:
        await socket.wait_closed()


@click.command()
@click.argument("url")
@click.argument("loop", type=click.Choice(list(LOOPS)))
@click.argument("limits", type=click.Choice(list(CLIENT_OPTIONS)))
def main(url: str, loop: Loop, limits: Limits) -> None:
    """Play the cases of the engine at URL on LOOP under LIMITS."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play_all(url, CLIENT_OPTIONS[limits]))


if __name__ == "__main__":
    main()
