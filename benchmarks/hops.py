"""`python -m benchmarks.hops`: what a send by id costs when the socket is another worker's.

Two workers and the supervisor that keeps their hub. A task of one worker sends to a socket of the
other, so many messages at a time; the same task sending to a socket of its own worker, and to
none at all, are what that is compared with. Writes `results/hops.md`.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import uvloop
from rich.console import Console
from rich.progress import track

import wsgroups
from wsgroups import ClientSocket, Handle, HandlerStatus, Request, WebSocket

from .layout import RESULTS
from .machine import describe_machine
from .proc import choose_cores, on_core, read_cpu
from .report import table

TEXT = "x" * 32
ROUNDS = 5


@dataclass(frozen=True)
class Pace:
    """So many messages at a time, so many times, and seconds in between."""

    together: int
    pause: float
    times: int

    @property
    def name(self) -> str:
        """In words."""
        when = f"every {self.pause * 1e3:g} ms" if self.pause else "in each turn of the loop"
        return f"{self.together} {when}"


PACES = [
    *(Pace(together, 0.002, 400) for together in (1, 2, 5, 10, 100)),  # everybody sleeps meanwhile
    Pace(1, 0, 20_000),
]

handle = Handle()


@handle.get("/")
def enter(request: Request) -> HandlerStatus:
    """Say which worker this is, and the id of the socket."""
    ws = request.send_upgrade("hops")
    ws.send_json({"pid": os.getpid(), "id": ws.id})
    return HandlerStatus.HANDLED


@handle.websocket("hops")
async def send(message: str, ws: WebSocket) -> None:
    """Send to a socket, or to none, as often as the message says."""
    asked = json.loads(message)
    target = WebSocket(asked["id"]) if asked["id"] else None
    for number in range(asked["times"]):
        if target is not None:
            for _ in range(asked["together"]):
                target.send(TEXT)
            if number % 256 == 0:
                await target.drain()
        await asyncio.sleep(asked["pause"])
    ws.send_json("done")


@contextmanager
def serving() -> Iterator[tuple[int, str]]:
    """Run two workers; yields the supervisor's process id and the address."""
    command = [sys.executable, "-m", "wsgroups", "benchmarks.hops:handle"]
    command += ["--workers", "2", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"listening on http://(\S+)", line):
                    break
            else:
                raise RuntimeError("the workers do not start; what they wrote says why")
            yield process.pid, f"ws://{found[1]}/"
        finally:
            process.terminate()


async def come(url: str, *, pid: int | None) -> tuple[ClientSocket, dict[str, Any]]:
    """Connect until the worker is another than `pid`; return the socket and what it was told."""
    while True:
        socket = await wsgroups.connect(url)
        told = json.loads(await socket.recv())
        if told["pid"] != pid:
            return socket, told
        await socket.close()


async def take(socket: ClientSocket, count: int) -> None:
    """Receive so many messages."""
    for _ in range(count):
        assert await socket.recv() == TEXT


async def measure(url: str, supervisor: int, say: Any) -> list[list[str]]:
    """Return the rows of the table: CPU µs a message."""
    commander, here = await come(url, pid=None)
    stranger, there = await come(url, pid=here["pid"])
    neighbour, beside = await come(url, pid=there["pid"])
    pids = [supervisor, here["pid"], there["pid"]]

    async def spend(target: int, receiver: ClientSocket | None, pace: Pace) -> list[float]:
        count = pace.times * pace.together
        before = [read_cpu(pid) for pid in pids]
        await commander.send_json({"id": target, **asdict(pace)})
        if receiver is not None:
            await take(receiver, count)
        assert await commander.recv_json() == "done"
        spent = [read_cpu(pid).since(was).seconds for pid, was in zip(pids, before, strict=True)]
        return [seconds * 1e6 / count for seconds in spent]

    rows = []
    for pace in say(PACES):
        found: list[list[float]] = []
        for _ in range(ROUNDS):
            none = await spend(0, None, pace)
            away = await spend(there["id"], stranger, pace)
            own = await spend(beside["id"], neighbour, pace)
            hop = [a - b for a, b in zip(away, none, strict=True)]
            found.append([sum(hop), *hop, sum(own) - sum(none)])
        columns = list(zip(*found, strict=True))
        whole = columns[0]
        cells = [f"{statistics.median(column):.1f}" for column in columns]
        cells[0] += f" ({min(whole):.1f} to {max(whole):.1f})"
        rows.append([pace.name, *cells])
    return rows


def main() -> None:
    """Measure, and write the page."""
    console = Console()
    cores = choose_cores()
    with on_core(cores.server), serving() as (supervisor, url), on_core(cores.load):
        rows = uvloop.run(
            measure(url, supervisor, lambda them: track(them, "measuring", console=console))
        )
    text = "\n".join(
        [
            "# To another worker",
            "",
            f"{', '.join(describe_machine().values())}.",
            "",
            f"CPU µs a message of {len(TEXT)} bytes by id, from one worker to a socket of "
            "another. What the task needs without sending is taken off. The processes of the "
            f"server share one core. The median of {ROUNDS} rounds, with least and greatest.",
            "",
            table(
                [
                    "messages",
                    "all processes",
                    "supervisor",
                    "sender",
                    "receiver",
                    "to a socket of its own",
                ],
                rows,
            ),
            "",
        ]
    )
    (RESULTS / "hops.md").write_text(text)
    console.print(text)


if __name__ == "__main__":
    main()
