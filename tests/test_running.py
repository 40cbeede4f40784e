"""Signals where the loop cannot handle them itself, as on Windows."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVarTuple

import pytest

from tests.support import Program, quiet_handle
from wsgroups.server.running import _on_signal

Arguments = TypeVarTuple("Arguments")


class _Loop(asyncio.SelectorEventLoop):
    """Refuses as the loops of Windows do."""

    def add_signal_handler(
        self, sig: int, callback: Callable[[*Arguments], object], *args: *Arguments
    ) -> None:
        raise NotImplementedError


SERVING = """
import sys, threading, time, urllib.request
from wsgroups import Handle

handle = Handle()
handle.get("/")(lambda request: "served")
threading.Thread(target=handle.run, kwargs={"port": int(sys.argv[1])}, daemon=True).start()
for _ in range(1000):
    try:
        print(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}").read().decode())
        break
    except OSError:
        time.sleep(0.01)
"""


def test_a_thread_may_serve_without_signals(tmp_path: Path) -> None:
    """Only the main thread can be told of them. The server ends with the process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Program("-c", SERVING, str(port), cwd=tmp_path) as program:
        assert program.wait() == 0
        assert program.output.strip() == "served"


async def test_where_a_loop_runs_it_is_told_what_to_do_there(
    recwarn: pytest.WarningsRecorder,
) -> None:
    for config in ({}, {"workers": 2}):
        with pytest.raises(RuntimeError, match="use `async with wsgroups"):
            quiet_handle().run(port=0, **config)
    gc.collect()
    assert not [each for each in recwarn if "never awaited" in str(each.message)]


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
