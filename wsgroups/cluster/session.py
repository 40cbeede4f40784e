"""One connection to a broker, from its beginning to its end: what each kind of broker does."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

CONNECT_WITHIN = 2.0  # seconds
_ANSWER_WITHIN = 6.0  # seconds for the broker to answer, before its connection is given up
_AT_ONCE = 1000  # subjects in one command
_CLOSE_WITHIN = 0.2  # seconds; all that matters was confirmed before

OnPayload = Callable[[bytes, bytes], None]


class Session(ABC):
    """A connection that is never mended: when it is lost, the next one is made.

    For one loop's thread. What one task publishes and subscribes to takes effect in that order.

    Attributes:
        largest: bytes of a payload that the broker takes.
        lost: done when the connection is gone.
    """

    largest: int
    lost: asyncio.Future[None]

    @classmethod
    @abstractmethod
    async def open(cls, url: str, on_payload: OnPayload) -> Session:
        """Connect; `on_payload` is called with subject and payload of what comes.

        Raises:
            OSError: when the broker cannot be reached within two seconds, or turns us away.
        """

    @abstractmethod
    async def subscribe(self, subjects: Iterable[bytes]) -> None:
        """Ask for what is published on subjects: letters, digits and dots."""

    @abstractmethod
    async def unsubscribe(self, subjects: Iterable[bytes]) -> None:
        """Ask for no more of it."""

    @abstractmethod
    async def publish(self, payloads: list[tuple[bytes, bytes]]) -> None:
        """Publish payloads on subjects, and wait as long as the broker is behind."""

    @abstractmethod
    async def sync(self) -> None:
        """Wait until the broker has done what was asked, and what it had for us before is here.

        Raises:
            Exception: of the client library or ConnectionError, when the broker is lost.
        """

    @abstractmethod
    async def close(self) -> None:
        """End the connection; never raises."""

    def end(self) -> None:
        """Note that the connection is gone."""
        if not self.lost.done():
            self.lost.set_result(None)


async def answer_comes(answer: asyncio.Future[Any]) -> bool:
    """Tell whether a broker's answer comes in time, or fails; however busy we are ourselves."""
    for patience in (_ANSWER_WITHIN, 0.2):  # the second one after our own loop was blocked
        await asyncio.wait([answer], timeout=patience)
        if answer.done():
            return True
    return False


async def end_tasks(tasks: Iterable[asyncio.Future[None]], again: float) -> None:
    """Cancel tasks, every so many seconds: a client library may take a cancellation for its own."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=again)


async def close_within(closing: Coroutine[Any, Any, None], abort: Callable[[], None]) -> None:
    """Have a client library close its connection, for a moment; then `abort` is to do so."""
    task = asyncio.ensure_future(closing)
    await asyncio.wait([task], timeout=_CLOSE_WITHIN)
    with contextlib.suppress(Exception):  # asyncio's raises when the last byte has just gone
        abort()
    await end_tasks([task], _CLOSE_WITHIN)
    if not task.cancelled():
        task.exception()  # which matters to nobody


def batches(subjects: Iterable[bytes]) -> Iterable[list[bytes]]:
    """Cut what a command would take all at once."""
    left = iter(subjects)
    while batch := list(islice(left, _AT_ONCE)):
        yield batch


def split_url(url: str) -> tuple[str, str]:
    """Return the URL for the client library, and the application's name in `?app=`.

    Raises:
        ValueError: for anything else behind the question mark.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    app = query.pop("app", ["wsgroups"])[-1]
    if query:
        raise ValueError(f"{display(url)}: there is no option {next(iter(query))!r}; only 'app'")
    if not app.isascii() or not app.isalnum():
        raise ValueError(f"{display(url)}: the name of an application has letters and digits only")
    return urlunsplit(parts._replace(query="")), app


def display(url: str) -> str:
    """Return the URL without user and password, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
