"""`python -m benchmarks.compression`: which library is best, and what a socket keeps for it.

Writes `results/compression.md`.
"""

import asyncio
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from isal import isal_zlib
from rich.console import Console
from rich.progress import track
from zlib_ng import zlib_ng

import wsgroups
from wsgroups import Compression, Handle, HandlerStatus, Request, WebSocket

from .layout import RESULTS
from .machine import describe_machine
from .payloads import json_payload
from .proc import read_memory
from .report import table

WINDOW, MEMORY_LEVEL = 12, 5  # the defaults of Compression
SIZES = (256, 1024, 16384)
ROUNDS = 7
SOCKETS = 500
LIBRARIES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "zlib": (zlib, (1, 3, 6, 9)),
    "zlib-ng": (zlib_ng, (1, 3, 6, 9)),
    "ISA-L": (isal_zlib, (0, 1, 2, 3)),
}
MODES: dict[str, Compression | bool] = {
    "none": False,
    "default: 12 bits, nothing kept": True,
    "9 bits, kept": Compression(window_bits=9, memory_level=1, context_takeover=True),
    "12 bits, kept": Compression(context_takeover=True),
    "15 bits, kept": Compression(window_bits=15, memory_level=8, context_takeover=True),
}


@dataclass(frozen=True)
class Speed:
    """What one library needs at one level for messages of one size: µs each, and the bytes left."""

    deflate: float
    inflate: float
    size: int


def cpu_us(work: Callable[[], object], times: int) -> float:
    """Return the CPU microseconds of a call, the median of the rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            work()
        found.append((time.process_time() - began) * 1e6 / times)
    return statistics.median(found)


def measure_library(library: Any, level: int, message: bytes) -> Speed:
    """Compress and inflate one message as a connection without kept windows does."""

    def deflate() -> bytes:
        deflater = library.compressobj(level, zlib.DEFLATED, -WINDOW, MEMORY_LEVEL)
        return bytes(deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH))

    data = deflate()

    def inflate() -> bytes:
        return bytes(library.decompressobj(-WINDOW).decompress(data, 1 << 20))

    assert inflate() == message
    times = max(20, 200_000 // len(message))
    return Speed(cpu_us(deflate, times), cpu_us(inflate, times), len(data) - 4)


# --- memory -----------------------------------------------------------------------------------


async def serve(mode: str) -> None:
    """The server of the memory measurement: echoes, and prints its port."""
    handle = Handle()
    handle.group("echo", compression=MODES[mode])

    @handle.get("/")
    def upgrade(request: Request) -> HandlerStatus:
        request.send_upgrade("echo")
        return HandlerStatus.HANDLED

    @handle.websocket("echo")
    def echo(message: str, ws: WebSocket) -> None:
        ws.send(message)

    async with wsgroups.serve(handle, host="127.0.0.1", port=0) as server:
        print(server.port, flush=True)
        await asyncio.get_running_loop().create_future()


@contextmanager
def serving(mode: str) -> Iterator[tuple[int, int]]:
    """Run `serve` in a process of its own; yields its id and its port."""
    command = [sys.executable, "-m", "benchmarks.compression", mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


async def measure_memory(mode: str) -> float:
    """Return the bytes that the server keeps for a socket that has exchanged two messages."""
    message = json_payload(1024).decode()
    chosen = MODES[mode]
    asked = Compression(window_bits=15, memory_level=8, context_takeover=True) if chosen else False

    async def talk(url: str) -> wsgroups.ClientSocket:
        socket = await wsgroups.connect(url, compression=asked)
        for _ in range(2):
            await socket.send(message)
            assert await socket.recv() == message
        return socket

    with serving(mode) as (pid, port):
        url = f"ws://127.0.0.1:{port}/"
        sockets = [await talk(url) for _ in range(20)]  # what is needed once is there now
        before = read_memory(pid).private
        sockets += [await talk(url) for _ in range(SOCKETS)]
        size = (read_memory(pid).private - before) / SOCKETS
        for socket in sockets:
            await socket.close()
    return size


def report(console: Console) -> str:
    """Measure all, and return the page."""
    libraries = []
    for name, (library, levels) in track(LIBRARIES.items(), "libraries", console=console):
        for level in levels:
            speeds = [measure_library(library, level, json_payload(size)) for size in SIZES]
            figures = [f"{s.deflate:.1f} / {s.inflate:.1f} / {s.size:,}" for s in speeds]
            libraries.append([f"{name}, level {level}", *figures])
    modes = []
    for mode in track(MODES, "memory", console=console):
        modes.append([mode, f"{asyncio.run(measure_memory(mode)):,.0f}"])
    return "\n".join(
        [
            "# Compression",
            "",
            f"{', '.join(describe_machine().values())}.",
            "",
            "## Libraries",
            "",
            f"JSON, window of {WINDOW} bits, memory level {MEMORY_LEVEL}, a new stream each time "
            "as it is where nothing is kept. CPU to deflate / CPU to inflate in µs / bytes left.",
            "",
            table(["", *(f"{size:,} B" for size in SIZES)], libraries),
            "",
            "## Memory",
            "",
            "Private bytes of the server for a socket that has exchanged two messages of 1 KiB "
            "with a client that allows everything.",
            "",
            table(["", "bytes a socket"], modes),
            "",
        ]
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(serve(sys.argv[1]))
    else:
        text = report(Console())
        (RESULTS / "compression.md").write_text(text)
        Console().print(text)
