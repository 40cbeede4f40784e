"""`python -m benchmarks.rooms`: what joining, leaving and closing cost, beside plain Python sets.

One million memberships: each of 1,000 sockets in each of 1,000 rooms. The sockets are served from
memory, so nothing but the rooms is measured. Writes `results/rooms.md`.
"""

import asyncio
import gc
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from wsgroups import Handle, HandlerStatus, Request, WebSocket, testing

from .layout import RESULTS
from .machine import describe_machine

SOCKETS = ROOMS = 1000
PAGE = 4096


@dataclass(frozen=True)
class Row:
    """One measurement: ours, that of sets in a dict, and the bar for ours."""

    name: str
    ours: float
    plain: float | None
    bar: float | None
    unit: str

    @property
    def cells(self) -> list[str]:
        """The row in words."""
        plain = "" if self.plain is None else f"{self.plain:,.2f}"
        bar = "" if self.bar is None else f"<= {self.bar:g}"
        return [f"{self.name}, {self.unit}", f"{self.ours:,.2f}", plain, bar]


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def resident() -> int:
    """Return the bytes that the process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def measure_ours(handle: Handle, sockets: list[WebSocket]) -> tuple[float, float, float]:
    """Return the CPU seconds of all joins, of all leaves, and the bytes of a membership."""
    names = [f"room {number}" for number in range(ROOMS)]
    before = resident()

    def join() -> None:
        for name in names:
            for ws in sockets:
                ws.join(name)

    def leave() -> None:
        for name in names:
            for ws in sockets:
                ws.leave(name)

    joining = cpu(join)
    size = (resident() - before) / (SOCKETS * ROOMS)
    assert all(len(handle.room(name)) == SOCKETS for name in names)
    return joining, cpu(leave), size


def measure_plain(sockets: list[WebSocket]) -> tuple[float, float, float]:
    """The same for what an application would write itself: sets, both ways, to be left again."""
    names = [f"room {number}" for number in range(ROOMS)]
    members: defaultdict[str, set[int]] = defaultdict(set)
    rooms: defaultdict[int, set[str]] = defaultdict(set)
    before = resident()

    def join() -> None:
        for name in names:
            for ws in sockets:
                members[name].add(ws.id)
                rooms[ws.id].add(name)

    def leave() -> None:
        for name in names:
            for ws in sockets:
                members[name].discard(ws.id)
                rooms[ws.id].discard(name)

    joining = cpu(join)
    size = (resident() - before) / (SOCKETS * ROOMS)
    return joining, cpu(leave), size


def measure_closing(sockets: list[WebSocket], rooms: int) -> float:
    """Return the microseconds of closing one of these sockets, each in so many rooms of others."""
    for number in range(rooms):
        for ws in sockets:
            ws.join(f"room {number}")

    def close() -> None:
        for ws in sockets:
            ws.disconnect()

    return cpu(close) * 1e6 / len(sockets)


async def main() -> list[Row]:
    """Measure all."""
    handle = Handle()

    @handle.get("/")
    def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("member")
        return HandlerStatus.HANDLED

    @handle.websocket("member")
    def ignore(message: str, ws: WebSocket) -> None:
        """Members do not talk."""

    async with testing.start(handle, transport="memory") as app:
        for _ in range(SOCKETS):
            await app.connect("/")
        sockets = list(handle.group("member"))
        gc.freeze()
        joining, leaving, size = measure_ours(handle, sockets)
        plain_joining, plain_leaving, plain_size = measure_plain(sockets)
        for number in range(ROOMS):  # those who stay
            sockets[-1].join(f"room {number}")
        none = measure_closing(sockets[:100], 0)
        few = measure_closing(sockets[100:200], 10)
        many = measure_closing(sockets[200:300], ROOMS)
    return [
        Row("a million joins", joining, plain_joining, None, "s of CPU"),
        Row("a million leaves", leaving, plain_leaving, None, "s of CPU"),
        Row("joins and leaves", joining + leaving, plain_joining + plain_leaving, 2.0, "s of CPU"),
        Row("a membership", size, plain_size, 120.0, "bytes"),
        Row("closing a socket in no room", none, None, None, "µs"),
        Row("closing a socket in 10 of 1,000 rooms", few, None, None, "µs"),
        Row("closing a socket in 1,000 rooms", many, None, None, "µs"),
    ]


def markdown(rows: list[Row]) -> str:
    """Return the table."""
    lines = [
        "# Rooms",
        "",
        f"{SOCKETS:,} sockets, each in each of {ROOMS:,} rooms. "
        f"{', '.join(describe_machine().values())}.",
        "",
        "| | wsgroups | sets in a dict | bar |",
        "|---|---:|---:|---:|",
        *(f"| {' | '.join(row.cells)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = markdown(asyncio.run(main()))
    (RESULTS / "rooms.md").write_text(text)
    Console().print(text)
