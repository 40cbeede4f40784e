import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from logging import Logger
from typing import Any

logger: Logger
current_socket: ContextVar[Any]

class Driver:
    def __new__(cls, loop: asyncio.AbstractEventLoop) -> Driver: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def count(self) -> int: ...
    @property
    def watchers(self) -> list[Callable[[], object]]: ...
    def call(self, function: Callable[[], object]) -> None: ...

class Stream: ...
