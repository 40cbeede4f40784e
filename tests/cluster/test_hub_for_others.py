"""`--bus unix:...`: the hub is where scripts look for it."""

import signal
import socket
import stat
from pathlib import Path

import pytest

from tests.cluster.recording import Recorder
from tests.cluster.workers import Visitor, children, kill, service
from tests.faults.service import Clients, wait_until
from tests.support import Program, soon, until
from wsgroups.cluster.bus import visitor_address
from wsgroups.cluster.messages import TEXT, One, encode_one
from wsgroups.cluster.unix import UnixBus


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where supervisors make their directories, for these tests alone."""
    directory = tmp_path / "run"
    directory.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    return directory


async def test_the_hub_is_where_it_is_wanted_and_for_the_user_alone(
    tmp_path: Path, run_directory: Path
) -> None:
    path = tmp_path / "hub.sock"
    with service(1, "--bus", f"unix:{path}") as running, Clients(running.port) as clients:
        assert len(children(running.pid)) == 1  # one worker, which has a supervisor
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        there = Visitor(clients, "room")
        bus = UnixBus(str(path), visitor_address())
        await soon(bus.start(Recorder()))
        await until(lambda: set(bus.peers.known) == {there.worker})
        bus.send(there.worker, encode_one(One(TEXT, there.id, b"from outside")))
        await soon(bus.sync())
        assert there.next() == b"from outside"
        await bus.stop()
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0
    assert not path.exists()
    assert not list(run_directory.iterdir())


def test_what_a_killed_supervisor_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    with service(2, "--bus", f"unix:{path}") as running:
        assert running.port
        workers = children(running.pid)
        kill(running.pid)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert path.is_socket()
    with service(1, "--bus", f"unix:{path}") as running:
        assert running.port
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))


def test_a_hub_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    with service(1, "--bus", f"unix:{path}") as running:
        assert running.port
        number = path.stat().st_ino
        arguments = ("-m", "wsgroups", "app", "--port", "0", "--bus", f"unix:{path}")
        with Program(*arguments, cwd=tmp_path) as program:
            assert program.wait() == 1
            assert f"cannot listen on {path}" in program.output
            assert "another program listens there" in program.output
            assert "Traceback" not in program.output
        assert path.stat().st_ino == number


@pytest.mark.parametrize("path", ["file", "missing/hub.sock", "x" * 200])
def test_a_hub_that_cannot_be_is_explained(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("not a socket")
    arguments = ("-m", "wsgroups", "app", "--port", "0", "--bus", f"unix:{path}")
    with Program(*arguments, cwd=tmp_path) as program:
        assert program.wait() == 1
        assert f"{path}: " in program.output
        assert "Traceback" not in program.output
    assert (tmp_path / "file").read_text() == "not a socket"
