"""Those who come and go, in a process of their own: `churn.py PORT RATE [CONNECTIONS]`.

Prints what it has done as JSON once a second. Ends when its standard input does, or after so many
connections, once all of them have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from random import Random
from typing import cast

import uvloop

from soak.wire import close, handshake, text

MESSAGES = 10  # of each connection; every third goes to a room
ROOMS = 50
STAY = 1.0  # seconds at most
PATIENCE = 20.0  # seconds for a connection to do all that it has to
TICK = 0.02  # seconds
MOST_OPEN = 4000
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


class Ending(enum.StrEnum):
    """How a connection ends; each takes a quarter."""

    CLOSE = "close"
    RESET = "reset"
    HALF_FRAME = "half frame"
    HALF_HANDSHAKE = "half handshake"


ENDINGS = tuple(Ending)


@dataclass(slots=True)
class Tally:
    """What has been done."""

    started: int = 0
    established: int = 0
    open: int = 0
    ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENDINGS, 0))
    received: int = 0  # messages
    errors: int = 0
    error: str = ""  # the last one


class Visit(asyncio.Protocol):
    """One connection, from its first byte to its end."""

    def __init__(self, tally: Tally, random: Random, number: int, gone: Callable[[], None]) -> None:
        self._tally = tally
        self._gone = gone
        self._random = random
        self._number = number
        self._ending = random.choice(ENDINGS)
        self._buffer = b""
        self._is_open = self._is_over = self._closes = False
        self._echoes = 0  # to come
        self._timer: asyncio.TimerHandle | None = None

    # --- what comes -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        request = handshake("/async" if self._random.random() < 0.5 else "/plain")
        if self._ending is Ending.HALF_HANDSHAKE:
            self._transport.write(request[: self._random.randrange(len(request))])
            self._leave(resets=self._random.random() < 0.5)
        else:
            self._wait(PATIENCE, self._late)
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take the 101, then messages."""
        self._buffer += data
        if not self._is_open:
            head, found, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self._fail(f"refused: {head[:60]!r}")
                return
            self._arrive()
        self._take_frames()

    def _take_frames(self) -> None:
        """All frames are short; a Close has to say 1000 and be the answer to ours."""
        buffer = self._buffer
        start = 0
        while len(buffer) - start >= 2 and len(buffer) - start >= 2 + buffer[start + 1]:
            first, payload = buffer[start], buffer[start + 2 : start + 2 + buffer[start + 1]]
            start += 2 + len(payload)
            if first == 0x88:
                if not self._closes or payload != b"\x03\xe8":
                    self._fail(f"Close {payload!r}")
                self._is_over = True
            elif first == 0x81 and payload.startswith(b"echo "):
                self._echoes -= 1
                self._tally.received += 1
            elif first == 0x81:
                self._tally.received += 1
            else:
                self._fail(f"frame {first:#x}")
        self._buffer = buffer[start:]

    def connection_lost(self, error: Exception | None) -> None:
        """Count."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_over:
            self._fail(f"lost: {error!r}")
        self._tally.ended[self._ending] += 1
        self._gone()

    # --- what is done -----------------------------------------------------------------------

    def _arrive(self) -> None:
        """Join the rooms and send the first half."""
        self._is_open = True
        self._tally.established += 1
        known = self._random.sample(range(ROOMS), 2)
        self._rooms = [f"room{known[0]}", f"room{known[1]}", f"own{self._number}"]
        joins = [f"join {room}" for room in self._rooms]
        self._say(joins + self._messages(0, MESSAGES // 2))
        self._wait(self._random.random() * STAY, self._depart)

    def _messages(self, start: int, stop: int) -> list[str]:
        messages = []
        for i in range(start, stop):
            if i % 3 == 0:
                messages.append(f"room {self._random.choice(self._rooms)} message {i}")
            else:
                messages.append(f"echo {i} " + "x" * self._random.randrange(80))
                self._echoes += 1
        return messages

    def _depart(self) -> None:
        """Send the second half, leave the rooms, end."""
        leaves = [f"leave {room}" for room in self._rooms]
        self._say(self._messages(MESSAGES // 2, MESSAGES) + leaves)
        if self._ending is Ending.CLOSE:
            self._wait(PATIENCE, self._late)
            self._close_when_answered()
            return
        if self._ending is Ending.HALF_FRAME:
            frame = text("x" * self._random.randrange(200))
            self._transport.write(frame[: self._random.randrange(1, len(frame))])
        self._leave(resets=self._ending is Ending.RESET)

    def _close_when_answered(self) -> None:
        """Send Close when every echo is here, so that each of them is seen to come."""
        if self._echoes > 0 and not self._transport.is_closing():
            asyncio.get_running_loop().call_later(0.01, self._close_when_answered)
        elif not self._transport.is_closing():
            self._closes = True
            self._transport.write(close())

    def _leave(self, *, resets: bool) -> None:
        self._is_over = True
        if resets:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()
        else:
            self._transport.close()

    def _say(self, messages: list[str]) -> None:
        self._transport.write(b"".join(map(text, messages)))

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _late(self) -> None:
        missing = "answers" if self._echoes else "Close" if self._closes else "101"
        self._fail(f"{self._ending}: {missing} did not come")

    def _fail(self, why: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._tally.errors += 1
            self._tally.error = why
        self._transport.abort()


class Churn:
    """Starts connections at a rate."""

    def __init__(self, port: int, rate: float, connections: int | None) -> None:
        self._port = port
        self._rate = rate
        self._most = connections
        self._random = Random(port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self.tally = Tally()

    async def run(self) -> None:
        """Go on until standard input ends or all have been made, and all have ended."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), stop.set)
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        shown = last = time.monotonic()
        due = 0.0
        while not stop.is_set() and self.tally.started != self._most:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            # What a pause of the machine has left undone is not made up for in a rush.
            due = min(due + (now - last) * self._rate, 0.2 * self._rate + 1)
            last = now
            while due >= 1 and self.tally.open < MOST_OPEN and self.tally.started != self._most:
                due -= 1
                self._start(loop)
            if now - shown >= 1:
                shown = now
                self.show()
        loop.remove_reader(sys.stdin.fileno())
        if self.tally.open:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), PATIENCE + 5)
        self.show()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.tally.started += 1
        self.tally.open += 1
        task = loop.create_task(self._connect(loop, self.tally.started))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        try:
            await loop.create_connection(
                lambda: Visit(self.tally, self._random, number, self._gone), "127.0.0.1", self._port
            )
        except OSError as error:
            self.tally.errors += 1
            self.tally.error = f"connect: {error}"
            self._gone()

    def _gone(self) -> None:
        self.tally.open -= 1
        if not self.tally.open:
            self._idle.set()

    def show(self) -> None:
        """Print the figures."""
        print(json.dumps(asdict(self.tally)), flush=True)


def main(port: int, rate: float, connections: int | None = None) -> None:
    """Run it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Churn(port, rate, connections).run())


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), *map(int, sys.argv[3:]))
