"""What workers tell one another for the application: JSON by topic."""

import asyncio
import logging
from typing import Any

import pytest

from tests.cluster.recording import Recorder
from tests.support import soon, until
from wsgroups import Handle
from wsgroups.cluster.exchange import Exchange
from wsgroups.cluster.local import LocalBus
from wsgroups.errors import DuplicateHandlerError, HandlerSignatureError
from wsgroups.surface.telling import Telling


class Worker(Recorder):
    """One of two, with what it has heard on the topic `t`."""

    def __init__(self, exchange: Exchange, address: int) -> None:
        super().__init__()
        self.telling = Telling(self._spawn)
        self.bus = LocalBus(exchange, address)
        self.values: list[Any] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start(self) -> None:
        self.telling.join(self.bus)
        await soon(self.bus.start(self))

    def published(self, channel: bytes, data: bytes) -> None:
        self.telling.heard(channel, data)


async def two() -> tuple[Worker, Worker]:
    exchange = Exchange()
    a, b = Worker(exchange, 1), Worker(exchange, 2)
    b.telling.listen("t", b.values.append)
    await a.start()
    await b.start()
    await soon(a.bus.sync())
    await soon(b.bus.sync())
    await asyncio.sleep(0)
    return a, b


VALUES = [{"a": [1, None, "\u00fc"]}, [], "text", 0, None, True]


async def test_the_others_hear_in_order_and_nobody_else() -> None:
    a, b = await two()
    a.telling.listen("t", a.values.append)
    for value in VALUES:
        a.telling.tell("t", value)
        a.telling.tell("other", value)
    await until(lambda: len(b.values) == len(VALUES))
    assert b.values == VALUES
    assert a.values == []


async def test_an_async_function_is_awaited_before_the_next() -> None:
    a, b = await two()
    begun: list[int] = []

    async def hear(value: int) -> None:
        begun.append(value)
        await asyncio.sleep(0.01 if value == 0 else 0)
        b.values.append(value)

    b.telling.listen("slow", hear)
    await soon(b.bus.sync())
    for value in range(3):
        a.telling.tell("slow", value)
    await until(lambda: begun)
    assert (begun, b.values) == ([0], [])
    await until(lambda: len(b.values) == 3)
    assert b.values == [0, 1, 2]


async def test_a_function_that_fails_hears_the_next(error_log: list[logging.LogRecord]) -> None:
    a, b = await two()

    def hear(value: int) -> None:
        b.values.append(1 // value)

    b.telling.listen("fails", hear)
    await soon(b.bus.sync())
    a.telling.tell("fails", 0)
    a.telling.tell("fails", 1)
    await until(lambda: b.values == [1])
    assert "failed with 0" in error_log[0].getMessage()


async def test_a_function_that_waited_for_what_was_cancelled_hears_the_next(
    error_log: list[logging.LogRecord],
) -> None:
    a, b = await two()

    async def hear(value: int) -> None:
        if value == 0:
            waiting = asyncio.ensure_future(asyncio.sleep(100))
            waiting.cancel()
            await waiting
        b.values.append(value)

    b.telling.listen("fails", hear)
    await soon(b.bus.sync())
    for value in range(3):
        a.telling.tell("fails", value)
    await until(lambda: b.values == [1, 2])
    assert "failed with 0" in error_log[0].getMessage()


async def test_what_is_no_json_is_refused_here() -> None:
    a, b = await two()
    with pytest.raises(TypeError):
        a.telling.tell("t", object())
    a.telling.tell("t", "next")
    await until(lambda: b.values == ["next"])


async def test_alone_nothing_is_told() -> None:
    handle = Handle()
    handle.worker_message("t")(lambda value: pytest.fail("nobody else is there"))
    handle.tell_workers("t", 1)
    await asyncio.sleep(0)


def test_a_topic_has_one_function_of_one_parameter() -> None:
    handle = Handle()
    handle.worker_message("t")(lambda value: None)
    with pytest.raises(DuplicateHandlerError, match="topic 't' has a function already"):
        handle.worker_message("t")(lambda value: None)
    with pytest.raises(HandlerSignatureError):
        handle.worker_message("u")(lambda: None)
