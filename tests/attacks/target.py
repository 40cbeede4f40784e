"""The process that is attacked, seen from outside: its memory, its CPU, its log, its canary."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.attacks.peer import PATIENCE, Peer, eventually
from tests.support import BINARY, frame

ROOT = Path(__file__).parents[2]
_SONGS = 20  # to learn what one costs
TICK = 0.02  # seconds between two looks at the server, each with a message of the canary
MB = 1 << 20
ONCE = MB  # bytes that a process may come to need once, however many attack


class Target:
    """A server in a process of its own, for `with`.

    Args:
        policy: GroupPolicy options.
        server: ServerConfig options.
        descriptors: how many the process may open; as many as this one by default.
        log_level: what is logged; the command line's default by default.
        tls: what the canary speaks TLS with, where `server` has a certificate.
    """

    def __init__(
        self,
        *,
        policy: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        descriptors: int = 0,
        log_level: str = "INFO",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tls = tls
        options = {
            "policy": policy or {},
            "server": server or {},
            "descriptors": descriptors,
            "log_level": log_level,
        }
        self._stack = contextlib.ExitStack()
        self._log = self._stack.enter_context(tempfile.NamedTemporaryFile())  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.attacks.server", json.dumps(options)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        announced = self._process.stdout.readline()
        assert announced, self.log()
        self.port = int(announced)

    def __enter__(self) -> Self:
        self._control = self._stack.enter_context(Peer(self.port, "/control", tls=self.tls))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process, and hold it to having survived what was done to it."""
        has_survived = self._process.poll() is None
        log = self.log()
        if has_survived:
            self._process.terminate()
            self._stack.close()
            time.sleep(0.1)
            self._process.terminate()  # the second cuts the drain short
        else:
            self._stack.close()
        try:
            self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        assert has_survived, log[-3000:]

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    # --- what it needs ----------------------------------------------------------------------

    def memory(self) -> int:
        """Return the bytes that are this process's own and nobody else's.

        Private clean pages are not counted: they are code, which becomes private and shared again
        with the comings and goings of other Python processes.
        """
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        found = re.search(r"^Private_Dirty: +(\d+) kB$", rollup, re.MULTILINE)
        assert found is not None
        return int(found[1]) << 10

    def cpu(self) -> float:
        """Return the seconds of CPU that the loop's thread has had."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def log(self) -> str:
        """Return what was logged, and whatever else went to standard error."""
        return Path(self._log.name).read_text()

    # --- what it says -----------------------------------------------------------------------

    def ask(self, *words: object) -> Any:
        """Give the application an order and return its answer; see `server.Application`."""
        self._control.say(json.dumps(words))
        return json.loads(self._control.text())

    def members(self, group: str) -> int:
        """Return how many sockets a group has."""
        return int(self.ask("group", group)["members"])


@dataclass
class Figures:
    """What one attack came to.

    Attributes:
        id: of the attack.
        connections: how many attacked.
        memory: bytes that the server had at most, above what it had before, for each of them.
        cpu: seconds that the server spent on each of them.
        got: what they got back.
        after: bytes that the server has when they are gone, above what it had before.
        rounds: answers of the canary meanwhile.
        slowest: the canary's longest wait, in seconds.
    """

    id: str
    connections: int
    memory: float = 0.0
    cpu: float = 0.0
    got: str = ""
    after: int = 0
    rounds: int = 0
    slowest: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.id} {self.connections:>5} connections: "
            f"{self.memory / 1024:9.1f} KiB and {self.cpu * 1000:9.3f} ms each, "
            f"{self.after / 1024:6.0f} KiB left; "
            f"canary {self.rounds} answers, slowest {self.slowest * 1000:.0f} ms; got {self.got}"
        )


RESULTS: list[Figures] = []
"""The attacks of this run that the server has withstood."""


class Canary:
    """A client that has nothing to do with an attack and looks at the server from time to time.

    Its thread is the only one that uses its socket while it runs.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._peer = Peer(target.port, "/canary", tls=target.tls)
        self.say, self.text = self._peer.say, self._peer.text
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.problem: BaseException | None = None
        self.rounds = 0
        self.slowest = 0.0
        self.peak = 0

    def sing(self) -> int:
        """Send a message and get the answer: how many messages of attackers were handled."""
        self._peer.say("tweet")
        return int(self._peer.text())

    def start(self) -> None:
        """Sing and look until told to stop."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and raise what went wrong: it was disconnected, or was not answered."""
        self._stop.set()
        self._thread.join()
        if self.problem is not None:
            raise AssertionError("the canary has died") from self.problem

    def close(self) -> None:
        """Leave."""
        self._peer.close()

    def _run(self) -> None:
        try:
            while not self._stop.wait(TICK):
                began = time.perf_counter()
                self.sing()
                self.slowest = max(self.slowest, time.perf_counter() - began)
                self.rounds += 1
                self.peak = max(self.peak, self._target.memory())
        except (AssertionError, OSError) as error:
            self.problem = error


class Attack:
    """The attackers of one test, and what they cost.

    Attributes:
        peers: all of them.
    """

    def __init__(self, target: Target, canary: Canary) -> None:
        self._target = target
        self._canary = canary
        self._stack = contextlib.ExitStack()
        self.peers: list[Peer] = []

    @property
    def port(self) -> int:
        """Of the server."""
        return self._target.port

    def open(self, count: int, path: str | None = None, **options: Any) -> list[Peer]:
        """Connect so many attackers."""
        came = []
        for _ in range(count):
            came.append(self._stack.enter_context(Peer(self.port, path, **options)))
        self.peers += came
        return came

    def look(self) -> None:
        """Have this moment's memory count, too."""
        self._canary.peak = max(self._canary.peak, self._target.memory())

    def close(self) -> None:
        """Let go of all connections."""
        self._stack.close()


@contextlib.contextmanager
def attack(
    target: Target,
    id: str,
    connections: int,
    *,
    memory: float = MB,
    cpu: float = 0.050,
    crowd: int | None = None,
    sings: bool = True,
) -> Iterator[tuple[Attack, Figures]]:
    """Attack a server, and hold it to what an attack may cost.

    Args:
        target: the server.
        id: of the attack.
        connections: how many attack; the figures are for each of them.
        memory: bytes that each may cost, besides what a process needs once.
        cpu: seconds that each may cost.
        crowd: so many others have come and gone before; as many as attack by default.
        sings: the canary sings meanwhile; without, the test stops the server for a while.
    """
    figures = Figures(id, connections)
    canary = Canary(target)
    attackers = Attack(target, canary)
    try:
        _warm_up(target)
        fresh = target.memory()
        _come_and_go(target, connections if crowd is None else crowd)
        began = target.cpu()
        for _ in range(_SONGS):  # as far apart as later: one after the other they are cheaper
            time.sleep(TICK)
            canary.sing()
        of_a_song = (target.cpu() - began) / _SONGS
        target.ask("trim")
        canary.peak = before = target.memory()
        began = target.cpu()
        if sings:
            canary.start()
        try:
            yield attackers, figures
            attackers.look()
        finally:
            if sings:
                canary.stop()
        canary.sing()
        spent = target.cpu() - began - of_a_song * (canary.rounds + 1)
        figures.cpu = max(0.0, spent) / connections
        figures.memory = max(0, canary.peak - min(fresh, before)) / connections
        figures.rounds, figures.slowest = canary.rounds, canary.slowest
        attackers.close()
        allowed = max(MB, before // 20)
        left = _settled(target, before + allowed)
        figures.after = max(0, left - before)
        canary.sing()
    finally:
        attackers.close()
        canary.close()
    assert figures.memory <= memory + ONCE / connections, figures
    assert figures.cpu <= cpu, figures
    assert figures.after <= allowed, figures
    print(figures)
    RESULTS.append(figures)


def _warm_up(target: Target) -> None:
    """Have the server use what it has once for all sockets: above all the buffer they share."""
    with Peer(target.port, "/canary", tls=target.tls) as peer:
        for _ in range(20):
            # To a server that was not there for a moment, so that it gets all of it at once.
            os.kill(target.pid, signal.SIGSTOP)
            peer.sock.setblocking(False)
            rest = memoryview(frame(BINARY, bytes(4000)) * 400)
            rest = rest[peer.sock.send(rest) :]
            os.kill(target.pid, signal.SIGCONT)
            peer.sock.settimeout(PATIENCE)
            peer.sock.sendall(rest)
            for _ in range(400):
                peer.text()


def _come_and_go(target: Target, count: int) -> None:
    """Have so many clients connect, say something and leave."""
    peers = [Peer(target.port, "/canary", tls=target.tls) for _ in range(count)]
    for peer in peers:
        peer.say("hello")
        peer.text()
        peer.close()
    eventually(lambda: target.members("canary") <= 1, "they are still there")


def _settled(target: Target, wanted: int) -> int:
    """Return the memory of the server once it is back to what is wanted, or has had its time.

    What is freed and kept by the allocator for the next is given back first.
    """
    deadline = time.monotonic() + 5.0
    target.ask("trim")
    while (memory := target.memory()) > wanted and time.monotonic() < deadline:
        time.sleep(0.1)
        target.ask("trim")
    return memory
