"""The application that faults are done to: `python -m tests.faults.application OPTIONS`.

OPTIONS is JSON: `server` and `policy` have options of the server and of all groups; `loop` is
`asyncio` or `uvloop`; `send_buffer` is what the kernel may keep of each connection, in bytes; with
`tells` each socket that closes is printed. `tests.faults.application:handle` is it for the command
line.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections import Counter
from typing import Any, NoReturn

from wsgroups import Handle, HandlerStatus, Request, Server, WebSocket
from wsgroups.server import running


class Unheard(BaseException):
    """What nobody expects to be raised."""


def recurse() -> NoReturn:
    recurse()


def fail(kind: str) -> None:
    """Raise an exception of a kind."""
    if kind == "recursion":
        recurse()
    if kind == "group":
        raise ExceptionGroup("several", [ValueError("secret"), KeyError("secret")])
    raise KINDS[kind]("secret")


KINDS: dict[str, type[BaseException]] = {
    "exception": ValueError,
    "base": Unheard,
    "cancelled": asyncio.CancelledError,
    "generator-exit": GeneratorExit,
    "stop": StopIteration,
    "stop-async": StopAsyncIteration,
    "memory": MemoryError,
    "os": BrokenPipeError,
    "timeout": TimeoutError,
    "recursion": RecursionError,
    "group": ExceptionGroup,
}
GROUPS = ("room", "push", "stuck", "stubborn", "ack", "ack-later")
PLACES = ("connect", "message", "error", "disconnect")


class Application:
    """Groups that do what a test says.

    Attributes:
        entered: how many sockets were upgraded into each group.
        parted: how often its disconnect handler was called.
        codes: with which codes.
        recorded: what each client of the groups `ack` has said and was heard.
    """

    def __init__(self, *, tells: bool = False, **policy: Any) -> None:
        self.tells = tells
        self.entered: Counter[str] = Counter()
        self.parted: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self.recorded: Counter[str] = Counter()
        self.eaten: list[int] = []
        self.handle = handle = Handle(**policy)
        handle.get("/ws/{group}")(self.enter)
        handle.get("/stats")(self.stats)
        handle.websocket("room")(self.obey)
        handle.websocket("stuck")(self.never_return)
        handle.websocket("stubborn")(self.never_end)
        handle.websocket("ack")(self.acknowledge)
        handle.websocket("ack-later")(self.acknowledge_later)
        for group in GROUPS:
            handle.websocket_disconnect(group)(self.part)
        for place in PLACES:
            self._fails_in(place, is_async=False)
            self._fails_in(place, is_async=True)

    def enter(self, request: Request, group: str) -> HandlerStatus:
        request.require_upgrade()
        request.send_upgrade(group, data=request.query.get("data"))
        self.entered[group] += 1
        return HandlerStatus.HANDLED

    def stats(self, request: Request) -> dict[str, Any]:
        return {
            "time": time.time(),
            "entered": self.entered,
            "parted": self.parted,
            "codes": {str(code): count for code, count in self.codes.items()},
            "recorded": self.recorded,
            "members": {name: len(self.handle.group(name)) for name in GROUPS},
            "cut_off": self.handle.group("room").cut_off,
        }

    def part(self, ws: WebSocket) -> None:
        assert ws.close_info is not None
        self.parted[ws.group.name] += 1
        self.codes[ws.close_info.code] += 1
        if self.tells:
            print(f"gone with {ws.close_info.code}", flush=True)

    # --- the group `room` -------------------------------------------------------------------

    def obey(self, message: str | bytes, ws: WebSocket) -> None:
        """Do what a message says; others are sent back."""
        command, *arguments = message.split() if isinstance(message, str) else [""]
        if command == "block":
            print("blocks", flush=True)
            time.sleep(float(arguments[0]))
        elif command == "burst":
            for number in range(int(arguments[0])):
                ws.group.send(f"{number} ".ljust(int(arguments[1]), "x"))
            return
        elif command == "all":
            ws.group.send(message)
            return
        elif command == "push":
            self.handle.group("push").send(bytes(int(arguments[0])))
        elif command == "output":
            taken = os.open(arguments[0], os.O_WRONLY)
            os.dup2(taken, 1)
            os.dup2(taken, 2)
            os.close(taken)
        elif command == "eat":
            self.eat()
        elif command == "spit":
            while self.eaten:
                os.close(self.eaten.pop())
        ws.send(message)

    def eat(self) -> None:
        """Take every descriptor that there is."""
        try:
            while True:
                self.eaten.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return

    # --- handlers that do not return --------------------------------------------------------

    async def never_return(self, message: str, ws: WebSocket) -> None:
        await asyncio.get_running_loop().create_future()

    async def never_end(self, message: str, ws: WebSocket) -> None:
        """Not even when it is cancelled, the first time."""
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.get_running_loop().create_future()

    # --- messages that are acknowledged ------------------------------------------------------

    def acknowledge(self, message: str, ws: WebSocket) -> None:
        name, number = message.split()
        if int(number) != self.recorded[name]:
            ws.send(f"{number} came instead of {self.recorded[name]}")
            return
        self.recorded[name] += 1
        ws.send(number)

    async def acknowledge_later(self, message: str, ws: WebSocket) -> None:
        await asyncio.sleep(0)
        self.acknowledge(message, ws)

    # --- handlers that raise ------------------------------------------------------------------

    def _fails_in(self, place: str, *, is_async: bool) -> None:
        """A group whose handlers raise what the data of a socket names, in one place."""
        name = place + ("-later" if is_async else "")
        handle = self.handle

        def maybe(here: str, ws: WebSocket) -> Any:
            async def later() -> None:
                await asyncio.sleep(0)
                if here == place:
                    fail(ws.data)

            if is_async:
                return later()
            return fail(ws.data) if here == place else None

        def on_message(message: str, ws: WebSocket) -> Any:
            if place == "error":
                raise ValueError("secret")
            return maybe("message", ws)

        def on_disconnect(ws: WebSocket) -> Any:
            self.part(ws)
            return maybe("disconnect", ws)

        handle.websocket_connect(name)(lambda ws: maybe("connect", ws))
        handle.websocket(name)(on_message)
        if place == "error":
            handle.websocket_error(name)(lambda error, ws: maybe("error", ws))
        handle.websocket_disconnect(name)(on_disconnect)


handle = Application().handle


def main() -> None:
    options = json.loads(sys.argv[1])
    app = Application(tells=options.get("tells", False), **options.get("policy", {}))
    send_buffer = options.get("send_buffer")
    if options.get("loop") == "asyncio":
        running._new_loop = asyncio.new_event_loop

    def listening(server: Server) -> None:
        for sock in server.sockets:
            if send_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        print(f"listening on {server.url} ", flush=True)

    running.run(app.handle, on_start=listening, **{"port": 0, **options.get("server", {})})
    print("recorded", json.dumps(app.recorded), flush=True)


if __name__ == "__main__":
    main()
