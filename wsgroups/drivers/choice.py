"""One driver for each running loop, shared by the servers in it."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from wsgroups.drivers.epoll import EpollDriver

_drivers: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[EpollDriver, int]] = (
    WeakKeyDictionary()
)


def acquire_driver(loop: asyncio.AbstractEventLoop) -> EpollDriver:
    """Return the driver of a running loop, made for its first user; in the loop's thread."""
    driver, users = _drivers.get(loop, (None, 0))
    if driver is None:
        driver = EpollDriver(loop)
    _drivers[loop] = (driver, users + 1)
    return driver


def release_driver(loop: asyncio.AbstractEventLoop) -> None:
    """Give up the driver; its last user closes it."""
    driver, users = _drivers[loop]
    if users > 1:
        _drivers[loop] = (driver, users - 1)
    else:
        del _drivers[loop]
        driver.close()
