"""`wsgroups.testing`: applications and clients for tests, over TCP and from memory."""

import asyncio
import threading
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.support import quiet_handle, until
from wsgroups import (
    Handle,
    HandlerStatus,
    HandshakeFailedError,
    Request,
    Response,
    SocketGoneError,
    WebSocket,
    testing,
)

Transport = Literal["tcp", "memory"]
each_transport = pytest.mark.parametrize("transport", ["tcp", "memory"])

pytest_plugins = ["pytester"]


def echo_handle(**policy: Any) -> Handle:
    handle = Handle(**policy)

    @handle.get("/echo")
    def enter(request: Request) -> HandlerStatus:
        request.require_upgrade()
        ws = request.send_upgrade("echo", cookies=["seen=1"])
        for greeting in request.query.getall("greet", []):
            ws.send(greeting)
        return HandlerStatus.HANDLED

    @handle.get("/names/{name}")
    def name(request: Request, name: str) -> dict[str, Any]:
        return {"name": name, "cookie": request.cookies.get("a"), "asked": request.headers["X-Ask"]}

    @handle.post("/body")
    async def body(request: Request) -> Response:
        return Response(await request.body(), status=201, reason="Taken")

    @handle.websocket("echo")
    def echo(message: str | bytes, ws: WebSocket) -> None:
        if message == "close":
            ws.disconnect("as you wish", 4000)
        elif message == "raise":
            raise LookupError("internals")
        else:
            ws.send(message)

    return handle


@pytest.mark.parametrize("option", [{"workers": 2}, {"bus": "unix:/tmp/hub"}])
def test_several_processes_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leave workers and bus out"):
        testing.start(Handle(), **option)


@each_transport
async def test_a_client_talks_to_the_application(transport: Transport) -> None:
    async with testing.start(echo_handle(), transport=transport) as app:
        async with app.connect("/echo?greet=hi&greet=again") as client:
            await client.expect("hi", "again")
            assert client.headers["Set-Cookie"] == "seen=1"
            for message in ("text", b"\x00\xff", "", "x" * 300_000, bytes(900_000)):
                await client.send(message)
                assert await client.recv() == message
            await client.send_json({"a": 1})
            await client.expect_json({"a": 1})
            await client.send("one")
            await client.send("two")
            await client.expect("one", "two")
            await client.expect_silence()
            assert 0 <= await client.ping() < 20
        assert client.close_info is not None
        assert client.close_info.code == 1000


@each_transport
async def test_an_answer_over_http(transport: Transport) -> None:
    async with testing.start(echo_handle(), transport=transport) as app:
        reply = await app.get("/names/Ann%20B", headers={"X-Ask": "me", "Cookie": "a=b"})
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        assert reply.json() == {"name": "Ann B", "cookie": "b", "asked": "me"}
        reply = await app.get("/names/Bob", headers={"X-Ask": "you"}, cookies={"a": "c"})
        assert reply.json() == {"name": "Bob", "cookie": "c", "asked": "you"}
        reply = await app.request("POST", "/body", json=[1, None])
        assert (reply.status, reply.reason, reply.text) == (201, "Taken", "[1,null]")
        reply = await app.request("POST", "/body", body=bytes(200_000))
        assert reply.body == bytes(200_000)
        assert (await app.get("/nothing")).status == 404
        assert (await app.get("/echo")).status == 426


@each_transport
async def test_a_refusal_says_how(transport: Transport) -> None:
    async with testing.start(echo_handle(), transport=transport) as app:
        with pytest.raises(HandshakeFailedError, match="404") as caught:
            await app.connect("/elsewhere")
        assert caught.value.status == 404
        with pytest.raises(HandshakeFailedError) as caught:
            async with app.connect("/echo", origin="https://elsewhere.example"):
                pass
        assert caught.value.status == 403


@each_transport
async def test_expectations_fail_with_what_came_instead(
    transport: Transport, error_log: object
) -> None:
    async with testing.start(echo_handle(), transport=transport) as app:
        async with app.connect("/echo") as client:
            await client.send("b")
            with pytest.raises(AssertionError, match="expected 'a', got 'b'"):
                await client.expect("a")
            await client.send("c")
            with pytest.raises(AssertionError, match="expected silence, got 'c'"):
                await client.expect_silence()
            await client.send("d" * 1000)
            with pytest.raises(
                AssertionError, match=r"close with 1000, .* first: 'd+\.\.\. \(1002"
            ):
                await client.expect_close()
            with pytest.raises(
                AssertionError, match=r"expected 'e': no message in 0\.01 s; .*open"
            ):
                await client.expect("e", timeout=0.01)
            with pytest.raises(AssertionError, match=r"but it is open after 0\.01 s"):
                await client.expect_close(timeout=0.01)
            await client.send("close")
            info = await client.expect_close(4000, "as you wish")
            assert (info.code, info.reason, info.clean) == (4000, "as you wish", True)
            with pytest.raises(AssertionError, match="close with 1000, but it closed with 4000"):
                await client.expect_close(1000)
            with pytest.raises(AssertionError, match="'no', but it closed with 4000 'as you wish'"):
                await client.expect_close(4000, "no")
            with pytest.raises(AssertionError, match="expected 'x', but it closed with 4000"):
                await client.expect("x")
            with pytest.raises(AssertionError, match="expected silence, but it closed with 4000"):
                await client.expect_silence()
            with pytest.raises(SocketGoneError):
                await client.recv()
        async with app.connect("/echo") as client:
            await client.send("raise")
            with pytest.raises(AssertionError, match=r"1011 '.*a handler may have raised, the log"):
                await client.expect("x")


@each_transport
async def test_the_application_ends_with_its_clients(transport: Transport) -> None:
    handle = echo_handle()
    gone: list[int] = []

    @handle.websocket_disconnect("echo")
    def disconnect(ws: WebSocket) -> None:
        assert ws.close_info is not None
        gone.append(ws.close_info.code)

    async with testing.start(handle, transport=transport) as app:
        first, second = await app.connect("/echo"), await app.connect("/echo")
        await app.server.close()
        await first.expect_close(1001)
        await second.expect_close(1001)
        with pytest.raises(ConnectionRefusedError):
            await app.connect("/echo")
    async with testing.start(handle, transport=transport) as app:
        third = await app.connect("/echo")
    assert not third.is_open
    assert gone == [1001, 1001, 1000]
    await app.close()


@each_transport
async def test_the_end_waits_for_nobody_who_has_gone_or_hangs(
    transport: Transport, error_log: object
) -> None:
    app = testing.start(echo_handle(), transport=transport, timeout=60.0)
    async with app:
        assert (await app.get("/nothing")).status == 404
        with pytest.raises(HandshakeFailedError):
            await app.connect("/elsewhere")
        client = await app.connect("/echo")
        await client.send("raise")
        await client.expect_close(1011)
        gone, hanging = await app.connect("/echo"), await app.connect("/echo")
        gone.abort()
        hanging.hang()
        async with asyncio.timeout(10):
            await app.close()
        assert hanging.close_info is not None
        assert (hanging.close_info.code, hanging.close_info.clean) == (1006, False)


@each_transport
async def test_other_threads_and_tasks_reach_the_sockets(transport: Transport) -> None:
    handle = echo_handle()
    async with testing.start(handle, transport=transport) as app, app.connect("/echo") as client:
        (ws,) = handle.group("echo")
        ws.send("from a task")
        await client.expect("from a task")
        thread = threading.Thread(target=lambda: WebSocket(ws.id).send("from a thread"))
        thread.start()
        await client.expect("from a thread")
        thread.join()


@each_transport
async def test_asynchronous_handlers_run(transport: Transport) -> None:
    handle = quiet_handle()
    go = asyncio.Event()

    @handle.get("/ws")
    async def enter(request: Request) -> HandlerStatus:
        await asyncio.sleep(0)
        request.send_upgrade("slow")
        return HandlerStatus.HANDLED

    @handle.websocket("slow")
    async def slow(message: str, ws: WebSocket) -> None:
        await go.wait()
        ws.send(message)

    async with testing.start(handle, transport=transport) as app, app.connect("/ws") as client:
        count = 500  # far more than wait behind a suspended handler before reading stops
        for number in range(count):
            await client.send(str(number))
        go.set()
        await client.expect(*(str(number) for number in range(count)))


@each_transport
async def test_a_client_that_hangs_is_a_slow_one(transport: Transport) -> None:
    handle = echo_handle(write_limit=32 << 20, write_high_water=1 << 20)
    async with testing.start(handle, transport=transport) as app:
        client = await app.connect("/echo")
        (ws,) = handle.group("echo")
        client.hang()
        for _ in range(16):
            ws.send(bytes(1 << 20))
        await asyncio.sleep(0)
        assert ws.buffered_amount > 1 << 20
        client.abort()
        await until(lambda: ws.is_dead())


async def test_time_passes_when_it_is_told_to() -> None:
    handle = echo_handle(ping_interval=20.0, ping_timeout=20.0)
    closed: list[int] = []

    @handle.websocket_disconnect("echo")
    def disconnect(ws: WebSocket) -> None:
        assert ws.close_info is not None
        closed.append(ws.close_info.code)

    async with testing.start(handle, transport="memory") as app:
        alive = await app.connect("/echo")
        dead = await app.connect("/echo")
        dead.hang()
        await app.advance(19)
        assert closed == []
        await app.advance(22)
        assert closed == [1011]
        await app.advance(3600)
        await alive.send("still here")
        await alive.expect("still here")
        await app.server.close()
        await alive.expect_close(1001)
        assert closed == [1011, 1001]


async def test_only_memory_has_a_clock_that_can_be_moved() -> None:
    async with testing.start(echo_handle()) as app:
        with pytest.raises(RuntimeError, match='transport="memory"'):
            await app.advance(1)
        with pytest.raises(ValueError, match="begins with '/'"):
            await app.get("names")
    with pytest.raises(ValueError, match="'tcp' or 'memory', not 'udp'"):
        testing.start(echo_handle(), transport="udp")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did you mean 'max_body_size'"):
        testing.start(echo_handle(), max_bodysize=1)


async def test_an_application_on_a_unix_socket(tmp_path: Path) -> None:
    async with testing.start(echo_handle(), uds=str(tmp_path / "s")) as app:
        async with app.connect("/echo") as client:
            await client.send("hello")
            await client.expect("hello")
        assert (await app.get("/nothing")).status == 404


async def test_an_answer_that_never_comes_fails() -> None:
    handle = Handle()
    never = asyncio.Event()

    @handle.get("/slow")
    async def slow(request: Request) -> str:
        await never.wait()
        return ""

    async with testing.start(handle, timeout=0.05) as app:
        with pytest.raises(AssertionError, match=r"GET /slow: no answer in 0\.05 s"):
            await app.get("/slow")
        with pytest.raises(AssertionError, match=r"no answer to the handshake in 0\.05 s"):
            await app.connect("/slow")
        never.set()


async def test_the_fixture_starts_and_stops(wsgroups_start: Any) -> None:
    app = await wsgroups_start(echo_handle())
    other = await wsgroups_start(echo_handle(), transport="memory", timeout=1.0)
    assert (app.timeout, other.timeout) == (5.0, 1.0)
    for each in (app, other):
        client = await each.connect("/echo?greet=hi")
        await client.expect("hi")


PROJECT = """
import pytest
from wsgroups import Handle, HandlerStatus

handle = Handle()

@handle.get("/ws")
def enter(request):
    request.send_upgrade("room").send("welcome")
    return HandlerStatus.HANDLED

@handle.websocket("room")
def echo(message: str, ws):
    ws.send(message)
"""
TESTS = """
from app import handle

async def test_right(wsgroups_start):
    app = await wsgroups_start(handle)
    assert app.timeout == 0.5
    client = await app.connect("/ws")
    await client.expect("welcome")

async def test_wrong(wsgroups_start):
    app = await wsgroups_start(handle)
    client = await app.connect("/ws")
    await client.expect("welcome", "and more")
"""


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_plugin_works_in_a_project_of_its_own(pytester: pytest.Pytester, mode: str) -> None:
    tests = TESTS if mode == "auto" else TESTS.replace("async", "@pytest.mark.asyncio\nasync")
    pytester.makepyfile(app=PROJECT, test_app=f"import pytest\n{tests}")
    pytester.makeini(f"[pytest]\nasyncio_mode = {mode}\nwsgroups_timeout = 0.5")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*expected 'and more': no message in 0.5 s; the socket is open*"])


def test_without_pytest_asyncio_the_fixture_says_what_to_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        pytest_asyncio="raise ImportError('not installed')",
        test_app="def test_one(wsgroups_start): pass",
    )
    result = pytester.runpytest_subprocess("-p", "no:asyncio")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*write 'async with wsgroups.testing.start(handle) as app'*"])


def test_the_plugin_can_be_named(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(): pass")
    pytester.runpytest_subprocess("-p", "wsgroups.testing").assert_outcomes(passed=1)
