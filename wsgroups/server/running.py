"""Running a server as the main job of a process: the loop, the signals, the drain."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from wsgroups.server.server import Application, Server, serve

_new_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop as _new_loop
except ImportError:  # not on Windows
    from asyncio import new_event_loop as _new_loop


def run(
    app: Application, *, on_start: Callable[[Server], None] | None = None, **config: Any
) -> None:
    """Serve until SIGINT or SIGTERM, on uvloop where it is installed. Blocks.

    The first signal drains: every socket is closed with 1001. The second drops what is left.

    Args:
        app: a Handle.
        on_start: called once it listens.
        config: ServerConfig options.

    Raises:
        OSError: when the address cannot be had.
    """
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_serve(app, on_start, config))


def _on_signal(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, handler: Callable[[], None]
) -> Callable[[], object]:
    """Have the loop call `handler` on a signal; returns what puts back what was before."""
    try:
        loop.add_signal_handler(number, handler)
    except NotImplementedError:  # on Windows
        before = signal.signal(number, lambda *_: loop.call_soon_threadsafe(handler))
        return partial(signal.signal, number, before)
    return partial(loop.remove_signal_handler, number)


async def _serve(
    app: Application,
    on_start: Callable[[Server], None] | None,
    config: dict[str, Any],
) -> None:
    loop = asyncio.get_running_loop()
    server = serve(app, **config)
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            server.hurry()
        stopping.set()

    with contextlib.ExitStack() as handlers:
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers.callback(_on_signal(loop, number, stop))
        await server.start()  # whoever finds the port open may send a signal
        try:
            if on_start is not None:
                on_start(server)
            await stopping.wait()
        finally:
            await server.close()
