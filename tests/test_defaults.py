"""What holds when nothing is configured: each limit at its edge, and one past it.

Limits whose default other tests hold at the very edge are in `ELSEWHERE`.
"""

import ast
import contextlib
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import wsgroups
from tests.connection.peer import CLOSE, PING, REQUEST, App, Serve, close_body, echo, text
from tests.docs.test_pages import rows_below
from tests.support import Wire, frame, handshake, quiet_handle, request, until, wire
from wsgroups import (
    CloseInfo,
    GroupPolicy,
    Handle,
    HandlerStatus,
    Request,
    SendResult,
    ServerConfig,
    Side,
    serve,
)

ROOT = Path(__file__).parents[1]
PACKAGE = Path(wsgroups.__file__).parent
ROWS = "tests/rows/test_frame_rows.py::test_a_row_comes_out_as_the_table_says"
HANDSHAKE_ROWS = "tests/rows/test_handshake_rows.py::test_a_row_comes_out_as_the_table_says"
PINGS = "tests/connection/test_pings.py"
RATES = "tests/connection/test_rates.py"

ELSEWHERE = {
    "max_message_size": ROWS,  # FR-22: 1 MiB, and a byte more
    "max_fragments": ROWS,  # FR-11: 4,096, and one more
    "ping_interval": f"{PINGS}::test_a_silent_peer_is_pinged_by_the_end_of_the_interval",
    "ping_timeout": f"{PINGS}::test_a_peer_that_does_not_answer_is_closed_with_1011",
    "pings are spread": f"{PINGS}::test_sockets_that_came_together_are_not_pinged_together",
    "any byte is life": f"{PINGS}::test_any_byte_is_a_sign_of_life",
    "one pong waits": f"{PINGS}::test_at_most_one_pong_waits_for_a_peer_that_does_not_read",
    "101 pings a second": (
        f"{RATES}::test_more_than_100_control_frames_a_second_for_10_seconds_close"
    ),
    "100 pings a second": f"{RATES}::test_100_control_frames_a_second_may_come_for_ever",
    "close_timeout": (
        "tests/connection/test_closing.py"
        "::test_a_peer_that_does_not_answer_our_close_is_dropped_in_time"
    ),
    "max_connections": (
        "tests/attacks/test_openings.py::test_more_connections_than_there_is_room_for"
    ),
    "origins": HANDSHAKE_ROWS,  # HS-33, HS-33b
    "no compression": HANDSHAKE_ROWS,  # HS-29
    "trusted_proxies": (
        "tests/rows/test_handshake_rows.py::test_headers_of_proxies_are_not_believed"
    ),
    "a second signal": "tests/test_cli.py::test_a_second_signal_drops_what_is_left",
}

GROUP = {
    "max_message_size": 1 << 20,
    "max_fragments": 4096,
    "ping_interval": 20.0,
    "ping_timeout": 20.0,
    "close_timeout": 5.0,
    "message_timeout": 60.0,
    "write_high_water": 64 << 10,
    "write_limit": 1 << 20,
    "slow_consumer": "disconnect",
    "origins": None,  # what the Handle says: the same origin
}

SERVER = {
    "handshake_timeout": 10.0,
    "drain_timeout": 30.0,
    "max_header_line": 8 << 10,
    "max_head_size": 32 << 10,
    "max_headers": 100,
    "max_connections": 0,  # as descriptors allow, less 128
    "max_connections_per_ip": 0,
    "max_handshakes_in_progress": 1000,
    "trusted_proxies": (),
    "proxy_protocol": False,
}


@pytest.fixture
def from_memory() -> Iterator[Serve]:
    """Makes applications served from memory, and holds them to their end."""
    apps: list[App] = []

    def make(**options: Any) -> App:
        apps.append(App(**options))
        return apps[-1]

    yield make
    for app in apps:
        app.finish()


# --- the table ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), GROUP.items())
def test_a_group_begins_with(name: str, value: object) -> None:
    assert getattr(GroupPolicy(), name) == value
    assert getattr(Handle().group("room").policy, name) == value


@pytest.mark.parametrize(("name", "value"), SERVER.items())
def test_a_server_begins_with(name: str, value: object) -> None:
    assert getattr(ServerConfig(), name) == value


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("## Options of a group", GroupPolicy), ("## Options of a server", ServerConfig)],
)
def test_every_option_has_a_reason(
    heading: str, kind: type[GroupPolicy] | type[ServerConfig]
) -> None:
    reasons = {row[0].strip("`"): row[3] for row in rows_below("guide/limits.md", heading)}
    assert reasons.keys() == {field.name for field in fields(kind)}
    assert all(len(reason) > 5 and reason.endswith(".") for reason in reasons.values()), reasons


@pytest.mark.parametrize("name", sorted(set(ELSEWHERE.values())))
def test_a_test_that_is_named_exists_and_is_not_skipped(name: str) -> None:
    file, _, function = name.partition("::")
    (found,) = [
        node
        for node in ast.parse((ROOT / file).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
    ]
    marks = " ".join(ast.unparse(decorator) for decorator in found.decorator_list)
    assert not re.search("skip|xfail", marks)


def test_nothing_from_the_wire_is_evaluated() -> None:
    sources = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx")]
    assert len(sources) > 50
    for source in sources:
        code = source.read_text()
        assert not re.search(r"^\s*(?:from|import)\s+(?:pickle|marshal|shelve|dill)\b", code, re.M)
        assert not re.search(r"(?<![\w.])(?:eval|exec|compile)\(", code), source


# --- heads of requests ----------------------------------------------------------------------


def head_of(size: int) -> bytes:
    """A handshake of so many bytes, none of its headers long."""
    bare = len(handshake("/ws"))
    lines: list[str] = []
    while (left := size - bare - sum(len(line) + 2 for line in lines)) > 4100:
        lines.append("X: " + "x" * 3995)
    return handshake("/ws", *lines, "X: " + "x" * (left - 5))


def line_of(size: int) -> str:
    """A header of so many bytes, its line end not counted."""
    return "X: " + "x" * (size - 3)


def target_of(size: int) -> str:
    """A target that makes a request line of so many bytes, its line end not counted."""
    return "/ws?" + "x" * (size - len("GET /ws? HTTP/1.1"))


LINE = 8 << 10
HEAD = 32 << 10
OF_A_HANDSHAKE = 5  # headers


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(handshake(target_of(LINE)), 101, id="line"),
        pytest.param(handshake(target_of(LINE - 1)), 101, id="line, a byte less"),
        pytest.param(handshake(target_of(LINE + 1)), 414, id="line and a byte"),
        pytest.param(handshake("/ws", line_of(LINE)), 101, id="header"),
        pytest.param(handshake("/ws", line_of(LINE - 1)), 101, id="header, a byte less"),
        pytest.param(handshake("/ws", line_of(LINE + 1)), 431, id="header and a byte"),
        pytest.param(head_of(HEAD), 101, id="head"),
        pytest.param(head_of(HEAD + 1), 431, id="head and a byte"),
        pytest.param(handshake("/ws", *["X: x"] * (100 - OF_A_HANDSHAKE)), 101, id="100 headers"),
        pytest.param(handshake("/ws", *["X: x"] * (101 - OF_A_HANDSHAKE)), 431, id="101 headers"),
    ],
)
async def test_a_head_may_be_as_large_as_its_limits(head: bytes, status: int) -> None:
    handle = quiet_handle()

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("room")
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server, wire(server) as connection:
        assert (await connection.ask(head)).status == status


async def test_1000_handshakes_may_be_in_progress_all_from_one_address() -> None:
    handle = quiet_handle()
    handle.get("/")(lambda request: "hello")
    async with (
        serve(handle, port=0) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        waiting: list[Wire] = []
        for number in range(1, 1001):
            waiting.append(await stack.enter_async_context(wire(server)))
            if number % 50 == 0:
                await until(lambda: server.admission.handshakes == len(waiting))
        async with wire(server) as late:
            answer = await late.answer()
            assert (answer.status, answer.get("Retry-After")) == (503, "1")
        assert (await waiting[0].ask(request("/"))).status == 200
        async with wire(server) as next_one:
            assert (await next_one.ask(request("/"))).status == 200
        assert (await waiting[-1].ask(request("/"))).status == 200


# --- time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("drip", [b"", b"x"])
def test_a_handshake_has_10_seconds_whatever_comes(from_memory: Serve, drip: bytes) -> None:
    peer = from_memory().connect()
    if drip:
        peer.send(REQUEST[:-4])
    for _ in range(49):
        peer._app.advance(0.2)
        if drip:
            peer.send(drip)
    assert not peer.got_fin
    assert not peer.is_closed
    peer._app.advance(0.4)
    if drip:
        assert peer.take().startswith(b"HTTP/1.1 408 ")
        assert peer.got_fin
    else:
        assert peer.take() == b""
        assert peer.is_closed


def test_a_message_has_60_seconds_and_what_looking_after_the_peer_takes(from_memory: Serve) -> None:
    app = from_memory(text=echo)
    peer = app.open()
    stream = text("x" * 100)
    for i in range(60):
        peer.send(stream[i : i + 1])
        app.advance(1)
    assert peer.info is None
    for i in range(60, 81):
        peer.send(stream[i : i + 1])
        app.advance(1)
    assert peer.info == CloseInfo(1008, "", False, Side.LOCAL)


def test_a_live_peer_is_pinged_every_16_to_20_seconds(from_memory: Serve) -> None:
    app = from_memory()
    peers = [app.open() for _ in range(100)]
    times: dict[int, list[float]] = {number: [] for number in range(100)}
    for step in range(450):
        app.advance(0.1)
        for number, peer in enumerate(peers):
            if peer.received() == [(PING, b"")]:
                times[number].append(step / 10)
                peer.send(frame(10))
    firsts = [found[0] for found in times.values()]
    assert 15.8 <= min(firsts) < 17
    assert 19 < max(firsts) <= 20.2


# --- slow readers ---------------------------------------------------------------------------


def test_64_kib_may_wait_before_send_says_so(from_memory: Serve) -> None:
    peer = from_memory().open()
    peer.set_window(0)
    header = 4
    assert peer.socket.send(bytes(1000 - header)) is SendResult.OK
    assert peer.socket.send(bytes((64 << 10) - 1000 - 10)) is SendResult.OK
    assert peer.socket.buffered_amount == (64 << 10) - 6
    assert peer.socket.send(b"seven b") is SendResult.BUFFERED


@pytest.mark.parametrize(("more", "result"), [(0, SendResult.BUFFERED), (1, SendResult.DROPPED)])
def test_1_mib_may_wait_and_a_byte_more_closes_with_1013(
    from_memory: Serve, more: int, result: SendResult
) -> None:
    peer = from_memory().open()
    peer.set_window(0)
    for _ in range(8):
        assert peer.socket.send(bytes(100_000)) < SendResult.DROPPED
    left = (1 << 20) - peer.socket.buffered_amount
    assert peer.socket.send(bytes(left + more)) is result
    peer.set_window(None)
    if more:
        assert peer.info == CloseInfo(1013, "", False, Side.LOCAL)
        assert peer.received()[-1] == (CLOSE, close_body(1013))
    else:
        assert peer.info is None
        assert len(peer.received()) == 9
