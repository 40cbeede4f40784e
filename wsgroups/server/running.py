"""Running a server as the main job of a process: the loop, the signals, the drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from wsgroups.server.notifying import notify
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

    The first signal drains: every socket is closed with 1001, or 1012 with `restart`. The second
    drops what is left and cancels the handlers that still run. A service manager that has set
    `NOTIFY_SOCKET` is told when it listens and when it begins to stop. With certificates from files
    SIGHUP reads them anew.

    Args:
        app: a Handle.
        on_start: called once it listens.
        config: ServerConfig options.

    Raises:
        OSError: when the address cannot be had, or a file of `ssl_...` not be read.
        ValueError: for a value that cannot work, in such a file too.
    """
    open_standard_descriptors()
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_serve(app, on_start, config))


def open_standard_descriptors() -> None:
    """Put /dev/null in the place of standard input, output and error where they are closed.

    Otherwise the next descriptors that are opened are these: a socket gets what is printed, and
    uvloop aborts when it closes one.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest that is free; for child processes as well, like any standard descriptor.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _on_signal(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, handler: Callable[[], object]
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
        actions: dict[str, Callable[[], object]] = {"SIGINT": stop, "SIGTERM": stop}
        if server.config.ssl_certfile is not None:
            actions["SIGHUP"] = server.reload_certificates
        for name, action in actions.items():
            number = getattr(signal, name, None)
            if number is not None:  # Windows has no SIGHUP
                handlers.callback(_on_signal(loop, number, action))
        await server.start()  # whoever finds the port open may send a signal
        try:
            if on_start is not None:
                on_start(server)
            notify("READY=1")
            await stopping.wait()
            notify("STOPPING=1")
        finally:
            await server.close()
