"""Standard output and error that are full, closed or broken: service is unaffected."""

import os
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.service import Clients, Service, wait_until
from tests.support import PATIENCE, handshake


def commanded(path: Path, level: str) -> list[str]:
    """The command line, on a Unix socket: it cannot say which port it has."""
    options = ["--uds", str(path), "--log-level", level]
    return ["-m", "wsgroups", "tests.faults.application:handle", *options]


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True


def upgraded(path: Path, group: str = "room") -> socket.socket:
    """A client of the group."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        sock.sendall(handshake(f"/ws/{group}?data=exception"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
    except BaseException:
        sock.close()
        raise
    return sock


def use(path: Path) -> None:
    """Everything that is logged: sockets, messages, errors; all of it as ever."""
    with upgraded(path) as canary:
        for number in range(50):
            canary.sendall(b"\x81\x82\0\0\0\0%02d" % number)
            assert canary.recv(4, socket.MSG_WAITALL) == b"\x81\x02%02d" % number
            with upgraded(path, "message") as failing:
                failing.sendall(b"\x81\x80\0\0\0\0")
                assert failing.recv(4, socket.MSG_WAITALL) == b"\x88\x02\x03\xf3"
        canary.sendall(b"\x88\x80\0\0\0\0")
        assert canary.recv(2, socket.MSG_WAITALL) == b"\x88\x00"


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def broken() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("output", [full, broken])
def test_a_server_starts_with_an_output_that_takes_nothing(
    output: Callable[[], int], tmp_path: Path
) -> None:
    path = tmp_path / "s"
    descriptor = output()
    try:
        with Service(arguments=commanded(path, "info"), output=descriptor) as service:
            wait_until(lambda: answers(path) or not service.is_running)
            assert service.is_running, service.wait()
            use(path)
            service.send_signal(signal.SIGTERM)
            assert service.wait() == 0
    finally:
        os.close(descriptor)


def test_an_output_that_breaks_while_it_serves_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s"
    reading, writing = os.pipe()
    with Service(arguments=commanded(path, "verbose"), output=writing) as service:
        os.close(writing)
        wait_until(lambda: answers(path))
        assert b"listening" in os.read(reading, 1000)
        os.close(reading)  # from now on every line is EPIPE, and SIGPIPE where it is not ignored
        use(path)
        with upgraded(path) as canary:
            service.send_signal(signal.SIGTERM)
            assert canary.recv(4, socket.MSG_WAITALL) == b"\x88\x02\x03\xe9"
            canary.sendall(b"\x88\x82\0\0\0\0\x03\xe9")
        assert service.wait() == 0


def test_an_output_that_is_full_while_it_serves_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Service(arguments=commanded(path, "verbose")) as service:
        wait_until(lambda: answers(path))
        with upgraded(path) as first:
            first.sendall(b"\x81\x90\0\0\0\0output /dev/full")
            assert first.recv(18, socket.MSG_WAITALL)[2:] == b"output /dev/full"
            use(path)
        service.send_signal(signal.SIGTERM)
        assert service.wait() == 0


def test_a_log_file_that_may_not_grow_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Service(arguments=commanded(path, "verbose")) as service:
        wait_until(lambda: answers(path))
        service.limit(resource.RLIMIT_FSIZE, 4096)
        use(path)
        assert len(service.output) <= 4096
        service.send_signal(signal.SIGTERM)
        assert service.wait() == 0


def without_output(path: Path) -> Service:
    shell = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh"]
    return Service(arguments=commanded(path, "verbose"), prefix=shell)


def test_a_server_whose_output_was_closed_serves(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with without_output(path) as service:
        wait_until(lambda: answers(path) or not service.is_running)
        use(path)
        with upgraded(path) as canary:
            service.send_signal(signal.SIGTERM)
            assert canary.recv(4, socket.MSG_WAITALL) == b"\x88\x02\x03\xe9"
            canary.sendall(b"\x88\x82\0\0\0\0\x03\xe9")
            assert canary.recv(1) == b""
        service.wait()


def test_a_server_whose_output_was_closed_ends_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with without_output(path) as service:
        wait_until(lambda: answers(path) or not service.is_running)
        service.send_signal(signal.SIGTERM)
        assert service.wait() == 0


def test_a_sigpipe_that_somebody_sends_is_nothing() -> None:
    with Service() as service, Clients(service.port) as clients:
        canary = clients.open()
        for _ in range(20):
            service.send_signal(signal.SIGPIPE)
            clients.ask(canary)
