"""Signals where the loop cannot handle them itself, as on Windows."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import TypeVarTuple

from wsgroups.server.running import _on_signal

Arguments = TypeVarTuple("Arguments")


class _Loop(asyncio.SelectorEventLoop):
    """Refuses as the loops of Windows do."""

    def add_signal_handler(
        self, sig: int, callback: Callable[[*Arguments], object], *args: *Arguments
    ) -> None:
        raise NotImplementedError


def test_a_loop_without_signal_handlers_hears_signals_all_the_same() -> None:
    loop = _Loop()
    before = signal.getsignal(signal.SIGTERM)
    heard = []

    def handle() -> None:
        heard.append("SIGTERM")
        loop.stop()

    put_back = _on_signal(loop, signal.SIGTERM, handle)
    try:
        loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)
        loop.run_forever()
    finally:
        put_back()
        loop.close()
    assert heard == ["SIGTERM"]
    assert signal.getsignal(signal.SIGTERM) is before
