"""The life of several worker processes: start, crash, roll, drain, end of the supervisor."""

import contextlib
import os
import re
import signal
import socket
import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.certificates import Certificates
from tests.cluster.workers import (
    Visitor,
    children,
    get_pid,
    health,
    is_alive,
    one_of_each,
    service,
    until_known,
    workers_of,
)
from tests.faults.service import Clients, Peer, wait_until
from tests.support import Program, handshake
from tests.tls.test_reloading import Files, served


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where supervisors make their directories, for these tests alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


class Talker:
    """A client that numbers its messages and has each acknowledged, a few at a time."""

    def __init__(self, peer: Peer, name: str) -> None:
        self.peer = peer
        self.name = name
        self.sent = 0

    def talk(self) -> None:
        while self.peer.is_open and self.sent < self.peer.count + 8:
            self.peer.send(f"{self.name} {self.sent}")
            self.sent += 1


class Newcomers(threading.Thread):
    """Connects, has a message sent back and closes, again and again; counts who is refused."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._enough = threading.Event()
        self.served = 0
        self.refused: list[str] = []

    def run(self) -> None:
        while not self._enough.is_set():
            try:
                self._visit()
                self.served += 1
            except OSError as error:
                self.refused.append(repr(error))

    def _visit(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=20) as sock:
            sock.sendall(handshake("/ws/room"))
            answer = sock.recv(4096)
            if not answer.startswith(b"HTTP/1.1 101"):
                raise OSError(answer[:60])

    def finish(self) -> None:
        self._enough.set()
        self.join()


# --- start ----------------------------------------------------------------------------------


def test_all_share_one_port_and_each_has_a_number(run_directory: Path) -> None:
    with service(3) as running, Clients(running.port) as clients:
        assert len(workers_of(running, 3)) == 3
        visitors = one_of_each(clients, "room", 3)
        assert [visitor.worker for visitor in visitors if visitor.worker > 2] == []
        (directory,) = run_directory.iterdir()
        assert directory.stat().st_mode & 0o077 == 0
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0
    assert not list(run_directory.iterdir())


def test_a_wrong_target_is_told_once(tmp_path: Path) -> None:
    with Program("-m", "wsgroups", "nothing:handle", "--workers", "4", cwd=tmp_path) as program:
        assert program.wait() == 2
        assert program.output.count("there is no module 'nothing'") == 1
        assert "Traceback" not in program.output


def test_a_port_that_is_taken_is_told_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        arguments = ("-m", "wsgroups", "app", "--workers", "4", "--port", port)
        with Program(*arguments, cwd=tmp_path) as program:
            assert program.wait() == 1
            assert program.output.count("another program listens there") == 1


def test_a_second_service_on_the_same_port_is_refused(tmp_path: Path) -> None:
    with service(2) as running:
        arguments = ("-m", "wsgroups", "app", "--workers", "2", "--port", str(running.port))
        with Program(*arguments, cwd=tmp_path) as program:
            assert program.wait() == 1
            assert "another program listens there" in program.output


def test_an_application_that_fails_at_start_ends_the_service(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("raise RuntimeError('no database')\n")
    with Program("-m", "wsgroups", "app", "--workers", "3", cwd=tmp_path) as program:
        assert program.wait() == 1
        assert program.output.count("RuntimeError: no database") == 1


def test_a_script_may_ask_for_workers(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from wsgroups import Handle\n"
        "handle = Handle()\n"
        "handle.get('/')(lambda request: 'hello')\n"
        "if __name__ == '__main__':\n"
        "    handle.run(port=0, workers=2, uds='app.sock')\n"
    )
    with Program("script.py", cwd=tmp_path) as program:

        def answers() -> bool:
            with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
                sock.connect(str(tmp_path / "app.sock"))
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                return sock.recv(4096).endswith(b"hello")
            return False

        wait_until(answers)
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
    assert not (tmp_path / "app.sock").exists()


# --- stop -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_all_workers(number: signal.Signals) -> None:
    with service(3) as running, Clients(running.port) as clients:
        members = one_of_each(clients, "room", 3)
        running.send_signal(number)
        clients.until(lambda: all(member.peer.ended for member in members))
        assert {member.peer.code for member in members} == {1001}
        assert running.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port))


def test_a_service_manager_may_tell_all_processes() -> None:
    """As systemd does by default: the workers are told twice, and drain all the same."""
    with service(2, "--drain-timeout", "20") as running, Clients(running.port) as clients:
        members = one_of_each(clients, "room", 2)
        slow = clients.open("/ws/deaf", answers_close=False)
        for pid in (running.pid, *children(running.pid)):
            os.kill(pid, signal.SIGTERM)
        clients.until(lambda: all(peer.code for peer in (slow, *(m.peer for m in members))))
        clients.during(1.0)
        assert not slow.ended, "the drain goes on"
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0


def test_a_second_signal_ends_the_drain() -> None:
    with service(2, "--drain-timeout", "60") as running, Clients(running.port) as clients:
        deaf = clients.open_many(10, "/ws/deaf", answers_close=False)
        running.send_signal(signal.SIGTERM)
        clients.until(lambda: all(peer.code for peer in deaf))
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0  # long before the drain would be over


# --- crashes --------------------------------------------------------------------------------


def test_a_killed_worker_is_replaced_and_the_others_lose_nothing() -> None:
    with service(4) as running, Clients(running.port) as clients:
        before = workers_of(running, 4)
        members = [Visitor(clients, "ack") for _ in range(40)]
        victim = members[0]
        talkers = [Talker(member.peer, str(n)) for n, member in enumerate(members)]
        killed = False

        def all_have_talked() -> bool:
            nonlocal killed
            for talker in talkers:
                talker.talk()
            if not killed and victim.peer.count > 50:
                os.kill(victim.pid, signal.SIGKILL)
                killed = True
            return killed and all(t.peer.count > 400 or not t.peer.is_open for t in talkers)

        clients.until(all_have_talked)
        for member, talker in zip(members, talkers, strict=True):
            if member.pid == victim.pid:
                assert member.peer.ended
            else:
                assert member.peer.is_open
                got = talker.peer.messages
                assert got == [b"%d" % n for n in range(len(got))]
        after = workers_of(running, 4)
        assert len(after - before) == 1
        wait_until(lambda: get_pid(running.port) in after - before)
        assert running.output.count("by SIGKILL; another one is started now") == 1
        here = Visitor(clients, "command")
        assert here.do("send", victim.id, "x") == "GONE"
        assert here.do("status", victim.id).endswith("True")
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0


def test_the_successor_of_a_killed_worker_is_reached_by_groups() -> None:
    with service(2) as running, Clients(running.port) as clients:
        first, second = one_of_each(clients, "room", 2)
        os.kill(second.pid, signal.SIGKILL)
        clients.until(lambda: second.peer.ended)
        here = Visitor(clients, "command")
        members = one_of_each(clients, "room", 2)
        assert second.pid not in {member.pid for member in members}
        until_known(here, "room", members)
        for member in members:
            assert here.do("deliver", member.id, "hello") == "OK"
            assert member.next() == b"hello"
        assert first.peer.is_open


def test_workers_that_always_crash_are_started_less_and_less_often() -> None:
    with service(1 + 1) as running, Clients(running.port) as clients:
        for _ in range(4):
            here = Visitor(clients, "command")
            here.peer.send('["die"]')
            while here.peer.ended is None:
                clients.turn()
        wait_until(lambda: len(re.findall(r"ended with code 3", running.output)) == 4)
        assert "another one is started in 0.2 seconds" in running.output
        workers_of(running, 2)


def test_when_the_supervisor_is_killed_its_workers_end(run_directory: Path) -> None:
    with service(3) as running, Clients(running.port) as clients:
        pids = workers_of(running, 3)
        members = one_of_each(clients, "room", 3)
        port = running.port
        running.send_signal(signal.SIGKILL)
        clients.until(lambda: all(member.peer.ended for member in members))
        assert {member.peer.code for member in members} == {1001}
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 5)
        with socket.create_server(("127.0.0.1", port)):
            pass
    assert not list(run_directory.iterdir())


def test_workers_without_sockets_leave_nothing_behind_either(run_directory: Path) -> None:
    for _ in range(3):
        with service(2) as running:
            assert running.port
            pids = workers_of(running, 2)
            running.send_signal(signal.SIGKILL)
            while any(is_alive(pid) for pid in pids):
                pass
        assert not list(run_directory.iterdir())


def test_a_worker_whose_handler_blocks_ends_with_its_supervisor_as_well() -> None:
    with service(2) as running, Clients(running.port) as clients:
        pids = workers_of(running, 2)
        here = Visitor(clients, "command")
        here.peer.send('["block"]')
        here.peer.send('["block"]')
        clients.until(lambda: b"= blocks now" in here.peer.messages)
        running.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_worker_whose_handler_blocks_holds_nobody_else_up() -> None:
    with service(3) as running, Clients(running.port) as clients:
        commanders = one_of_each(clients, "command", 3)
        members = one_of_each(clients, "room", 3)
        blocked, here, _ = commanders
        until_known(here, "room", members)
        blocked.peer.send('["block"]')
        blocked.peer.send('["block"]')
        clients.until(lambda: b"= blocks now" in blocked.peer.messages)
        for _ in range(30):  # more than waits for one worker before the others feel it
            assert here.do("group_bytes", "room", 1 << 20) == "1"
        for member in members:
            if member.pid != blocked.pid:
                for _ in range(30):
                    assert member.next() == bytes(1 << 20)
        there = next(m for m in members if m.pid not in (blocked.pid, here.pid))
        assert here.do("deliver", there.id, "hello") == "OK"
        assert there.next() == b"hello"
        running.send_signal(signal.SIGKILL)


# --- rolling restart ------------------------------------------------------------------------


def test_a_rolling_restart_refuses_nobody_and_loses_nothing_acknowledged() -> None:
    with service(3) as running, Clients(running.port) as clients:
        before = workers_of(running, 3)
        newcomers = Newcomers(running.port)
        newcomers.start()
        talkers = [Talker(clients.open("/ws/ack"), str(n)) for n in range(60)]
        for talker in talkers:
            talker.peer.messages.clear()
            talker.peer.count = 0
        has_signalled = False

        def all_are_gone() -> bool:
            nonlocal has_signalled
            for talker in talkers:
                talker.talk()
            if not has_signalled and sum(talker.peer.count for talker in talkers) > 5000:
                running.send_signal(signal.SIGHUP)
                has_signalled = True
            return all(talker.peer.ended for talker in talkers)

        clients.until(all_are_gone, 60)
        wait_until(lambda: len(children(running.pid)) == 3 and not children(running.pid) & before)
        newcomers.finish()
        assert newcomers.refused == []
        assert newcomers.served > 100
        assert {talker.peer.code for talker in talkers} == {1001}
        wait_until(lambda: running.output.count("recorded") == len(talkers))
        recorded = dict(re.findall(r"recorded (\d+) (\d+)", running.output))
        for talker in talkers:
            got = [m for m in talker.peer.messages if b" " not in m]
            assert got == [b"%d" % n for n in range(len(got))]
            assert int(recorded[talker.name]) == len(got)
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0


def test_a_restart_that_cannot_start_leaves_the_old_workers(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("from wsgroups import Handle\nhandle = Handle()\n")
    arguments = ("-m", "wsgroups", "app", "--workers", "2", "--port", "0")
    with Program(*arguments, cwd=tmp_path) as program:
        port = program.port()
        app.write_text("raise RuntimeError('a slip')\n")
        program.send_signal(signal.SIGHUP)
        program.wait_for("the old ones go on")
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 404
        connection.close()
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


def test_new_code_is_served_after_a_restart(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    text = "from wsgroups import Handle\nhandle = Handle()\nhandle.get('/')(lambda r: {!r})\n"
    app.write_text(text.format("old"))
    arguments = ("-B", "-m", "wsgroups", "app", "--workers", "2", "--port", "0")

    def get(port: int) -> str:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        try:
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    with Program(*arguments, cwd=tmp_path) as program:
        port = program.port()
        assert get(port) == "old"
        app.write_text(text.format("new"))
        program.send_signal(signal.SIGHUP)
        wait_until(lambda: [get(port) for _ in range(20)] == ["new"] * 20)
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


async def test_a_rolling_restart_serves_the_new_certificate(
    certificates: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text("from wsgroups import Handle\nhandle = Handle()\n")
    files = Files(certificates, tmp_path)
    options = [f"--{name.replace('_', '-')}={path}" for name, path in files.options.items()]
    arguments = ("-m", "wsgroups", "app", "--port=0", "--workers=2", *options)
    with Program(*arguments, cwd=tmp_path) as program:
        port = int(program.wait_for(r"listening on https://127.0.0.1:(\d+)"))
        assert await served(port, certificates) == "first"
        files.replace("second")
        program.send_signal(signal.SIGHUP)
        for _ in range(5):
            while await served(port, certificates) != "second":
                pass
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


# --- health ---------------------------------------------------------------------------------


def test_every_worker_tells_how_the_service_is() -> None:
    with service(2, "--health-path", "/health") as running, Clients(running.port) as clients:
        all_well = {"status": "ok", "workers": 2, "ready": 2, "crashes": 0}
        wait_until(lambda: all(is_part_of(all_well, health(running.port)) for _ in range(10)))
        here = Visitor(clients, "command")
        os.kill(here.pid, signal.SIGKILL)
        all_well_again = {"status": "ok", "workers": 2, "ready": 2, "crashes": 1}
        wait_until(lambda: all(is_part_of(all_well_again, health(running.port)) for _ in range(10)))


def is_part_of(wanted: dict[str, object], answer: tuple[int, dict[str, object]]) -> bool:
    status, told = answer
    return status == 200 and wanted.items() <= told.items()


def test_a_service_that_keeps_crashing_says_so() -> None:
    with service(2, "--health-path", "/health") as running, Clients(running.port) as clients:
        crashes = 0
        while health(running.port)[0] == 200 and crashes < 12:
            here = Visitor(clients, "command")
            here.peer.send('["die"]')
            while here.peer.ended is None:
                clients.turn()
            crashes += 1
            while health(running.port)[1]["crashes"] != crashes:
                pass
        status, told = health(running.port)
        assert (status, told["status"]) == (503, "failing")
