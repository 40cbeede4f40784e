"""A worker that stands still: stopped by a signal, or with a handler that blocks its loop."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cluster.supervised import prepared, serving, status_of
from tests.cluster.workers import (
    Visitor,
    children,
    get_pid,
    health,
    one_of_each,
    service,
    workers_of,
)
from tests.faults.service import Clients, wait_until
from tests.support import PATIENCE, request

IMPATIENT = "import wsgroups.server.seconds as seconds\nseconds.LONG_SILENCE = 2.0\n"


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where supervisors make their directories, for these tests alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the application is."""
    return prepared(tmp_path)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process stand still for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def answers(port: int, count: int) -> list[bytes]:
    """Return what so many who connect at once are answered."""
    with ExitStack() as stack:
        address = ("127.0.0.1", port)
        socks = [
            stack.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(count)
        ]
        for sock in socks:
            sock.sendall(request("/pid"))
        return [sock.recv(4096) for sock in socks]


def visitor_of_another(clients: Clients, workers: set[int]) -> Visitor:
    """Return a visitor of a worker that is none of these."""
    while True:
        visitor = Visitor(clients, "room")
        if visitor.pid not in workers:
            return visitor
        clients.close(visitor.peer)


def test_while_a_worker_stands_still_another_one_answers_who_connects() -> None:
    with service(2, "--health-path", "/health") as running, Clients(running.port) as clients:
        members = one_of_each(clients, "room", 2)
        still, other = members
        before = workers_of(running, 2)
        with stopped(still.pid):
            found = answers(running.port, 16)
            assert [answer[:15] for answer in found] == [b"HTTP/1.1 200 OK"] * 16
            assert f"worker process {still.pid} stands still" in running.output
            wait_until(lambda: health(running.port)[1]["status"] == "ok")
            assert health(running.port)[1]["crashes"] == 0
            assert len(workers_of(running, 3) - before) == 1
            clients.ask(other.peer)
            newcomer = visitor_of_another(clients, before)
        clients.until(lambda: newcomer.peer.ended)
        assert newcomer.peer.code == 1001
        assert workers_of(running, 2) == before
        for member in members:
            clients.ask(member.peer)
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0


def test_a_worker_that_goes_on_before_another_one_serves_keeps_its_sockets(folder: Path) -> None:
    with serving(folder, before=IMPATIENT) as (program, port, before):
        (folder / "hang").touch()
        with stopped(min(before)):
            program.wait_for(f"worker process {min(before)} stands still")
            wait_until(lambda: status_of(port) == "degraded")
            workers_of(program, 3)
        program.wait_for("goes on, and serves again")
        assert workers_of(program, 2) == before
        wait_until(lambda: status_of(port) == "ok")


def test_a_worker_that_stood_still_serves_again_when_its_successor_does_so(folder: Path) -> None:
    with serving(folder, before=IMPATIENT) as (program, port, before):
        first = min(before)
        with stopped(first):
            (second,) = workers_of(program, 3) - before
            wait_until(lambda: get_pid(port) == second)
            os.kill(second, signal.SIGSTOP)
            program.wait_for(f"worker process {second} stands still: .* {first} does as well")
            wait_until(lambda: status_of(port) == "degraded")
        try:
            program.wait_for(f"worker process {first} goes on, and serves again")
            wait_until(lambda: status_of(port) == "ok")
        finally:
            os.kill(second, signal.SIGCONT)
        program.wait_for(f"worker process {second} goes on, and drains")
        assert workers_of(program, 2) == before


def test_a_worker_that_stands_still_is_replaced_with_the_others(folder: Path) -> None:
    with serving(folder, before=IMPATIENT) as (program, port, before):
        still = min(before)
        with stopped(still):
            workers_of(program, 3)
            wait_until(lambda: status_of(port) == "ok")
            program.send_signal(signal.SIGHUP)
            program.wait_for("all workers are replaced; the old ones drain")
            wait_until(lambda: children(program.pid) & before == {still})
        after = workers_of(program, 2)
        assert not after & before
        wait_until(lambda: health(port)[1]["ready"] == 2)
        assert "serves again" not in program.output


def test_a_worker_that_stands_still_may_be_killed(folder: Path) -> None:
    with serving(folder, before=IMPATIENT) as (program, port, before):
        still = min(before)
        os.kill(still, signal.SIGSTOP)
        workers_of(program, 3)
        os.kill(still, signal.SIGKILL)
        program.wait_for(f"worker process {still}, which stood still, ended by SIGKILL")
        workers_of(program, 2)
        wait_until(lambda: health(port)[1]["ready"] == 2)
        assert health(port)[1]["crashes"] == 0


def test_when_all_have_stood_still_nobody_is_replaced(folder: Path) -> None:
    with serving(folder, before=IMPATIENT) as (program, port, before):
        everybody = [program.pid, *before]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(3.0)
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
        assert status_of(port) == "ok"
        time.sleep(3.0)
        assert workers_of(program, 2) == before
        assert "stands still" not in program.output
