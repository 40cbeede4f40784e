"""Calls that wait behind a suspended handler, in the form of functions of a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Given:
    """Returns what is there already: what a plain function got from an `async def` inside it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, *_: Any) -> Any:
        """Return the value, whatever the arguments."""
        return self.value


class ErrorHandling:
    """The call of an error handler, told apart because it must not be called for its own error.

    Args:
        function: takes (error, socket).
        error: what another handler raised.
        socket: where; it may have parted from its connection by now.
    """

    __slots__ = ("error", "function", "socket")

    def __init__(self, function: Callable[..., Any], error: BaseException, socket: Any) -> None:
        self.function = function
        self.error = error
        self.socket = socket

    def __call__(self, _: Any) -> Any:
        """Call the error handler."""
        return self.function(self.error, self.socket)
