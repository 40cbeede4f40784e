"""`python -m wsgroups send`, `close` and `ls`, as one types them."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cluster.brokers import BROKERS
from tests.cluster.workers import Visitor, children, kill, one_of_each, service
from tests.faults.service import ROOT, Clients, Service
from wsgroups.command.cli import main
from wsgroups.command.sending import _shown


class Typed:
    """What a command has answered: `out`, `err`, and its exit `code`."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()
        self.code = done.returncode


Run = Callable[..., Typed]


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"unix:{tmp_path_factory.mktemp('hub')}/hub.sock"


@pytest.fixture(scope="module")
def server(bus: str) -> Iterator[Service]:
    with service(2, "--bus", bus) as running:
        assert running.port
        yield running


@pytest.fixture
def clients(server: Service) -> Iterator[Clients]:
    with Clients(server.port) as all_clients:
        yield all_clients
        for peer in all_clients.peers:
            if peer.is_open:
                all_clients.close(peer)


@pytest.fixture
def run(bus: str, tmp_path: Path) -> Run:
    """Runs a command with the server's bus in its environment."""

    def type_it(*arguments: str, stdin: bytes = b"", variable: str | None = bus) -> Typed:
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "TZ": "UTC"}
        if variable is not None:
            environment["WSGROUPS_BUS"] = variable
        command = [sys.executable, "-m", "wsgroups", *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, cwd=tmp_path, env=environment, check=False
        )
        found = Typed(done)
        assert "Traceback" not in found.err
        return found

    return type_it


# --- send -----------------------------------------------------------------------------------


def test_a_number_is_the_id_of_a_socket(clients: Clients, run: Run) -> None:
    for there in one_of_each(clients, "room", 2):
        done = run("send", str(there.id), "Hello!")
        assert (done.code, done.out, done.err) == (0, "delivered\n", "")
        assert there.next() == b"Hello!"
        clients.close(there.peer)
        done = run("send", str(there.id), "too late")
        assert (done.code, done.out) == (1, "")
        assert done.err == f"gone: there is no open socket {there.id}\n"


def test_any_other_word_is_a_group_or_a_room(clients: Clients, run: Run) -> None:
    members = one_of_each(clients, "chat", 2)
    done = run("send", "chat", "Hello!")
    assert (done.code, done.out, done.err) == (0, "sent: group chat, 2 sockets\n", "")
    assert [member.next() for member in members] == [b"Hello!", b"Hello!"]
    done = run("send", "caht", "Hello!")
    assert (done.code, done.out) == (1, "")
    nobody = "no socket is in group or room caht now; did you mean 'chat'?\n"
    assert done.err == f"sent, but {nobody}"
    done = run("close", "caht")
    assert (done.code, done.out, done.err) == (1, "", f"nothing to close: {nobody}")
    done = run("send", "--room", "chat", "Hello!")
    assert (done.code, done.err) == (1, "sent, but no socket is in room chat now\n")


def test_a_name_that_only_a_room_has_is_the_rooms(clients: Clients, run: Run) -> None:
    members = one_of_each(clients, "command", 2)
    for member in members:
        member.do("join", "lobby")
    assert run("send", "lobby", "Hello!").out == "sent: room lobby, 2 sockets\n"
    assert [member.next() for member in members] == [b"Hello!", b"Hello!"]
    done = run("send", "lobb", "Hello!")
    assert (done.code, done.out) == (1, "")
    assert "group or room lobb now; did you mean 'lobby'?" in done.err
    other = Visitor(clients, "lobby")
    done = run("send", "lobby", "to the group")
    assert done.out == "sent: group lobby, 1 socket; for the room of that name write --room lobby\n"
    assert other.next() == b"to the group"
    assert not any(member.peer.messages for member in members)
    assert run("close", "--group", "lobby").out == "closing: group lobby, 1 socket\n"
    clients.until(lambda: other.peer.ended)
    assert run("close", "lobby").out == "closing: room lobby, 2 sockets\n"
    clients.until(lambda: all(member.peer.ended for member in members))


def test_who_does_not_answer_is_told_of(clients: Clients, run: Run) -> None:
    first, second = one_of_each(clients, "chat", 2)
    kill(second.pid, signal.SIGSTOP)
    try:
        done = run("send", "chat", "Hello!")
        assert (done.code, done.err) == (0, "")
        assert done.out == "sent: group chat, 1 socket; 1 worker did not answer\n"
        done = run("close", "club")
        assert (done.code, done.out) == (0, "closing: group club; 1 worker did not answer\n")
    finally:
        kill(second.pid, signal.SIGCONT)
    assert [first.next(), second.next()] == [b"Hello!", b"Hello!"]


def test_groups_of_any_name_and_rooms_are_named_by_options(clients: Clients, run: Run) -> None:
    number = Visitor(clients, "123")
    assert run("send", "--group", "123", "to the group").out == "sent: group 123, 1 socket\n"
    assert number.next() == b"to the group"
    member = Visitor(clients, "command")
    member.do("join", "lobby")
    assert run("send", "--room", "lobby", "to the room").out == "sent: room lobby, 1 socket\n"
    assert member.next() == b"to the room"
    assert not number.peer.messages


def test_text_comes_from_standard_input(clients: Clients, run: Run) -> None:
    there = Visitor(clients, "room")
    assert run("send", str(there.id), "-", stdin="café\n\n".encode()).code == 0
    assert there.next() == "café\n".encode()
    assert run("send", str(there.id), "-").code == 0
    assert there.next() == b""
    assert run("send", "--binary", str(there.id), "-", stdin=b"\xff\n").code == 0
    assert there.next() == b"\xff\n"
    assert run("send", str(there.id), "--", "--code").code == 0
    assert there.next() == b"--code"
    done = run("send", str(there.id), "-", stdin=b"\xff")
    assert done.code == 2
    assert "--binary sends any bytes" in done.err
    assert not there.peer.messages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["send"], "to whom? Give an ID, a GROUP or a ROOM, and the TEXT to send"),
        (["send", "chat"], "there is no TEXT"),
        (["send", "--room", "lobby"], "there is no TEXT"),
        (["send", "chat", "Hello", "world"], 'put the TEXT in quotes: "Hello world"'),
        (["send", "--room", "a", "--group", "b", "x"], "--room and --group: it is one or the"),
        (["send", "chat", "x", "--bus", "hub.sock"], "'hub.sock' is no bus; write it like unix:"),
        (["close"], "to whom? Give an ID, a GROUP or a ROOM"),
        (["close", "1", "2"], "one ID, GROUP or ROOM at a time: what is '2'?"),
        (["ls", "--bus", "redis://me:secret@127.0.0.1:abc"], "port of '127.0.0.1' must be a"),
        (["ls", "--bus", "nats://"], "'nats://' names no host"),
        (["sned", "chat", "hi"], "do you mean the command 'send'?"),
        (["sned", "--room", "a", "hi"], "No such option '--room'; do you mean the command 'send'?"),
        (["list"], "do you mean the command 'ls'?"),
        (["close", "chat", "--code", "5"], "close code 5 may not be sent"),
        (["ls", "x"], "unexpected extra argument"),
    ],
)
def test_what_makes_no_sense_is_explained(run: Run, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "secret" not in done.err


def test_without_a_bus_it_is_asked_for(run: Run) -> None:
    done = run("send", "chat", "x", variable=None)
    assert done.code == 2
    assert "which bus?" in done.err
    assert "WSGROUPS_BUS" in done.err


def test_without_a_server_it_says_how_to_start_one(run: Run, tmp_path: Path) -> None:
    url = f"unix:{tmp_path}/none.sock"
    for arguments in (["send", "chat", "x"], ["close", "5"], ["ls"]):
        done = run(*arguments, "--bus", url)
        assert (done.code, done.out) == (3, "")
        assert f"no server keeps a bus at {url}; start it with --bus {url}" in done.err


@pytest.mark.parametrize("kind", BROKERS)
def test_without_a_worker_on_the_broker_it_asks_whether_it_is_the_right_one(
    kind: str, run: Run
) -> None:
    with BROKERS[kind]() as broker:
        url = broker.url.replace("//", "//me:secret@") if kind == "nats" else broker.url
        for arguments in (["send", "chat", "x"], ["close", "chat"], ["ls"], ["ls", "--json"]):
            done = run(*arguments, "--bus", f"{url}?app=shop")
            assert (done.code, done.out) == (3, "")
            assert f"no worker is on {broker.url} (application 'shop'); is that" in done.err
        done = run("send", "--room", "lobby", "x", "--bus", url)
        assert done.code == 3
        assert "(application 'wsgroups')" in done.err
        for id in (123456, 1 << 53 | 5):  # of no node, and of node 1
            done = run("send", str(id), "x", "--bus", url)
            assert (done.code, done.out) == (3, "")


# --- close ----------------------------------------------------------------------------------


def test_closing_by_id_group_and_room(clients: Clients, run: Run) -> None:
    there = Visitor(clients, "room")
    done = run("close", str(there.id), "--code", "4001", "--reason", "Back at noon.")
    assert (done.code, done.out) == (0, "closing\n")
    clients.until(lambda: there.peer.ended)
    assert (there.peer.code, there.peer.reason) == (4001, b"Back at noon.")
    assert run("close", str(there.id)).code == 1
    members = one_of_each(clients, "victims", 2)
    assert run("close", "victims").out == "closing: group victims, 2 sockets\n"
    clients.until(lambda: all(member.peer.ended for member in members))
    assert {member.peer.code for member in members} == {1000}
    member = Visitor(clients, "command")
    member.do("join", "club")
    assert run("close", "--room", "club").out == "closing: room club, 1 socket\n"
    clients.until(lambda: member.peer.ended)


# --- ls -------------------------------------------------------------------------------------


def test_ls_shows_workers_groups_and_rooms(server: Service, clients: Clients, run: Run) -> None:
    members = [*one_of_each(clients, "command", 2), Visitor(clients, "command")]
    members[0].do("join", "evil\x1b[31m")
    for member in members:
        member.do("join", "lobby [red]" + "x" * 100)
    done = run("ls")
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["NODE", "WORKER", "PID", "SOCKETS", "SINCE"]
    pids = {int(line[2]) for line in lines[1:3]}
    assert pids == children(server.pid)
    assert sum(int(line[3]) for line in lines[1:3]) == 3
    assert ["3", "command"] in lines
    assert ["1", r"'evil\x1b[31m'"] in lines
    whole = "".join(done.out.split())
    assert "3lobby[red]" + "x" * 50 in whole
    assert "\x1b" not in done.out


def test_ls_writes_json_for_programs(server: Service, clients: Clients, run: Run) -> None:
    one_of_each(clients, "command", 2)
    found = json.loads(run("ls", "--json").out)
    assert {each["pid"] for each in found} == children(server.pid)
    for each in found:
        assert set(each) == {
            *("node", "worker", "since", "pid", "sockets", "groups", "rooms", "left_out"),
        }
        assert each["groups"]["command"] == 1


# --- beside the command that serves ---------------------------------------------------------


def test_help_leads_to_the_other_commands() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    for name in ("send", "close", "ls"):
        assert f"python -m wsgroups {name} --help" in text.partition("Options:")[0]
    for name in ("send", "close", "ls"):
        result = CliRunner().invoke(main, [name, "--help"], prog_name="python -m wsgroups")
        assert result.exit_code == 0
        assert f"Usage: python -m wsgroups {name} " in result.output


def test_an_application_may_be_called_send(run: Run, tmp_path: Path) -> None:
    (tmp_path / "send.py").write_text(
        "import wsgroups\nhandle = wsgroups.Handle()\nraise SystemExit(7)\n"
    )
    assert run("send:handle", "--port", "0").code == 7


def test_names_are_shown_as_a_terminal_may_show_them() -> None:
    assert _shown("café") == "café"
    assert _shown("a\x1b[2J") == r"'a\x1b[2J'"
    assert _shown("") == "''"
    assert _shown("\ud800") == r"'\ud800'"
