"""Every example runs as its first lines say, and does what it is there to show."""

import json
import signal
from http.client import HTTPConnection
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support import Program

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/app.py"))


def example(name: str) -> Program:
    return Program("-m", "wsgroups", f"examples.{name}.app:handle", "--port", "0", cwd=ROOT)


def stop(program: Program) -> None:
    program.send_signal(signal.SIGTERM)
    assert program.wait() == 0
    assert "Traceback" not in program.output


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_starts_and_stops(name: str) -> None:
    with example(name) as program:
        assert program.port() > 0
        stop(program)


def test_the_echo_greets_and_answers() -> None:
    with example("echo") as program:
        with connect(f"ws://127.0.0.1:{program.port()}/wstest") as connection:
            assert connection.recv() == "Hello WebSocket!"
            assert connection.recv() == "Hello again WebSocket!"
            connection.send("text")
            assert [connection.recv(), connection.recv()] == ["Here is the server push!"] * 2
            connection.send(b"bytes")
            assert connection.recv() == b"bytes"
        stop(program)


def _receive(connection: ClientConnection, kind: str) -> dict[str, object]:
    while True:
        message: dict[str, object] = json.loads(connection.recv())
        if message["type"] == kind:
            return message


def test_the_chat_brings_two_people_together() -> None:
    with example("chat") as program:
        port = program.port()
        page = HTTPConnection("127.0.0.1", port)
        page.request("GET", "/")
        response = page.getresponse()
        assert response.status == 200
        assert b"<html" in response.read()
        assert "default-src 'none'" in (response.getheader("Content-Security-Policy") or "")
        page.close()
        url = f"ws://127.0.0.1:{port}/chat"
        with connect(url) as ann, connect(url) as bob:
            for connection, name in ((ann, "Ann"), (bob, "Bob")):
                _receive(connection, "hello")
                connection.send(json.dumps({"type": "join", "name": name}))
                assert _receive(connection, "welcome")["name"] == name
            ann.send(json.dumps({"type": "message", "text": "Hello Bob"}))
            for connection, own in ((ann, True), (bob, False)):
                said = _receive(connection, "message")
                assert (said["name"], said["text"], said["own"]) == ("Ann", "Hello Bob", own)
            ann.close()
            assert _receive(bob, "left")["name"] == "Ann"
        stop(program)
