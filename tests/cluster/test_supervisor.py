"""Workers that cannot be started, do not come up or do not end, and what the supervisor does."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.cluster.supervised import command, prepared, serving, status_of
from tests.cluster.workers import workers_of
from tests.faults.service import wait_until
from tests.support import request


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the application is, and nobody else's workers."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return prepared(tmp_path)


# Starting a process, or the thread that waits for it, fails while there is a file `none_left`.
NONE_LEFT = """
import errno, os, subprocess, threading

def limited(function, error):
    def call(*args, **options):
        if os.path.exists("none_left"):
            raise error
        return function(*args, **options)
    return call

"""
NO_PROCESS = NONE_LEFT + (
    "error = BlockingIOError(errno.EAGAIN, 'Resource temporarily unavailable')\n"
    "subprocess.Popen._execute_child = limited(subprocess.Popen._execute_child, error)\n"
)
NO_THREAD = NONE_LEFT + (
    "error = RuntimeError('can\\'t start new thread')\n"
    "threading.Thread.start = limited(threading.Thread.start, error)\n"
)

IMPATIENT = """
import wsgroups.server.supervisor as supervisor

supervisor._START_PATIENCE = 2.0
supervisor._BEYOND_DRAIN = 1.0
"""


# --- workers that cannot be started ---------------------------------------------------------


@pytest.mark.parametrize("missing", [NO_PROCESS, NO_THREAD], ids=["process", "thread"])
def test_where_no_process_can_be_had_it_is_tried_again(folder: Path, missing: str) -> None:
    with serving(folder, before=missing) as (program, port, workers):
        (folder / "none_left").touch()
        os.kill(min(workers), signal.SIGKILL)
        program.wait_for(r"no worker process can be started: .* in 0\.[248] seconds")
        workers_of(program, 1)
        (folder / "none_left").unlink()
        workers_of(program, 2)
        wait_until(lambda: status_of(port) == "ok")


@pytest.mark.parametrize("missing", [NO_PROCESS, NO_THREAD], ids=["process", "thread"])
def test_where_no_process_can_be_had_a_restart_leaves_the_old_ones(
    folder: Path, missing: str
) -> None:
    with serving(folder, before=missing) as (program, _, workers):
        (folder / "none_left").touch()
        program.send_signal(signal.SIGHUP)
        program.wait_for("no worker process can be started: .*; the old ones go on")
        assert workers_of(program, 2) == workers
        (folder / "none_left").unlink()
        program.send_signal(signal.SIGHUP)
        wait_until(lambda: not workers & workers_of(program, 2))


@pytest.mark.parametrize("missing", [NO_PROCESS, NO_THREAD], ids=["process", "thread"])
def test_where_no_process_can_be_had_for_the_first_worker_that_is_told(
    folder: Path, missing: str
) -> None:
    (folder / "none_left").touch()
    with command(folder, before=missing) as program:
        assert program.wait() == 1
        assert program.output.count("no worker process can be started") == 1
        assert "Traceback" not in program.output


# --- workers that do not come up, or do not end ---------------------------------------------


def test_a_restart_with_a_worker_that_does_not_come_up_can_be_sent_again(folder: Path) -> None:
    with serving(folder, before=IMPATIENT) as (program, _, workers):
        (folder / "hang").touch()
        program.send_signal(signal.SIGHUP)
        program.wait_for(r"does not serve \d+ seconds after its start; it is killed")
        program.wait_for("the new worker ended by SIGKILL; the old ones go on")
        assert workers_of(program, 2) == workers
        (folder / "hang").unlink()
        program.send_signal(signal.SIGHUP)
        wait_until(lambda: not workers & workers_of(program, 2))


def test_a_successor_that_does_not_come_up_is_replaced(folder: Path) -> None:
    with serving(folder, before=IMPATIENT) as (program, port, workers):
        (folder / "hang").touch()
        os.kill(min(workers), signal.SIGKILL)
        program.wait_for(r"does not serve \d+ seconds after its start; it is killed")
        (folder / "hang").unlink()
        wait_until(lambda: status_of(port) == "ok")


def test_an_old_worker_that_does_not_end_does_not_stop_the_next_restart(folder: Path) -> None:
    with serving(folder, "--drain-timeout=1", before=IMPATIENT) as (program, port, workers):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(request("/hang"))
            program.wait_for("hangs")
            program.send_signal(signal.SIGHUP)
            program.wait_for("does not stop; it is killed")
        second = workers_of(program, 2)
        assert not workers & second
        program.send_signal(signal.SIGHUP)
        wait_until(lambda: not second & workers_of(program, 2))


# --- health ---------------------------------------------------------------------------------


def test_a_restart_that_repairs_a_crash_loop_is_told_by_the_health(folder: Path) -> None:
    with serving(folder) as (program, port, workers):
        (folder / "crash").touch()
        os.kill(max(workers), signal.SIGKILL)
        wait_until(lambda: status_of(port) == "failing")
        (folder / "crash").unlink()
        program.send_signal(signal.SIGHUP)
        wait_until(lambda: status_of(port) == "ok")
