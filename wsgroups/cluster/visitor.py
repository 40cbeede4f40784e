"""Somebody without sockets on a bus: a script, a task queue, a cron job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from wsgroups.cluster.bus import Bus, room_on, visitor_address
from wsgroups.cluster.describing import (
    DESCRIPTION,
    Description,
    decode_description,
    encode_question,
)
from wsgroups.cluster.kinds import open_bus
from wsgroups.cluster.messages import Answer, Key, Many, decode_sent, encode_many
from wsgroups.cluster.owners import Owners
from wsgroups.cluster.session import display
from wsgroups.enums import SendResult
from wsgroups.errors import BusUnreachableError

_REACHED_WITHIN = 5.0  # seconds for a bus to take us
_BACK_WITHIN = 5.0  # seconds for a broker that is away
_LOOK_AGAIN = 0.05  # seconds
_TAKEN_WITHIN = 30.0  # seconds for it to take a message


class Visitor:
    """Sends to the sockets of all workers. Everything in one loop.

    The bus may be lost when its server restarts; the next message looks for it again.

    Args:
        url: of the bus.

    Raises:
        ValueError: when the URL names no bus.
    """

    def __init__(self, url: str) -> None:
        open_bus(url, 0)  # which says what is wrong with it
        self._url = url
        self._name = display(url)  # without the password
        self._place: _Place | None = None
        self._opening: asyncio.Lock | None = None

    async def open(self) -> None:
        """Go to the bus.

        Raises:
            BusUnreachableError: when that is not possible, with the reason.
        """
        self._opening = asyncio.Lock()
        await self._find_place()

    async def close(self) -> None:
        """Leave it."""
        place, self._place = self._place, None
        if place is not None:
            await place.bus.stop()
            place.owners.lose(ConnectionError("the bus is left"))

    async def deliver(
        self, what: int, id: int, data: bytes, flags: int = 0, key: Key = None
    ) -> SendResult:
        """Send a message for one socket; as `Owners.deliver`."""
        async with self._on_bus() as place:
            return await place.owners.deliver(what, id, data, flags, key)

    async def publish(self, channel: bytes, message: Many) -> None:
        """Send a message for all members of a set; returns when the bus has taken it."""
        async with self._on_bus() as place:
            await room_on(place.bus)
            place.bus.publish(channel, encode_many(message))
            await place.bus.sync()

    async def describe(self) -> dict[int, tuple[int, Description | None]]:
        """Ask all workers what they serve.

        Returns:
            dict: for the address of each, the id sequence that it began above, and what it says;
            None when it has not answered within five seconds.
        """
        async with self._on_bus() as place:
            known = dict(place.bus.peers.known)
            said = await asyncio.gather(*(place.ask(address) for address in known))
        return {address: (known[address], each) for address, each in zip(known, said, strict=True)}

    @asynccontextmanager
    async def _on_bus(self) -> AsyncIterator[_Place]:
        """Give the place on the bus, and explain what goes wrong with it."""
        place = await self._find_place()
        await self._until_back(place.bus)
        try:
            async with asyncio.timeout(_TAKEN_WITHIN):
                yield place
        except TimeoutError:
            raise BusUnreachableError(
                f"the bus {self._name} takes nothing: does its server stand still?"
            ) from None
        except ConnectionError:
            raise BusUnreachableError(
                f"the bus {self._name} was lost before it said what it did: its server has ended. "
                "What was sent may have arrived, or may not"
            ) from None

    async def _until_back(self, bus: Bus) -> None:
        """Wait for a broker that is away.

        What is given to the bus meanwhile goes when the broker is back: whoever is told that it was
        not sent, and tries again, would send it twice.
        """
        try:
            async with asyncio.timeout(_BACK_WITHIN):
                while not bus.is_connected:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_AGAIN)  # nothing tells of it
        except TimeoutError:
            raise BusUnreachableError(
                f"the bus {self._name} is away; nothing was sent. Try again when it is back"
            ) from None

    async def _find_place(self) -> _Place:
        if self._place is not None:
            return self._place
        assert self._opening is not None, "open() comes first"
        async with self._opening:
            if self._place is None:
                self._place = await self._take_place()
            return self._place

    async def _take_place(self) -> _Place:
        place = _Place(self._url, self._lost)
        try:
            async with asyncio.timeout(_REACHED_WITHIN):
                await place.bus.start(place)
        except TimeoutError:
            raise BusUnreachableError(f"the bus {self._name} does not answer") from None
        except OSError as error:
            raise BusUnreachableError(_explained(self._name, error)) from None
        return place

    def _lost(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.owners.lose(ConnectionError("the bus is lost"))


class _Place:
    """A place on the bus, until that is lost; what the bus calls."""

    def __init__(self, url: str, on_lost: Callable[[], None]) -> None:
        self.bus: Bus = open_bus(url, visitor_address(), on_lost=on_lost)
        self.owners = Owners(self.bus)

    async def ask(self, address: int) -> Description | None:
        """Have a worker describe itself."""

        def send(token: int) -> None:
            self.bus.send(address, encode_question(token, self.bus.address))

        with suppress(TimeoutError):
            said: Description = await self.owners.ask(send)
            return said
        return None

    def received(self, data: bytes) -> None:
        """A worker answers."""
        if data[:1] == bytes((DESCRIPTION,)):
            self.owners.hear(*decode_description(data))
            return
        message = decode_sent(data)
        if isinstance(message, Answer):
            self.owners.hear(message.token, message.result)

    def published(self, channel: bytes, data: bytes) -> None:
        """Nothing is subscribed to."""

    def gap(self, count: int) -> None:
        """Answers are lost: whoever waits for one is told that there was none."""

    def came(self, address: int) -> None:
        """Workers are asked for when they are needed."""

    def left(self, address: int) -> None:
        """The same."""


def _explained(url: str, error: OSError) -> str:
    """Say why there is no way to a bus, and what to do."""
    if isinstance(error, PermissionError):
        return (
            f"the bus {url} belongs to another user; run this as the user that the server runs as"
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"no server keeps a bus at {url}; start it with --bus {url}"
    if error.strerror is None:
        return str(error)
    return f"there is no way to the bus {url}: {error.strerror}"
