"""Those who own sockets elsewhere: what they are asked, and what they answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any

from wsgroups.cluster.bus import LARGEST_MESSAGE, Bus, room_on
from wsgroups.cluster.messages import Key, One, encode_one
from wsgroups.enums import SendResult
from wsgroups.ids import MAX_ID, SEQUENCE_BITS

ANSWER_WITHIN = 5.0  # seconds for another worker to tell what it did
OVERHEAD = 1 << 16  # bytes that a message may take beside its payload


class Owners:
    """Asks the workers on a bus, and takes what they answer to whoever waits for it.

    May be used in any loop.

    Args:
        bus: how they are reached.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tokens = itertools.count()
        self._awaited: dict[int, asyncio.Future[Any]] = {}
        self._lost: Exception | None = None

    def may_live(self, id: int) -> bool:
        """False when it is known that nobody else has the socket of an id."""
        return (
            0 <= id <= MAX_ID
            and id >> SEQUENCE_BITS != self._bus.address
            and self._bus.peers.may_have(id)
        )

    async def deliver(
        self, what: int, id: int, data: bytes, flags: int = 0, key: Key = None
    ) -> SendResult:
        """Send a message for one socket and return what its owner did with it.

        `QUEUED` means that it has not answered within five seconds. When it has never been heard
        of, up to two more may pass until that means `GONE`.

        Args:
            what: TEXT, BINARY or CLOSE.
            id: the socket's.
            data: the payload.
            flags: ConnectionFlags.
            key: as of `WebSocket.send`.
        """
        if not self.may_live(id):
            return SendResult.GONE
        if len(data) > LARGEST_MESSAGE - OVERHEAD:
            return SendResult.DROPPED
        await room_on(self._bus, id >> SEQUENCE_BITS)

        def send(token: int) -> None:
            message = One(what, id, data, flags, key, token, self._bus.address)
            self._bus.send(id >> SEQUENCE_BITS, encode_one(message))

        try:
            return SendResult(await self.ask(send))
        except TimeoutError:
            await self._settle_doubt(id >> SEQUENCE_BITS)
            return SendResult.QUEUED if self.may_live(id) else SendResult.GONE

    async def _settle_doubt(self, address: int) -> None:
        """Wait until it is known if a worker is there, unless the broker is away."""
        while 0 < (doubtful := self._bus.peers.settles_in(address)) < ANSWER_WITHIN:  # noqa: ASYNC110
            await asyncio.sleep(doubtful)

    async def ask(self, send: Callable[[int], None]) -> Any:
        """Ask something, and return the answer.

        Args:
            send: called with what the answer is to name, to send the question.

        Raises:
            TimeoutError: when none has come within five seconds.
            ConnectionError: when the bus is lost first.
        """
        if self._lost is not None:
            raise self._lost
        token = next(self._tokens) % 0xFFFFFFFF + 1  # 0 says that no answer is wanted
        done = self._awaited[token] = asyncio.get_running_loop().create_future()
        try:
            send(token)
            return await asyncio.wait_for(done, ANSWER_WITHIN)
        finally:
            self._awaited.pop(token, None)

    def hear(self, token: int, answer: Any) -> None:
        """An answer has come. In the bus's loop."""
        done = self._awaited.get(token)
        if done is not None:
            _settle(done, lambda: done.set_result(answer))

    def lose(self, error: Exception) -> None:
        """No answer comes any more: whoever waits gets this error. In the bus's loop."""
        self._lost = error
        for done in list(self._awaited.values()):
            _settle(done, lambda done=done: done.set_exception(error))  # type: ignore[misc]


def _settle(done: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    """Settle a future in its own loop, unless nobody waits for it any more."""
    with contextlib.suppress(RuntimeError):  # that loop is closed
        done.get_loop().call_soon_threadsafe(lambda: None if done.done() else settle())
