"""The server, in a process of its own: prints its port, serves until its standard input ends.

Two groups for those who come and go, one with a plain handler and one with an asynchronous one;
one for the canary; one for the control connection, which asks for the counters.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from array import array
from collections.abc import Callable
from dataclasses import asdict

import uvloop

from soak.counters import Counters
from wsgroups import Handle, HandlerStatus, Request, WebSocket, serve
from wsgroups.drivers.choice import acquire_driver, release_driver

GROUPS = ("plain", "async", "canary", "control")
REMEMBERED = 10_000  # ids


class Errors(logging.Handler):
    """Counts what is logged, and shows it on standard error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one; only the first ones are shown."""
        self.count += 1
        if self.count <= 20:
            print(self.format(record), file=sys.stderr, flush=True)


class App:
    """The application, and what it counts."""

    def __init__(self, errors: Errors) -> None:
        self.errors = errors
        self.handle = Handle(close_timeout=5.0)
        self.upgrades = self.disconnects = 0
        self.connections: Callable[[], int] = lambda: 0
        self.ids = array("q", bytes(8 * REMEMBERED))  # as large from the start as it will ever be
        self.handle.get("/{group}")(self.enter)
        self.handle.websocket("plain")(self.obey)
        self.handle.websocket("async")(self.obey_later)
        self.handle.websocket("canary")(self.obey)
        self.handle.websocket("control")(self.tell)
        for group in GROUPS:
            self.handle.websocket_disconnect(group)(self.part)

    def enter(self, request: Request, group: str) -> HandlerStatus:
        """Upgrade into the group that the path names."""
        id = request.send_upgrade(group).id
        if group != "control":
            self.ids[self.upgrades % REMEMBERED] = id
        self.upgrades += 1
        return HandlerStatus.HANDLED

    def part(self, ws: WebSocket) -> None:
        """Count."""
        self.disconnects += 1

    def obey(self, message: str, ws: WebSocket) -> None:
        """`join R`, `leave R`, `room R TEXT`; anything else comes back."""
        verb, _, rest = message.partition(" ")
        if verb == "join":
            ws.join(rest)
        elif verb == "leave":
            ws.leave(rest)
        elif verb == "room":
            name, _, text = rest.partition(" ")
            self.handle.room(name).send(text)
        else:
            ws.send(message)

    async def obey_later(self, message: str, ws: WebSocket) -> None:
        """The same, in a task that was suspended first."""
        await asyncio.sleep(0)
        self.obey(message, ws)

    def tell(self, message: str, ws: WebSocket) -> None:
        """`count` reads the counters, `settle` collects garbage before."""
        if message == "settle":
            gc.collect()
        ws.send(json.dumps(asdict(self.count())))

    def count(self) -> Counters:
        """Read the counters."""
        return Counters(
            connections=self.connections(),
            sockets=sum(not WebSocket(id).is_dead() for id in self.ids if id),
            members=sum(len(self.handle.group(name)) for name in GROUPS),
            # No application needs to know; a leak of rooms would be one of memory.
            rooms=len(self.handle._rooms._rooms),
            tasks=len(asyncio.all_tasks()),
            descriptors=len(os.listdir("/proc/self/fd")) - 1,
            objects=len(gc.get_objects()),
            upgrades=self.upgrades,
            disconnects=self.disconnects,
            logged=self.errors.count,
        )


async def run(app: App) -> None:
    """Serve until standard input ends or SIGTERM comes."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)
    driver = acquire_driver(loop)
    app.connections = lambda: driver.count
    async with serve(app.handle, port=0, backlog=4096, drain_timeout=5.0) as server:
        print(json.dumps({"port": server.port}), flush=True)
        await stop.wait()
    release_driver(loop)


def main() -> None:
    """Run the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this says when it ends
    errors = Errors()
    for name in ("wsgroups", "asyncio"):
        logging.getLogger(name).addHandler(errors)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(App(errors)))


if __name__ == "__main__":
    main()
