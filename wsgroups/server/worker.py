"""One of several worker processes: what its supervisor tells it, its place among the others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from wsgroups.cluster.bus import Bus, Receiver
from wsgroups.cluster.leases import Lease, lease_number, remove_directory
from wsgroups.cluster.node import NodeBus
from wsgroups.cluster.unix import UnixBus
from wsgroups.ids import sequence

HURRY = signal.SIGINT  # has a worker end its drain
READY = "ready "  # begins the note that tells where a worker listens
_ALIVE = "alive"  # a note that shows that the loop turns, whatever else it says
_ALIVE_EVERY = 1.0  # seconds
_VARIABLE = "WSGROUPS_WORKER"
# The supervisor is gone: sockets are closed for so long, and so long after that we are gone, too.
_DRAIN_WITHOUT_SUPERVISOR = 1.0  # seconds
_EXIT_WITHOUT_SUPERVISOR = 1.7
_LIFELINE_LATER = 0.3
# What a supervisor has opened in our place, or has to do with it alone.
_NOT_FOR_WORKERS = ("host", "port", "uds", "uds_mode", "uds_owner", "reuse_port", "bus", "node")


@dataclass(frozen=True, slots=True)
class Orders:
    """What a supervisor tells a worker that it starts, in the environment.

    Attributes:
        directory: where the worker numbers are leased.
        hub: the path of the hub's socket.
        node: the number of the node; 0 for one alone.
        broker: the URL of what joins it with others, if something does.
        lifeline: the descriptor of a pipe that ends with the supervisor.
        listeners: the descriptors of listening sockets.
    """

    directory: str
    hub: str
    node: int
    broker: str | None
    lifeline: int
    listeners: tuple[int, ...]

    @classmethod
    def take(cls) -> Self | None:
        """Return the orders of this process, once: what it starts itself is no worker."""
        given = os.environ.pop(_VARIABLE, None)
        if given is None:
            return None
        orders = json.loads(given)
        os.set_inheritable(orders["lifeline"], False)
        return cls(**{**orders, "listeners": tuple(orders["listeners"])})

    def environment(self) -> dict[str, str]:
        """Return the environment for a worker with these orders."""
        return {**os.environ, _VARIABLE: json.dumps(asdict(self))}

    def options(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return what the worker's own server is to do of what all are."""
        kept = {name: value for name, value in config.items() if name not in _NOT_FOR_WORKERS}
        return {**kept, "workers": 1, "fd": list(self.listeners)}


def is_worker() -> bool:
    """True in a process that a supervisor has started, until its orders are taken."""
    return _VARIABLE in os.environ


class Shared(Protocol):
    """An application whose sockets can be reached from other workers."""

    def join_bus(self, bus: Bus) -> Receiver:
        """Share sockets, groups and rooms; return what the bus is to call."""

    def leave_bus(self) -> None:
        """Share nothing any more."""


class Place:
    """A worker's place among the others, for `async with`, in the loop that it serves in.

    Args:
        orders: of the supervisor.
        app: what is shared.
        on_cut_off: called when the supervisor is gone, first with False: stop now; then with True:
            drop what is left.
        on_health: called with what the supervisor tells of the service.
    """

    def __init__(
        self,
        orders: Orders,
        app: Shared,
        on_cut_off: Callable[[bool], None],
        on_health: Callable[[dict[str, Any]], None],
    ) -> None:
        self._orders = orders
        self._app = app
        self._on_cut_off = on_cut_off
        self._on_health = on_health
        self._lease: Lease | None = None
        self._bus: UnixBus | NodeBus | None = None
        self._has_lost_hub = False
        self._living: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        """Lease a number and connect to the hub.

        Raises:
            OSError: when there is no number, or no hub.
        """
        # A thread of its own, because a handler may block the loop.
        threading.Thread(target=self._hold_lifeline, name="wsgroups-lifeline", daemon=True).start()
        self._lease = lease_number(self._orders.directory)
        sequence.move(self._orders.node, self._lease.number)
        self._bus = self._make_bus()
        await self._bus.start(self._app.join_bus(self._bus))
        self._live(self._bus)
        return self

    def _live(self, bus: UnixBus | NodeBus) -> None:
        """Give a sign of life each second: of the loop, so no thread may give it."""
        bus.note(_ALIVE)
        self._living = self._loop.call_later(_ALIVE_EVERY, self._live, bus)

    def _make_bus(self) -> UnixBus | NodeBus:
        address, since = sequence.address, sequence.begun

        def note(text: str) -> None:
            self._on_health(json.loads(text))

        # Without the hub nobody can reach our sockets: we drain, and a successor takes our place.
        hub, lost = self._orders.hub, self._hub_lost
        if self._orders.broker is None:
            return UnixBus(hub, address, since, on_lost=lost, on_note=note)
        return NodeBus(hub, self._orders.broker, address, since, on_lost=lost, on_note=note)

    async def __aexit__(self, *_: object) -> None:
        """Leave; the number is free when the process has ended."""
        self._app.leave_bus()
        if self._living is not None:
            self._living.cancel()
        if self._bus is not None:
            await self._bus.stop()
        # The hub goes a moment before the lifeline, or after it; the thread may be too late.
        patience = _LIFELINE_LATER if self._has_lost_hub else 0.0
        if select.select([self._orders.lifeline], [], [], patience)[0]:
            remove_directory(self._orders.directory)

    def ready(self, url: str) -> None:
        """Tell the supervisor where this worker serves."""
        if self._bus is not None:
            self._bus.note(READY + url)

    def _hold_lifeline(self) -> None:
        """End the process soon after the supervisor, however that ended."""
        with contextlib.suppress(OSError):
            while os.read(self._orders.lifeline, 1):
                pass
        began = time.monotonic()
        remove_directory(self._orders.directory)
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._cut_off)
        time.sleep(max(0.0, began + _EXIT_WITHOUT_SUPERVISOR - time.monotonic()))
        os._exit(1)

    def _hub_lost(self) -> None:
        self._has_lost_hub = True
        self._on_cut_off(False)

    def _cut_off(self) -> None:
        self._on_cut_off(False)
        self._loop.call_later(_DRAIN_WITHOUT_SUPERVISOR, self._on_cut_off, True)
