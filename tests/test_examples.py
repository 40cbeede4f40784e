"""Every example runs as its first lines say, and does what it is there to show."""

import json
import signal
import sqlite3
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support import Program

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/app.py"))


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the broadcaster store its ids here, and not take a second for each round."""
    path = tmp_path / "broadcaster.db"
    monkeypatch.setenv("BROADCASTER_DATABASE", str(path))
    monkeypatch.setenv("BROADCASTER_SECONDS", "0.02")
    return path


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


def rows(database: Path) -> list[int]:
    with closing(sqlite3.connect(database)) as db:
        return [id for (id,) in db.execute("SELECT id FROM sockets ORDER BY id")]


def test_the_broadcaster_sends_a_hundred_times_and_disconnects(database: Path) -> None:
    with example("broadcaster") as program:
        with connect(f"ws://127.0.0.1:{program.port()}/") as connection:
            first = str(connection.recv())
            assert first.startswith("Broadcasting id: ")
            assert rows(database) == [int(first.removeprefix("Broadcasting id: "))]
            assert list(connection) == [first] * 99
            assert connection.close_code == 1000
        while rows(database):
            time.sleep(0.01)
        stop(program)


def test_ids_of_an_earlier_process_are_swept_and_reach_no_stranger(database: Path) -> None:
    with (
        example("broadcaster") as program,
        connect(f"ws://127.0.0.1:{program.port()}/") as connection,
    ):
        connection.recv()
        stale = rows(database)
        program.send_signal(signal.SIGKILL)
        program.wait()
    assert rows(database) == stale
    with example("broadcaster") as program:
        with connect(f"ws://127.0.0.1:{program.port()}/") as connection:
            received = {str(connection.recv()) for _ in range(20)}
            (fresh,) = rows(database)
            assert received == {f"Broadcasting id: {fresh}"}
            assert fresh > stale[0]
        stop(program)


def test_the_lobby_has_tables() -> None:
    with example("lobby") as program:
        address = f"ws://127.0.0.1:{program.port()}/lobby"
        with connect(f"{address}?name=Ann") as ann, connect(f"{address}?name=Bob") as bob:
            assert ann.recv() == "welcome, Ann; 1 here"
            assert bob.recv() == "welcome, Bob; 2 here"
            assert ann.recv() == "Bob came"
            ann.send("play chess")
            assert ann.recv() == "Ann plays chess"
            bob.send("play chess")
            assert ann.recv() == bob.recv() == "Bob plays chess"
            bob.send("say your move")
            assert ann.recv() == "Bob: your move"
            bob.close()
            assert [ann.recv(), ann.recv()] == ["Bob is gone", "Bob left"]
        stop(program)


def test_the_log_stream_shows_the_lines_of_a_level_and_above() -> None:
    with example("logstream") as program:
        address = f"ws://127.0.0.1:{program.port()}/logs"
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{address}?level=loud")
        assert refused.value.response.status_code == 400
        with connect(f"{address}?level=warning") as some, connect(address) as all_lines:
            assert str(all_lines.recv()).startswith("INFO work: step ")
            assert str(some.recv(timeout=20)).startswith("WARNING work: step ")
        stop(program)


def test_the_tabs_of_a_visitor_share_a_counter() -> None:
    with example("counter") as program:
        port = program.port()
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://127.0.0.1:{port}/counter")
        assert refused.value.response.status_code == 403
        cookies = []
        for _ in range(2):
            page = HTTPConnection("127.0.0.1", port)
            page.request("GET", "/")
            cookies.append(str(page.getresponse().headers["Set-Cookie"]).partition(";")[0])
            page.close()
        ann, bob = ({"Cookie": cookie} for cookie in cookies)
        address = f"ws://127.0.0.1:{port}/counter"
        with (
            connect(address, additional_headers=ann) as tab,
            connect(address, additional_headers=ann) as other_tab,
            connect(address, additional_headers=bob) as stranger,
        ):
            assert tab.recv() == other_tab.recv() == stranger.recv() == "0"
            tab.send("+1")
            assert tab.recv() == other_tab.recv() == "1"
            stranger.send("+1")
            assert stranger.recv() == "1"
        stop(program)


def test_a_service_in_aiohttp_reaches_its_listeners() -> None:
    with Program(
        "examples/embedding/service.py", "--port", "0", "--sockets", "0", cwd=ROOT
    ) as program:
        line = program.wait_for("(http://.*/news)")
        post, _, news = line.partition("/announce reaches ")
        with connect(news) as one, connect(news) as other:
            service = HTTPConnection(post.removeprefix("http://"))
            service.request("POST", "/announce", "it is raining")
            assert json.loads(service.getresponse().read()) == {"reached": 2}
            service.close()
            assert one.recv() == other.recv() == "it is raining"
        stop(program)
