"""One driver for each running loop, shared by the servers in it."""

from __future__ import annotations

import asyncio
import os
from weakref import ReferenceType, WeakKeyDictionary, ref

from wsgroups.drivers.epoll import EpollDriver

# Weak on both sides: a driver refers to its loop, which is what keeps it.
_drivers: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[ReferenceType[EpollDriver], int]] = (
    WeakKeyDictionary()
)


def acquire_driver(loop: asyncio.AbstractEventLoop) -> EpollDriver:
    """Return the driver of a running loop, made for its first user; in the loop's thread."""
    found, users = _drivers.get(loop, (None, 0))
    driver = found() if found else None
    if driver is None:
        driver, users = EpollDriver(loop), 0
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
