"""One driver for each running loop, shared by the servers in it."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TypeAlias
from weakref import ReferenceType, WeakKeyDictionary, ref

from wsgroups.drivers.transports import TransportDriver

if sys.platform == "linux":
    from wsgroups.drivers.epoll import EpollDriver

    ServingDriver: TypeAlias = EpollDriver | TransportDriver
    # The best first.
    _kinds: dict[str, type[ServingDriver]] = {"epoll": EpollDriver, "transports": TransportDriver}
else:
    ServingDriver: TypeAlias = TransportDriver
    _kinds: dict[str, type[ServingDriver]] = {"transports": TransportDriver}

# What `auto` means, for all servers of a process: so that whole test suites can run on each.
_VARIABLE = "WSGROUPS_DRIVER"

# Weak on both sides: a driver refers to its loop, which is what keeps it.
_drivers: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[ReferenceType[ServingDriver], int]] = (
    WeakKeyDictionary()
)


def acquire_driver(loop: asyncio.AbstractEventLoop, name: str = "auto") -> ServingDriver:
    """Return the driver of a running loop, made for its first user; in the loop's thread.

    Args:
        loop: the running loop.
        name: as the option `driver` of ServerConfig has it.

    Raises:
        ValueError: for a driver that this system does not have.
        RuntimeError: when the loop has another driver already.
    """
    wanted = name if name != "auto" else os.environ.get(_VARIABLE, "auto")
    if wanted == "auto":
        wanted = next(iter(_kinds))
    if wanted not in _kinds:
        raise ValueError(f"there is no driver {wanted!r} here, only {' and '.join(_kinds)}")
    found, users = _drivers.get(loop, (None, 0))
    driver = found() if found else None
    if driver is None:
        driver, users = _kinds[wanted](loop), 0
    elif name != "auto" and type(driver) is not _kinds[name]:
        (other,) = (each for each, kind in _kinds.items() if type(driver) is kind)
        raise RuntimeError(
            f"a server in this loop uses the driver {other!r}, and a loop has one driver: "
            f"give this server driver={other!r} too, or a loop of its own"
        )
    _drivers[loop] = (ref(driver), users + 1)
    return driver


def _abandon_all() -> None:
    """A fork has copied every descriptor: the sockets are the parent's, and only the parent's.

    Kept open here, they would stay open for the peers when the parent closes them.
    """
    for found, _ in list(_drivers.values()):
        driver = found()
        if driver is not None and not driver.is_closed:
            driver.abandon()
    _drivers.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_abandon_all)


def release_driver(loop: asyncio.AbstractEventLoop) -> None:
    """Give up the driver; its last user closes it."""
    found, users = _drivers[loop]
    if users > 1:
        _drivers[loop] = (found, users - 1)
        return
    del _drivers[loop]
    driver = found()
    if driver is not None:
        driver.close()
