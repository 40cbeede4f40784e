"""Who is here: members of groups and rooms in all workers, and which of many ids are open."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, SupportsIndex

from wsgroups.cluster.bus import Bus, describe_address
from wsgroups.cluster.questions import (
    COUNT,
    IDS,
    LIVE,
    Question,
    decode_question,
    decode_told,
    encode_question,
    encode_told,
    pack_ids,
    pack_number,
    pick,
    unpack_ids,
    unpack_number,
)
from wsgroups.cluster.questions import Told as Answer
from wsgroups.surface.websocket import SocketSet, get_elsewhere, open_bits, sort_out

logger = logging.getLogger("wsgroups")

_ANSWER_WITHIN = 2.0  # seconds


async def live(ids: Iterable[SupportsIndex], *, strict: bool = False) -> set[int]:
    """Return those of the ids whose sockets are open, in whichever worker; a message a worker.

    For many at once, such as all ids that a database has. In any running loop.

    Args:
        ids: ids or WebSockets, up to 8 million of one worker.
        strict: raise when a worker has not answered within two seconds; otherwise its sockets
            count as not open, and the log says so. Those of a worker that has ended are not open.

    Raises:
        TimeoutError: with `strict`.
        TypeError: for what is no id.
        ValueError: for more than 8 million ids of one worker.
    """
    here, others = sort_out(ids)
    way = get_elsewhere()
    if way is not None and others:
        here |= await way.census.live(others, strict)
    return here


class _Poll:
    """A question that other workers have not all answered yet.

    Args:
        asked: their addresses.
        take: makes something of an answer: given the address and the body.
    """

    def __init__(self, asked: Iterable[int], take: Callable[[int, bytes], Any]) -> None:
        self.missing = set(asked)
        self.taken: list[Any] = []
        self._take = take
        self._done = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def answer(self, address: int, body: bytes) -> None:
        """Take the answer of a worker, in the thread of the bus."""
        if address in self.missing:
            self.taken.append(self._take(address, body))
            self.forget(address)

    def forget(self, address: int) -> None:
        """Expect no answer from it any more."""
        self.missing.discard(address)
        if not self.missing:
            with contextlib.suppress(RuntimeError):  # nobody waits: that loop is closed
                self._loop.call_soon_threadsafe(self._done.set)

    async def wait(self) -> None:
        """Wait until all have answered.

        Raises:
            TimeoutError: when they take too long.
        """
        if self.missing:
            await asyncio.wait_for(self._done.wait(), _ANSWER_WITHIN)


class Census:
    """Asks the other workers about their sockets, in any loop, and answers them.

    What other workers call runs in the loop of the bus.

    Args:
        bus: how they are reached.
        find: returns the set here that has a channel, or None.
    """

    def __init__(self, bus: Bus, find: Callable[[bytes], SocketSet | None]) -> None:
        self._bus = bus
        self._find = find
        self._tokens = itertools.count(1)
        self._polls: dict[int, _Poll] = {}
        self._silent: set[int] = set()  # those that the log has named

    # --- asking -----------------------------------------------------------------------------

    async def count(self, members: SocketSet, strict: bool) -> int:
        """Return how many members a set has in all workers."""
        found = await self._ask_all(COUNT, members, lambda _, body: unpack_number(body), strict)
        others: int = sum(found)
        return len(members) + others

    async def ids(self, members: SocketSet, strict: bool) -> list[int]:
        """Return the ids of the members of a set in all workers."""
        found = await self._ask_all(IDS, members, lambda _, body: unpack_ids(body), strict)
        ids = members.ids()
        for others in found:
            ids.extend(others)
        return ids

    async def live(self, others: Mapping[int, list[int]], strict: bool) -> set[int]:
        """Return which of the ids of other workers, by their addresses, are open."""
        known = self._bus.peers.known
        asked = {address: ids for address, ids in others.items() if address in known}
        found = await self._ask(
            LIVE,
            {address: pack_ids(ids) for address, ids in asked.items()},
            lambda address, bits: pick(asked[address], bits),
            strict,
        )
        return {id for ids in found for id in ids}

    async def _ask_all(
        self, what: int, members: SocketSet, take: Callable[[int, bytes], Any], strict: bool
    ) -> list[Any]:
        channel = members.members.channel or b""
        return await self._ask(what, dict.fromkeys(self._bus.peers.known, channel), take, strict)

    async def _ask(
        self,
        what: int,
        bodies: Mapping[int, bytes],
        take: Callable[[int, bytes], Any],
        strict: bool,
    ) -> list[Any]:
        """Send each worker its question and return what `take` has made of the answers."""
        token = next(self._tokens) & 0xFFFFFFFF
        poll = self._polls[token] = _Poll(bodies, take)
        try:
            for address, body in bodies.items():
                question = Question(what, token, self._bus.address, body)
                self._bus.send(address, encode_question(question))
            for address in bodies.keys() - self._bus.peers.known.keys():
                poll.forget(address)  # it left before we could be told of it
            with contextlib.suppress(TimeoutError):
                await poll.wait()
        finally:
            del self._polls[token]
        self._complain(poll.missing.copy(), strict)
        return poll.taken

    def _complain(self, missing: set[int], strict: bool) -> None:
        """Say who has not answered: once each, until they answer again."""
        if not missing:
            return
        names = ", ".join(map(describe_address, sorted(missing)))
        if strict:
            raise TimeoutError(f"not answered in time: {names}")
        if not missing <= self._silent:
            self._silent |= missing
            logger.warning(
                "not counted, as they have not answered within %g seconds: %s",
                _ANSWER_WITHIN,
                names,
            )

    # --- from others ------------------------------------------------------------------------

    def asked(self, data: bytes) -> None:
        """Answer a question.

        Raises:
            ValueError: when it is none.
        """
        question = decode_question(data)
        if question.what == LIVE:
            body = open_bits(unpack_ids(question.body))
        else:
            found = self._find(question.body)
            if question.what == COUNT:
                body = pack_number(0 if found is None else len(found))
            else:
                body = pack_ids(() if found is None else found.ids())
        answer = Answer(question.token, self._bus.address, body)
        self._bus.send(question.address, encode_told(answer))

    def told(self, data: bytes) -> None:
        """Hear an answer.

        Raises:
            ValueError: when it is none.
        """
        answer = decode_told(data)
        self._silent.discard(answer.address)
        poll = self._polls.get(answer.token)
        if poll is not None:
            poll.answer(answer.address, answer.body)

    def left(self, address: int) -> None:
        """A worker has ended: it answers nothing any more."""
        self._silent.discard(address)
        for poll in list(self._polls.values()):
            poll.forget(address)
