"""Several worker processes, and clients that know who has come to which of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.faults.service import Clients, Peer, Service, wait_until
from tests.support import Program

CONFIG = ("--drain-timeout", "5")


def service(workers: int, *options: str, target: str = "tests.cluster.application") -> Service:
    """Return a service with so many workers, for `with`."""
    arguments = ["-m", "wsgroups", target, "--port", "0", "--workers", str(workers)]
    return Service(arguments=[*arguments, *CONFIG, *options])


def children(pid: int) -> set[int]:
    """Return the processes that a process has started and that still run."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            found |= {int(child) for child in (task / "children").read_text().split()}
    return {child for child in found if is_alive(child)}


def is_alive(pid: int) -> bool:
    """True for a process that runs; one that has ended and is not waited for does not.

    Its first thread may have ended before another one, which keeps all open that was.
    """
    try:
        threads = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return is_alive(pid)  # one has ended between the listing and the reading
    return any(thread.rpartition(") ")[2][0] not in "ZX" for thread in threads)


def workers_of(running: Service | Program, count: int) -> set[int]:
    """Return the processes of the workers, once there are so many."""
    wait_until(lambda: len(children(running.pid)) == count)
    return children(running.pid)


def get_pid(port: int) -> int:
    """Return the process that answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/pid")
        return int(connection.getresponse().read())
    finally:
        connection.close()


def health(port: int, patience: float = 20) -> tuple[int, dict[str, object]]:
    """Return the status of `health_path` and what it tells."""
    connection = HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("GET", "/health?why")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


class Visitor:
    """A client, its id and the process that serves it.

    Attributes:
        id: of its socket.
        pid: of its worker.
    """

    def __init__(self, clients: Clients, group: str, peer: Peer | None = None) -> None:
        self.clients = clients
        self.peer: Peer = peer or clients.open(f"/ws/{group}")
        clients.until(lambda: self.peer.messages)
        id, pid = self.peer.messages.pop(0).split()
        self.id, self.pid = int(id), int(pid)

    @property
    def worker(self) -> int:
        """The number of its worker, as its id has it."""
        return self.id >> 47

    def do(self, *command: Any) -> str:
        """Have the worker do something, and return what it says."""
        self.peer.send(json.dumps(command))
        return self.answer()

    def answer(self) -> str:
        """Return the answer to a command."""
        found: list[bytes] = []

        def has_come() -> bool:
            found[:] = [m for m in self.peer.messages if m.startswith(b"= ")]
            return bool(found)

        self.clients.until(lambda: has_come() or not self.peer.is_open)
        assert found, (self.peer.code, self.peer.ended)
        self.peer.messages.remove(found[0])
        return found[0][2:].decode()

    def next(self) -> bytes:
        """Return the next message."""
        self.clients.until(lambda: self.peer.messages or not self.peer.is_open)
        assert self.peer.messages, (self.peer.code, self.peer.ended)
        return self.peer.messages.pop(0)


def one_of_each(clients: Clients, group: str, workers: int) -> list[Visitor]:
    """Return one visitor of each worker; the kernel decides who comes to which."""
    found: dict[int, Visitor] = {}

    def is_complete() -> bool:
        visitor = Visitor(clients, group)
        if visitor.pid in found:
            clients.close(visitor.peer)
        else:
            found[visitor.pid] = visitor
        return len(found) == workers

    wait_until(is_complete)
    return [found[pid] for pid in sorted(found)]


def until_known(commander: Visitor, name: str, members: Sequence[Visitor]) -> None:
    """Wait until a group send of one worker reaches the members in all others.

    Whoever has just joined on another worker is reached as soon as the hub knows of it.
    """
    reached: set[int] = set()

    def all_reached() -> bool:
        commander.do("group", name, "probe", [])
        commander.clients.during(0.02)
        reached.update(v.id for v in members if b"probe" in v.peer.messages)
        return len(reached) == len(members)

    wait_until(all_reached)
    commander.clients.during(0.1)
    for visitor in members:
        visitor.peer.messages[:] = [m for m in visitor.peer.messages if m != b"probe"]


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process of the test's own."""
    os.kill(pid, number)
