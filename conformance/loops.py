"""The event loops that the suite is run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import uvloop

Loop = Literal["asyncio", "uvloop"]

LOOPS: dict[Loop, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
