"""The command line, as a process: what it serves, what it says, how it stops."""

import contextlib
import os
import re
import signal
import socket
from collections.abc import Iterator
from dataclasses import fields
from http.client import HTTPConnection
from pathlib import Path

import pytest
from click.testing import CliRunner
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect, unix_connect

from tests.support import Program, handshake
from wsgroups import ServerConfig, __version__
from wsgroups.command.cli import main

ECHO = """
from wsgroups import Handle, HandlerStatus

handle = Handle({options})

@handle.get("/")
def index(request):
    return "{answer}"

@handle.get("/ws")
def enter(request):
    request.send_upgrade("room")
    return HandlerStatus.HANDLED

@handle.websocket("room")
def on_message(message, ws):
    ws.send(message)

@handle.websocket_disconnect("room")
def on_disconnect(ws):
    print("gone with", ws.close_info.code, ws.close_info.clean, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the module `app`."""
    write_app(tmp_path)
    return tmp_path


def write_app(folder: Path, *, answer: str = "hello", options: str = "") -> None:
    (folder / "app.py").write_text(ECHO.format(answer=answer, options=options))


def wsgroups(folder: Path, *arguments: str) -> Program:
    return Program("-m", "wsgroups", *arguments, cwd=folder)


def get(port: int, path: str = "/") -> str:
    connection = HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def closed_with(connection: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        connection.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


# --- serving and stopping -------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_with_1001(folder: Path, number: signal.Signals) -> None:
    with wsgroups(folder, "app:handle", "--port", "0") as program:
        port = program.port()
        assert get(port) == "hello"
        with connect(f"ws://127.0.0.1:{port}/ws") as connection:
            connection.send("echo")
            assert connection.recv() == "echo"
            program.send_signal(number)
            assert closed_with(connection) == 1001
        assert program.wait() == 0
        assert "gone with 1001 True" in program.output
        assert "Traceback" not in program.output


def test_sighup_is_no_reason_to_end(folder: Path) -> None:
    """With certificates they are read anew, with workers these are replaced."""
    with wsgroups(folder, "app:handle", "--port", "0", "--log-level", "info") as program:
        port = program.port()
        program.send_signal(signal.SIGHUP)
        program.wait_for("there is no ssl_certfile to be read anew")
        with connect(f"ws://127.0.0.1:{port}/ws") as connection:
            connection.send("hello")
            assert connection.recv() == "hello"


def test_a_server_that_comes_back_says_so_with_1012(folder: Path) -> None:
    with wsgroups(folder, "app:handle", "--port", "0", "--restart") as program:
        with connect(f"ws://127.0.0.1:{program.port()}/ws") as connection:
            program.send_signal(signal.SIGTERM)
            assert closed_with(connection) == 1012
        assert program.wait() == 0


@contextlib.contextmanager
def deaf(port: int) -> Iterator[socket.socket]:
    """A WebSocket that answers nothing."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(handshake())
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += sock.recv(1)
        yield sock


def test_a_second_signal_drops_what_is_left(tmp_path: Path) -> None:
    write_app(tmp_path, options="close_timeout=1000.0")
    arguments = ("app:handle", "--port", "0", "--drain-timeout", "1000")
    with wsgroups(tmp_path, *arguments) as program, deaf(program.port()) as sock:
        program.send_signal(signal.SIGTERM)
        assert sock.recv(4) == b"\x88\x02\x03\xe9"  # Close with 1001
        program.send_signal(signal.SIGTERM)
        assert sock.recv(1) == b""
        assert program.wait() == 0
        assert "gone with 1006 False" in program.output


def test_a_drain_ends_at_its_timeout(tmp_path: Path) -> None:
    write_app(tmp_path, options="close_timeout=1000.0")
    arguments = ("app:handle", "--port", "0", "--drain-timeout", "0.2")
    with wsgroups(tmp_path, *arguments) as program, deaf(program.port()):
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
        assert "gone with 1006 False" in program.output


def test_a_unix_socket_can_be_served(folder: Path) -> None:
    with wsgroups(folder, "app:handle", "--uds", "app.sock") as program:
        program.wait_for("listening on http\\+unix://app.sock")
        with unix_connect(str(folder / "app.sock"), "ws://test/ws") as connection:
            connection.send("echo")
            assert connection.recv() == "echo"
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
        assert not (folder / "app.sock").exists()


def test_handle_run_serves_until_a_signal(folder: Path) -> None:
    script = "import app\nprint('before', flush=True)\napp.handle.run(uds='run.sock')\nprint('end')"
    (folder / "script.py").write_text(script)
    with Program("script.py", cwd=folder) as program:
        program.wait_for("before")
        while not (folder / "run.sock").exists():
            os.sched_yield()
        program.send_signal(signal.SIGINT)
        assert program.wait() == 0
        assert program.output.splitlines() == ["before", "end"]


def test_reload_starts_anew_when_a_file_changes(folder: Path) -> None:
    with wsgroups(folder, "app:handle", "--port", "0", "--reload") as program:
        port = program.port()
        assert get(port) == "hello"
        with connect(f"ws://127.0.0.1:{port}/ws") as connection:
            write_app(folder, answer="changed")
            program.wait_for(r"app\.py changed; starting anew")
            assert closed_with(connection) == 1012
        assert get(program.port()) == "changed"
        (folder / "app.py").write_text("this is no Python")
        program.wait_for("SyntaxError")
        write_app(folder, answer="mended")
        assert get(program.port()) == "mended"
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


# --- options --------------------------------------------------------------------------------


def test_every_option_of_the_server_is_a_flag_with_its_help() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    for field in fields(ServerConfig):
        is_flag = f"--{field.name.replace('_', '-')} " in text
        assert is_flag == (field.name != "ssl"), "a context cannot be written in a command"
        shown = field.metadata["help"].replace("None:", "if not given:")
        assert (shown in text) == is_flag
    assert "None" not in text


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert __version__ in result.output


def test_flags_reach_the_server(folder: Path) -> None:
    arguments = ("app:handle", "--port", "0", "--host", "::1", "--max-body-size", "10")
    with wsgroups(folder, *arguments) as program:
        port = program.port()
        assert f"http://[::1]:{port}" in program.output
        with socket.create_connection(("::1", port)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(("level", "shows"), [("warning", False), ("debug", True)])
def test_the_log_level_is_obeyed(folder: Path, level: str, shows: bool) -> None:
    with wsgroups(folder, "app", "--port", "0", "--log-level", level) as program:
        with socket.create_connection(("127.0.0.1", program.port())) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
        assert ("request refused with 400" in program.output) is shows


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("verbose", ["opened", "got", "is", "closed"]),
        ("subtle", ["opened", "closed"]),
        ("nothing", []),
    ],
)
def test_sockets_and_messages_are_logged_on_demand(
    folder: Path, level: str, expected: list[str]
) -> None:
    with wsgroups(folder, "app", "--port", "0", "--log-level", level) as program:
        with connect(f"ws://127.0.0.1:{program.port()}/ws") as connection:
            connection.send("hello")
            assert connection.recv() == "hello"
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
        assert re.findall(r"of group '\w+': (\w+)", program.output) == expected


# --- what can be wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere:handle", "there is no module 'nowhere'"),
        ("aps:handle", "did you mean 'app'?"),
        ("app.sub:handle", "there is no module 'app.sub'"),
        ("app:", "must be 'module:attribute', like 'app:handle'"),
        (":handle", "must be 'module:attribute', like 'app:handle'"),
        ("app:hanlde", "has no attribute 'hanlde'; it has 'handle'"),
        ("app:index", "'app:index' is a function, not a wsgroups.Handle"),
        ("app:handle.nothing", "has no attribute 'handle.nothing'"),
        ("app.py", "'app.py' is a file; name the module: 'app'"),
        ("./app.py:handle", "is a file; name the module: 'app'"),
        ("empty", "module 'empty' has no Handle; add 'handle = Handle()'"),
        ("empty:handle", "attribute 'handle', and no Handle; add 'handle = Handle()'"),
        ("several", "several Handles; write 'several:one' or 'several:two'"),
    ],
)
def test_a_wrong_target_is_explained(folder: Path, target: str, message: str) -> None:
    (folder / "empty.py").write_text("")
    (folder / "several.py").write_text(
        "from wsgroups import Handle\none, two = Handle(), Handle()\n"
    )
    with wsgroups(folder, target) as program:
        assert program.wait() == 2
        assert message in " ".join(program.output.split())
        assert "Traceback" not in program.output


def test_an_error_inside_the_module_comes_through(folder: Path) -> None:
    (folder / "broken.py").write_text("import no_such_dependency\n")
    with wsgroups(folder, "broken:handle") as program:
        assert program.wait() == 1
        assert "No module named 'no_such_dependency'" in program.output


def test_one_handle_under_two_names_is_one_handle(folder: Path) -> None:
    with (folder / "app.py").open("a") as file:
        file.write("application = handle\n")
    with wsgroups(folder, "app", "--port", "0") as program:
        assert get(program.port()) == "hello"


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with wsgroups(folder, "app:handle", "--port", str(port)) as program:
            assert program.wait() == 1
            assert f"cannot listen on 127.0.0.1 port {port}" in program.output
            assert "another program listens there" in program.output
            assert "Traceback" not in program.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "port must be 0 to 65535"),
        (["--port", "many"], "'many' is not a valid integer"),
        (["--prot", "1"], "No such option"),
        (["--host", "no-such-host.invalid"], "cannot be resolved"),
    ],
)
def test_a_wrong_option_is_explained(folder: Path, arguments: list[str], message: str) -> None:
    with wsgroups(folder, "app:handle", *arguments) as program:
        assert program.wait() in (1, 2)
        assert message in program.output
        assert "Traceback" not in program.output
