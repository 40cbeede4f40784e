"""Workers that cannot be started, do not come up or do not end, and what the supervisor does."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.cluster.workers import health, workers_of
from tests.faults.service import wait_until
from tests.support import Program

APP = """
import os
import time

from wsgroups import Handle

handle = Handle()
if os.path.exists("crash"):
    os._exit(3)


@handle.get("/pid")
def pid(request):
    return str(os.getpid())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the application is, and nobody else's workers."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def command(folder: Path, *options: str, before: str = "") -> Program:
    """Serve the application with two workers.

    Args:
        folder: where it is.
        options: of the command.
        before: Python code that every process runs first.
    """
    code = f"{before}\nfrom wsgroups.command.cli import main\nmain()"
    arguments = ("-c", code, "app", "--workers=2", "--port=0", "--health-path=/health", *options)
    return Program(*arguments, cwd=folder)


def status_of(port: int) -> object:
    """Return what one of the workers that serve says of the service."""
    while True:
        with contextlib.suppress(TimeoutError):  # it came to where no worker is
            return health(port, 0.5)[1]["status"]


def test_a_restart_that_repairs_a_crash_loop_is_told_by_the_health(folder: Path) -> None:
    with command(folder) as program:
        port = program.port()
        workers = workers_of(program, 2)
        (folder / "crash").touch()
        os.kill(max(workers), signal.SIGKILL)
        wait_until(lambda: status_of(port) == "failing")
        (folder / "crash").unlink()
        program.send_signal(signal.SIGHUP)
        wait_until(lambda: status_of(port) == "ok")
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
