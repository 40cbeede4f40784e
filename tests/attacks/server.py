"""The server that is attacked: `python -m tests.attacks.server OPTIONS`, OPTIONS in JSON.

Prints its port, serves until it gets SIGTERM or its standard input ends, and logs as the command
line does unless told otherwise.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import signal
import sys
import threading
from typing import Any

from wsgroups import Handle, HandlerStatus, Request, Response, Server, WebSocket
from wsgroups.server.running import run


class Application:
    """What attacks need: an echo, a sink, rooms, a fan-out, and questions about all of them.

    Args:
        policy: GroupPolicy options of all groups but those of the test itself.
    """

    def __init__(self, policy: dict[str, Any]) -> None:
        self.handled = 0  # messages of attackers
        self.handle = handle = Handle(**policy)
        handle.get("/")(lambda request: "hello")
        handle.get("/fail")(self._fail)
        handle.get("/{group}")(self._enter)
        handle.websocket("echo")(self._echo)
        handle.websocket("sink")(self._sink)
        handle.websocket("rooms")(self._walk)
        handle.websocket("fan")(self._sink)
        for own in ("canary", "control"):
            handle.group(own, ping_interval=None, message_timeout=60.0)
        handle.websocket("canary")(lambda message, ws: ws.send(str(self.handled)))
        handle.websocket("control")(self._obey)

    def _enter(self, request: Request, group: str) -> HandlerStatus:
        request.require_upgrade()
        request.send_upgrade(group)
        return HandlerStatus.HANDLED

    def _fail(self, request: Request) -> Response:
        raise RuntimeError("as you wish")

    def _echo(self, message: str | bytes, ws: WebSocket) -> None:
        self.handled += 1
        ws.send(message)

    def _sink(self, message: str | bytes, ws: WebSocket) -> None:
        self.handled += 1

    def _walk(self, message: str, ws: WebSocket) -> None:
        """Join or leave rooms: `join 0 1000`."""
        verb, first, end = message.split()
        for number in range(int(first), int(end)):
            (ws.join if verb == "join" else ws.leave)(f"room {number}")
        ws.send("done")

    def _obey(self, message: str, ws: WebSocket) -> None:
        """Answer one of the questions and orders of `Target.ask`."""
        verb, *words = json.loads(message)
        answer: object = None
        if verb == "group":
            group = self.handle.group(words[0])
            answer = {"members": len(group), "cut_off": group.cut_off}
        elif verb == "send":
            self.handle.group(words[0]).send(bytes(words[1]))
        elif verb == "publish":
            for number in range(words[0]):
                self.handle.room(f"room {number}").send(number.to_bytes(4, "big") * words[1])
        elif verb == "trim":
            ctypes.CDLL(None).malloc_trim(0)
        elif verb == "handled":
            answer = self.handled
        ws.send(json.dumps(answer))


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(server: Server) -> None:
    print(server.port, flush=True)


def main() -> None:
    """Serve."""
    options = json.loads(sys.argv[1])
    if options["descriptors"]:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (options["descriptors"], hard))
    logging.basicConfig(
        level=options["log_level"], format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    application = Application(options["policy"])
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    run(application.handle, on_start=_announce, port=0, **options["server"])


if __name__ == "__main__":
    main()
