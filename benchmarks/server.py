"""Starts a peer's server on its core, and ends it whatever happens."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from .peers import Peer
from .proc import on_core

START_SECONDS = 20.0
STOP_SECONDS = 3.0


class ServerError(Exception):
    """The server did not start, or ended by itself."""


class Server:
    """A running server: its process, its port, and what it printed."""

    def __init__(
        self, peer: Peer, words: Sequence[str], port: int, core: int, log: IO[bytes]
    ) -> None:
        self.peer = peer
        self.port = port
        self._log = log
        environment = {**os.environ, "NODE_ENV": "production"}
        try:
            with on_core(core):
                self._process = subprocess.Popen(
                    peer.command_line(port, words),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                )
        except OSError as error:
            raise ServerError(f"cannot start: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def await_listening(self) -> None:
        """Return once the port accepts connections."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self.check()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise ServerError(f"not listening after {START_SECONDS:.0f} s")

    def check(self) -> None:
        """Raise ServerError if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise ServerError(f"ended with {code}: {self.last_line()}")

    def last_line(self) -> str:
        """Return the last thing the server printed."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "no output")

    def end(self) -> None:
        """End the process, by force if it does not go."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(peer: Peer, words: Sequence[str], core: int) -> Iterator[Server]:
    """Run the server of `peer` on `core`, listening, for the length of the block.

    With "deflate" among the words it compresses for those who offer it, with "tls" it speaks TLS.
    """
    with tempfile.TemporaryFile() as log:
        server = Server(peer, words, _free_port(), core, log)
        try:
            server.await_listening()
            yield server
        finally:
            server.end()
