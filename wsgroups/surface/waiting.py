"""The awaitable verbs of a socket. They may be awaited in any loop, also another thread's."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from typing import TYPE_CHECKING

from wsgroups.errors import SocketGoneError

if TYPE_CHECKING:
    from wsgroups.connection.connection import Connection

_numbers = itertools.count()


async def ping(connection: Connection | None, timeout: float | None) -> float:
    """Send a ping and return how many seconds the answer took.

    Raises:
        SocketGoneError: when the socket is closed before the pong.
        TimeoutError: when `timeout` seconds pass first.
    """
    if connection is None:
        raise SocketGoneError("no ping: the socket is closed, or another worker's")
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bool] = loop.create_future()
    payload = next(_numbers).to_bytes(8, "big")
    began = time.perf_counter()

    def settle(result: bool) -> None:
        with contextlib.suppress(RuntimeError):  # nobody waits any more: that loop is closed
            loop.call_soon_threadsafe(_resolve, answered, result)

    connection.run_in_loop(lambda: connection.ping(payload, settle))
    try:
        is_answered = await asyncio.wait_for(answered, timeout)
    finally:
        if not answered.done() or answered.cancelled():
            connection.run_in_loop(lambda: connection.forget_ping(payload))
    if not is_answered:
        info = connection.close_info
        raise SocketGoneError(
            "the socket closed before it answered the ping", info.code if info else 1006
        )
    return time.perf_counter() - began


async def drain(connection: Connection | None) -> None:
    """Wait until everything sent so far is with the kernel, or the socket is gone."""
    if connection is None:
        return
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def settle() -> None:
        with contextlib.suppress(RuntimeError):  # as above
            loop.call_soon_threadsafe(_resolve, done, True)

    connection.run_in_loop(lambda: connection.when_drained(settle))
    await done


async def room(connection: Connection, high_water: int) -> None:
    """Wait until no more than `high_water` bytes are unsent, or the socket is gone."""
    while connection.is_open and connection.buffered_amount > high_water:
        await drain(connection)


def wait_for_room(connection: Connection, high_water: int) -> None:
    """Block a thread without a loop as `room` lets a task wait."""
    drained = threading.Event()
    while connection.is_open and connection.buffered_amount > high_water:
        drained.clear()
        connection.run_in_loop(lambda: connection.when_drained(drained.set))
        # A loop that was stopped without closing its server never calls back.
        while not drained.wait(1.0) and connection.is_open:
            pass


def _resolve(future: asyncio.Future[bool], result: bool) -> None:
    if not future.done():
        future.set_result(result)
