"""Development: a server that starts anew when the code changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from watchfiles import PythonFilter, watch

_PATIENCE = 35.0  # seconds: a little more than the default drain


def run_with_reload(arguments: Sequence[str]) -> None:
    """Run the same command without `--reload` in a child process, again after each change.

    A child that fails to start stays down until the next change. Returns after SIGINT or SIGTERM.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    child = _start(arguments)
    try:
        for changes in watch(
            Path.cwd(), watch_filter=PythonFilter(), stop_event=stop, raise_interrupt=False
        ):
            names = sorted({Path(path).name for _, path in changes})
            print(f"{', '.join(names)} changed; starting anew", file=sys.stderr, flush=True)
            _end(child)
            child = _start(arguments)
    finally:
        _end(child)


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    rest = [argument for argument in arguments[1:] if argument != "--reload"]
    return subprocess.Popen([sys.executable, "-m", "wsgroups", *rest, "--restart"])


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
