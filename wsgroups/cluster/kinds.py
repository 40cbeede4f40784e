"""Which kind of bus a URL means: the one place where the kinds are listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wsgroups.cluster.broker import BrokerBus
from wsgroups.cluster.bus import Bus
from wsgroups.cluster.keeper import OpenSession
from wsgroups.cluster.session import display, split_url
from wsgroups.cluster.unix import UnixBus


class Opener(Protocol):
    """What makes the buses of one kind; they are not started yet."""

    def __call__(
        self,
        url: str,
        address: int,
        since: int,
        *,
        on_lost: Callable[[], None] | None,
        on_note: Callable[[str], None] | None,
    ) -> Bus:
        """Return a bus.

        Raises:
            ValueError: when the URL says too little.
        """


def open_bus(
    url: str,
    address: int,
    since: int = 0,
    *,
    on_lost: Callable[[], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Bus:
    """Return a place on the bus that a URL names, to be started.

    Args:
        url: `unix:/path/hub.sock`, `nats://host:4222` or `redis://host:6379`.
        address: as of `Bus`; of somebody without sockets `visitor_address()`.
        since: the id sequence that this worker began above.
        on_lost: called in the bus's loop when the bus is gone.
        on_note: called there with what the supervisor tells all workers.

    Raises:
        ValueError: when it names none, with what is possible.
    """
    scheme, colon, _ = url.partition(":")
    opener = _KINDS.get(scheme + colon)
    if opener is None:
        raise ValueError(f"{display(url)!r} is no bus; write it like {' or '.join(_EXAMPLES)}")
    return opener(url, address, since, on_lost=on_lost, on_note=on_note)


def hub_of(url: str) -> str | None:
    """Return the path of the hub that a supervisor keeps for a bus; None for one that needs none.

    Raises:
        ValueError: as of `open_bus`.
    """
    open_bus(url, 0)
    return _path(url) if url.startswith("unix:") else None


def _unix(
    url: str,
    address: int,
    since: int,
    *,
    on_lost: Callable[[], None] | None,
    on_note: Callable[[str], None] | None,
) -> Bus:
    return UnixBus(_path(url), address, since, on_lost=on_lost, on_note=on_note)


def _path(url: str) -> str:
    """Return the path in `unix:/path`, or in `unix:///path`, which some write as well."""
    path = url.removeprefix("unix:")
    path = path.removeprefix("//") if path.startswith("///") else path
    if not path or "\0" in path or path.startswith("//"):
        meant = path.strip("/") if "\0" not in path else ""
        raise ValueError(f"{url!r} names no path; write unix:/{meant or 'run/app/hub.sock'}")
    return path


def _broker(
    url: str,
    address: int,
    since: int,
    *,
    on_lost: Callable[[], None] | None,
    on_note: Callable[[str], None] | None,
) -> Bus:
    """A broker that goes away comes back; what can be lost for good is the address on it."""
    split_url(url)  # first of all: which library it needs is the smaller question
    return BrokerBus(url, session_of(url), address, since, on_taken=on_lost)


def session_of(url: str) -> OpenSession:
    """Return what connects to a broker. Its client library is imported only when it is needed.

    Raises:
        ValueError: when the library is not installed.
    """
    name = _LIBRARIES[url.partition(":")[0]]
    try:
        if name == "nats":
            from wsgroups.cluster.nats import NatsSession

            return NatsSession.open
        from wsgroups.cluster.redis import RedisSession

        return RedisSession.open
    except ModuleNotFoundError:
        raise ValueError(
            f"{_PACKAGES[name]!r} is not installed, which {url.partition(':')[0]}:// needs: "
            f"pip install 'wsgroups[{name}]'"
        ) from None


_LIBRARIES = {
    "nats": "nats",
    "tls": "nats",
    "redis": "redis",
    "rediss": "redis",
    "valkey": "redis",
}
_PACKAGES = {"nats": "nats-py", "redis": "redis"}
_KINDS: dict[str, Opener] = {"unix:": _unix, **{f"{name}:": _broker for name in _LIBRARIES}}
_EXAMPLES = ("unix:/run/app/hub.sock", "nats://host:4222", "redis://host:6379")
