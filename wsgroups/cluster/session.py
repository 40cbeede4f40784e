"""One connection to a broker, from its beginning to its end: what each kind of broker does."""

from __future__ import annotations

import asyncio
import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable
from itertools import islice
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit, urlunsplit

CONNECT_WITHIN = 2.0  # seconds
_ANSWER_WITHIN = 6.0  # seconds for the broker to answer, before its connection is given up
_AT_ONCE = 1000  # subjects in one command
_OF_CLUSTERS = ("nats", "tls")  # schemes of URLs that may name several hosts
_CLOSE_WITHIN = 0.2  # seconds; all that matters was confirmed before

OnPayload = Callable[[bytes, bytes], None]


class Session(ABC):
    """A connection that is never mended: when it is lost, the next one is made.

    For one loop's thread. What one task publishes and subscribes to takes effect in that order.

    Attributes:
        largest: bytes of a payload that the broker takes.
        arrivals: messages that have come.
        lost: done when the connection is gone.
    """

    largest: int
    arrivals: int
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
        ValueError: when the URL names no host, or a port that is none, or for anything else behind
            the question mark. No message shows a part of the password.
    """
    _check_hosts(url)
    parts = _read(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    app = query.pop("app", ["wsgroups"])[-1]
    if query:
        raise ValueError(f"{display(url)}: there is no option {next(iter(query))!r}; only 'app'")
    if not app.isascii() or not app.isalnum():
        raise ValueError(f"{display(url)}: the name of an application has letters and digits only")
    return urlunsplit(parts._replace(query="")), app


def _read(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # whose message may show the password
        raise _unreadable(url) from None


def _unreadable(url: str) -> ValueError:
    what_to_do = "in a user or password write / as %2F, ? as %3F, # as %23, @ as %40 and : as %3A"
    if _parts(url)[0] in _OF_CLUSTERS:  # nats-py takes them as they are written
        what_to_do = "no user or password for NATS may have one of / ? # , in it"
    return ValueError(f"{display(url)!r} cannot be read: {what_to_do}")


def _check_hosts(url: str) -> None:
    """Raise ValueError for a URL that leads nowhere: client libraries say that late, and oddly."""
    scheme, mark, hosts, rest = _parts(url)
    scheme = scheme if mark else scheme.partition(":")[0]
    if "@" in rest:  # the host would be what is the user's name
        raise _unreadable(url)
    example = f"{scheme}://host:{4222 if scheme in _OF_CLUSTERS else 6379}"
    for each in _list_of(scheme, hosts):
        host, has_port = _host(each)
        if not host or "," in host:
            raise ValueError(f"{display(url)!r} names no host; write it like {example}")
        if not has_port:
            raise ValueError(
                f"{display(url)!r}: the port of {host!r} must be a number, 1 to 65535; "
                f"write it like {example}"
            )


def display(url: str) -> str:
    """Return the URL without user, password and options, for messages.

    In one that is malformed anything may be the password: what could be a part of it is left out.
    """
    if url.startswith("unix:"):
        return url
    scheme, mark, hosts, rest = _parts(url)
    if not mark:
        head, colon, _ = url.partition(":")
        return url if "@" not in url else f"{head}:..." if colon else "..."
    if "@" in rest:
        return f"{scheme}://..."
    given = _list_of(scheme, hosts)
    last = max((place for place, each in enumerate(given) if "@" in each), default=-1)
    shown = []
    for place, each in enumerate(given):
        if "@" in each or place > last:  # otherwise it may begin a password with a comma in it
            host, has_port = _host(each)
            shown.append(each.rpartition("@")[2] if has_port else host)
    path = re.split(r"[?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{','.join(shown)}{path}"


def _parts(url: str) -> tuple[str, str, str, str]:
    """Return the scheme, `://` if it is there, users and hosts, and what stands behind them."""
    scheme, mark, rest = url.partition("://")
    hosts = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return scheme, mark, hosts, rest[len(hosts) :]


def _list_of(scheme: str, hosts: str) -> list[str]:
    """Return hosts, each with its user: elsewhere a comma is one of a password."""
    return hosts.split(",") if scheme in _OF_CLUSTERS else [hosts]


def _host(given: str) -> tuple[str, bool]:
    """Return the host in `user:password@host:port`, and whether the port is one, or left out."""
    try:
        parts = urlsplit("//" + given.rpartition("@")[2])
        host = parts.hostname or ""
    except ValueError:  # brackets that belong to no address
        return "", False
    try:
        return host, parts.port != 0
    except ValueError:
        return host, False
