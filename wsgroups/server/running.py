"""Running a server as the main job of a process: the loop, the signals, the drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from wsgroups.policy import ServerConfig, check_options
from wsgroups.server.notifying import notify
from wsgroups.server.server import Application, Server, serve
from wsgroups.server.supervisor import supervise
from wsgroups.server.worker import HURRY, Orders, Place, Shared, is_worker

logger = logging.getLogger("wsgroups")

_new_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop as _new_loop
except ImportError:  # not on Windows
    from asyncio import new_event_loop as _new_loop


class Runnable(Application, Shared, Protocol):
    """What can be served, by one process or by several."""


def run(app: Runnable, *, on_start: Callable[[Server], None] | None = None, **config: Any) -> None:
    """Serve until SIGINT or SIGTERM, on uvloop where it is installed. Blocks.

    The first signal drains: every socket is closed with 1001, or 1012 with `restart`. The second
    drops what is left and cancels the handlers that still run. A service manager that has set
    `NOTIFY_SOCKET` is told when it listens and when it begins to stop. With certificates from files
    SIGHUP reads them anew.

    With `workers` above 1, or with `bus`, this process serves nothing itself: it runs its own
    command line once more for each worker, and in those this function serves.

    Args:
        app: a Handle.
        on_start: called once it listens, in each worker.
        config: ServerConfig options.

    Raises:
        OSError: when the address cannot be had, or a file of `ssl_...` not be read.
        RuntimeError: where a loop runs already.
        ValueError: for a value that cannot work, in such a file too.
        SystemExit: when the first worker could not start, with its exit code.
    """
    if asyncio._get_running_loop() is not None:  # said before there is anything to be awaited
        raise RuntimeError(
            "a loop runs already: use `async with wsgroups.serve(handle, ...)` in it"
        )
    open_standard_descriptors()
    if needs_supervisor(config):
        run_supervisor(config)
        return
    orders = Orders.take()
    if orders is not None:
        config = orders.options(config)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_serve(app, on_start, config, orders))


def needs_supervisor(config: dict[str, Any]) -> bool:
    """True when `run` would start workers: the application itself is not needed then."""
    wanted = config.get("workers", 1) != 1 or config.get("bus") is not None
    return wanted and not is_worker()


def run_supervisor(config: dict[str, Any], on_start: Callable[[str], None] | None = None) -> None:
    """Keep workers until SIGINT or SIGTERM; as `run`, but `on_start` is called here, once.

    It is given the address, when all workers have started.
    """
    check_options(ServerConfig, config)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        code = runner.run(supervise(ServerConfig(**config), on_start))
    if code:
        raise SystemExit(code)


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
    """Have the loop call `handler` on a signal; returns what puts back what was before.

    Only the main thread can be told of signals: in another one nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        return _nothing
    try:
        loop.add_signal_handler(number, handler)
    except NotImplementedError:  # on Windows
        before = signal.signal(number, lambda *_: loop.call_soon_threadsafe(handler))
        return partial(signal.signal, number, before)
    return partial(loop.remove_signal_handler, number)


def _nothing() -> None:
    """There is nothing to put back."""


async def _serve(
    app: Runnable,
    on_start: Callable[[Server], None] | None,
    config: dict[str, Any],
    orders: Orders | None,
) -> None:
    loop = asyncio.get_running_loop()
    server = serve(app, **config)
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            server.hurry()
        stopping.set()

    if orders is not None:
        await _serve_as_worker(app, server, on_start, orders, stopping)
        return

    with contextlib.ExitStack() as handlers:
        reload = partial(_reload, server)
        for name, action in (("SIGINT", stop), ("SIGTERM", stop), ("SIGHUP", reload)):
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


def _reload(server: Server) -> None:
    """Read anew what comes from files. A process without such goes on, as one with it does."""
    if server.config.ssl_certfile is not None:
        server.reload_certificates()
    else:
        logger.info("SIGHUP: there is no ssl_certfile to be read anew")


async def _serve_as_worker(
    app: Runnable,
    server: Server,
    on_start: Callable[[Server], None] | None,
    orders: Orders,
    stopping: asyncio.Event,
) -> None:
    """Serve until the supervisor says so or is gone."""
    loop = asyncio.get_running_loop()

    def cut_off(at_once: bool) -> None:
        stopping.set()
        if at_once:
            server.hurry()

    # Draining may be asked for twice, by the supervisor and by a service manager that tells all
    # processes; to hurry, by the supervisor alone. SIGHUP is for that one.
    loop.add_signal_handler(signal.SIGTERM, cut_off, False)
    loop.add_signal_handler(HURRY, cut_off, True)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async with Place(orders, app, cut_off, server.service.update) as place:
        await server.start()
        try:
            if on_start is not None:
                on_start(server)
            place.ready(server.url)
            await stopping.wait()
            await server.retire()
        finally:
            await server.close()
