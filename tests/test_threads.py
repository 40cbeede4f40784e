"""Every verb from other threads, and from other loops."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
import uvloop

from tests.support import (
    CLOSE,
    TEXT,
    Gate,
    client,
    frame,
    quiet_handle,
    soon,
    turns,
    until,
    wire,
)
from wsgroups import (
    ConnectionFlags,
    Handle,
    SendResult,
    Server,
    SocketGoneError,
    SocketSet,
    SocketStatus,
    WebSocket,
    serve,
)


@pytest.mark.parametrize("meanwhile", ["leaves", "is excluded"])
async def test_a_walk_means_those_who_were_there_when_it_began(
    meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread acts between two members, as soon as Python code runs there."""
    handle = quiet_handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as server, contextlib.AsyncExitStack() as stack:
        connections, sockets = [], []
        for _ in range(6):
            connections.append(await stack.enter_async_context(wire(server)))
            await connections[-1].upgrade()
            sockets.append(await gate.next())
        some = SocketSet(sockets)
        loop = asyncio.get_running_loop()
        is_closed = loop.is_closed
        threads: list[threading.Thread] = []

        def act() -> None:
            if meanwhile == "leaves":
                some.discard(sockets[0])
            else:
                some.send("second", exclude=sockets[0])

        def chance() -> bool:
            if not threads:
                threads.append(threading.Thread(target=act))
                threads[0].start()
                threads[0].join()
            return is_closed()

        monkeypatch.setattr(loop, "is_closed", chance)
        assert some.send("first", exclude=() if meanwhile == "leaves" else sockets[0]) >= 5
        monkeypatch.undo()
        assert threads
        await turns(10)
        for ws in sockets:
            ws.send("end")
        for number, connection in enumerate(connections):
            got: list[bytes] = []
            while not got or got[-1] != b"end":
                got.append((await connection.frame())[1])
            if meanwhile == "leaves":
                assert got == [b"first", b"end"]
            elif number == 0:
                assert got == [b"end"]
            else:
                assert sorted(got[:-1]) == [b"first", b"second"]


async def test_messages_of_each_thread_arrive_in_its_order() -> None:
    handle = quiet_handle(write_limit=64 << 20)
    gate = Gate(handle)
    threads, each = 8, 500

    def work(id: int, name: int) -> None:
        for number in range(each):
            assert WebSocket(id).send(f"{name} {number}") is SendResult.OK

    async with serve(handle, port=0) as server, client(server) as connection:
        ws = await gate.next()
        running = [asyncio.to_thread(work, ws.id, name) for name in range(threads)]
        sending = asyncio.gather(*running)
        got: dict[int, list[int]] = {name: [] for name in range(threads)}
        for _ in range(threads * each):
            name, number = map(int, str(await soon(connection.recv())).split())
            got[name].append(number)
        await soon(sending)
        assert got == {name: list(range(each)) for name in range(threads)}


async def test_what_a_thread_does_in_a_row_happens_in_a_row() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await gate.next()

        def work() -> None:
            assert ws.send("one") is SendResult.OK
            assert ws.send(b"two" * 10_000) is SendResult.OK
            assert ws.send_json({"three": 3}) is SendResult.OK
            assert ws.group.send("four") == 1
            ws.disconnect("five", 4005)
            ws.send("six")

        await asyncio.to_thread(work)
        assert await connection.frame() == (TEXT, b"one")
        assert await connection.frame() == (2, b"two" * 10_000)
        assert await connection.frame() == (TEXT, b'{"three":3}')
        assert await connection.frame() == (TEXT, b"four")
        assert await connection.closing() == (4005, "five")


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (ConnectionFlags.DISCONNECT_AFTER_SEND, 1000),
        (ConnectionFlags.GRACEFULLY_CLOSE_CONNECTION, 1000),
        (ConnectionFlags.DISCONNECT_IMMEDIATELY, None),
    ],
)
async def test_flags_work_from_a_thread(flags: ConnectionFlags, code: int | None) -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await gate.next()
        result = await asyncio.to_thread(lambda: ws.send("last", flags=flags))
        assert result is SendResult.OK
        assert await connection.frame() == (TEXT, b"last")
        if code is None:
            assert await connection.read_all() == b""
        else:
            assert await connection.closing() == (code, "")


async def test_groups_and_sets_work_from_a_thread() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    group = handle.group("room")
    async with serve(handle, port=0) as server, contextlib.AsyncExitStack() as stack:
        ends = []
        for _ in range(3):
            connection = await stack.enter_async_context(wire(server))
            await connection.upgrade()
            ends.append((connection, await gate.next()))

        def work() -> None:
            assert len(group) == 3
            assert set(group) == {ws for _, ws in ends}
            assert group.send("all") == 3
            assert group.send("others", exclude=ends[0][1]) == 2
            assert group.send_to_all_except_one("others", ends[0][1]) == 2
            some = SocketSet([ends[0][1], ends[1][1].id])
            assert some.send(b"some") == 2
            assert some.add(ends[2][1])
            assert some.send_json(1) == 3
            group.close(4000, "end")

        await asyncio.to_thread(work)
        got = []
        for connection, _ in ends:
            messages = []
            while (message := await connection.frame())[0] != CLOSE:
                messages.append(message[1])
            got.append((messages, message[1][2:]))
        assert got == [
            ([b"all", b"some", b"1"], b"end"),
            ([b"all", b"others", b"others", b"some", b"1"], b"end"),
            ([b"all", b"others", b"others", b"1"], b"end"),
        ]


async def test_what_leaves_a_set_after_a_send_from_a_thread_still_gets_the_message() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await gate.next()

        def work() -> None:
            some = SocketSet([ws])
            assert some.send("sent while it was in") == 1
            some.discard(ws)
            assert some.send("sent while it was out") == 0
            ws.send("end")

        await asyncio.to_thread(work)
        assert await connection.frame() == (TEXT, b"sent while it was in")
        assert await connection.frame() == (TEXT, b"end")


async def test_a_thread_sees_the_truth_about_a_socket() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as server:
        async with client(server):
            ws = await gate.next()
            assert await asyncio.to_thread(lambda: WebSocket(ws.id).status) is SocketStatus.OPEN
        await until(ws.is_dead)

        def work() -> None:
            socket = WebSocket(ws.id)
            assert socket.status is SocketStatus.CLOSED
            assert socket.is_dead()
            assert socket.send("x") is SendResult.GONE
            assert ws.send("x") is SendResult.GONE
            ws.disconnect()
            socket.disconnect()

        await asyncio.to_thread(work)


async def test_a_socket_that_closes_meanwhile_takes_no_harm_from_threads() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    group = handle.group("room")
    stop = threading.Event()
    ids: set[int] = set()

    def work() -> None:
        while not stop.is_set():
            for id in list(ids):
                WebSocket(id).send("x")
            group.send("y")
            assert all(isinstance(ws, WebSocket) for ws in group)

    async with serve(handle, port=0) as server:
        sending = asyncio.gather(*(asyncio.to_thread(work) for _ in range(3)))
        for round in range(12):
            async with wire(server) as connection:
                await connection.upgrade()
                ids.add((await gate.next()).id)
                await connection.frame()
                if round % 3 == 0:
                    connection.reset()
                elif round % 3 == 1:
                    await connection.send(frame(CLOSE))
        stop.set()
        await soon(sending)


async def test_a_thread_that_outruns_a_busy_loop_is_told_so() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    results: list[SendResult] = []
    async with serve(handle, port=0) as server, client(server) as connection:
        ws = await gate.next()

        def work() -> None:
            while not results or results[-1] is SendResult.OK:
                results.append(ws.send("x"))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()  # nothing else runs in the loop meanwhile
        assert results[-1] is SendResult.DROPPED
        assert len(results) > 10_000
        for _ in range(len(results) - 1):
            assert await soon(connection.recv()) == "x"


async def test_a_timer_thread_may_broadcast_by_id() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as server, client(server) as connection:
        id = (await gate.next()).id
        timer = threading.Timer(0, lambda: WebSocket(id).send(f"Broadcasting id: {id}"))
        timer.start()
        assert await soon(connection.recv()) == f"Broadcasting id: {id}"
        timer.join()


# --- another loop ---------------------------------------------------------------------------


@contextlib.contextmanager
def served_elsewhere(handle: Handle) -> Iterator[Server]:
    """The same application in another loop, in a thread of its own."""
    ready: list[tuple[Server, asyncio.AbstractEventLoop, asyncio.Event]] = []
    started = threading.Event()

    async def main() -> None:
        stop = asyncio.Event()
        async with serve(handle, port=0) as server:
            ready.append((server, asyncio.get_running_loop(), stop))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=uvloop.run, args=(main(),))
    thread.start()
    started.wait()
    server, loop, stop = ready[0]
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def test_a_group_may_have_members_in_several_loops() -> None:
    handle = Handle()
    gate = Gate(handle)
    group = handle.group("room")
    handle.websocket("room")(lambda message, ws: ws.group.send(message, exclude=ws))
    with served_elsewhere(handle) as there:
        async with serve(handle, port=0) as here, client(here) as ours, client(there) as theirs:
            await until(lambda: len(group) == 2)
            await ours.send("from here")
            assert await soon(theirs.recv()) == "from here"
            await theirs.send("from there")
            assert await soon(ours.recv()) == "from there"
            assert group.send("from outside") == 2
            assert await soon(ours.recv()) == await soon(theirs.recv()) == "from outside"
            assert await asyncio.to_thread(group.send, "from a thread") == 2
            assert await soon(ours.recv()) == await soon(theirs.recv()) == "from a thread"
    assert gate is not None


async def _drain_and_ping(ws: WebSocket) -> float:
    await ws.drain()
    return await ws.ping()


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
async def test_drain_and_ping_may_be_awaited_in_another_loop(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    handle = quiet_handle()
    gate = Gate(handle)

    def work(ws: WebSocket) -> float:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(_drain_and_ping(ws))

    async with serve(handle, port=0) as server:
        async with client(server):
            ws = await gate.next()
            assert await soon(asyncio.to_thread(work, ws)) > 0
        await until(ws.is_dead)
        with pytest.raises(SocketGoneError):
            await soon(asyncio.to_thread(work, ws))
