"""Senders that wait for a peer: `deliver` in tasks, `slow_consumer="wait"` in threads."""

import asyncio
from typing import Any

import pytest

from tests.support import Gate, quiet_handle, soon, turns, until
from wsgroups import Handle, SendResult, WebSocket, serve, testing

SIZE, COUNT = 10_000, 1000  # ten times more than the kernel and the limit together take
POLICIES = ["disconnect", "drop_newest", "drop_oldest", "conflate", "wait"]


def numbered(start: int, count: int = COUNT) -> list[str]:
    return [f"{number:{SIZE}}" for number in range(start, start + count)]


def waiting_handle(policy: str) -> Handle:
    return quiet_handle(slow_consumer=policy, write_limit=200_000)


async def fill(ws: WebSocket) -> int:
    """Send until the limit is reached and the kernel takes no more; returns how many were taken."""
    count = 0
    while ws.send("x" * SIZE) is not SendResult.DROPPED:
        count += 1
        await turns(1)
    return count


@pytest.mark.parametrize("policy", POLICIES)
async def test_deliver_waits_for_a_slow_peer_and_loses_nothing(policy: str) -> None:
    handle = waiting_handle(policy)
    gate = Gate(handle)
    async with testing.start(handle) as app, app.connect("/ws") as client:
        ws = await gate.next()
        client.hang()

        async def work(start: int) -> None:
            for message in numbered(start, COUNT // 4):
                assert await ws.deliver(message) < SendResult.DROPPED
                assert ws.buffered_amount < 200_000

        tasks = [asyncio.ensure_future(work(start)) for start in range(0, 4000, 1000)]
        await until(lambda: ws.buffered_amount > 64 << 10)
        await turns(20)
        assert not all(task.done() for task in tasks)
        client.go_on()
        got = [await client.recv() for _ in range(COUNT)]
        await soon(asyncio.gather(*tasks))
        assert sorted(got) == sorted(m for s in range(0, 4000, 1000) for m in numbered(s, 250))
        for start in range(0, 4000, 1000):
            mine = [m for m in got if start <= int(m) < start + 1000]
            assert mine == numbered(start, 250), "each task's order is kept"
        assert ws.dropped == 0


async def test_deliver_ends_with_its_socket() -> None:
    handle = waiting_handle("disconnect")
    gate = Gate(handle)
    async with testing.start(handle) as app:
        client = await app.connect("/ws")
        ws = await gate.next()
        client.hang()
        while await asyncio.wait_for(ws.deliver("x" * SIZE), 5) is SendResult.OK:
            if ws.buffered_amount > 64 << 10:
                break
        waiting = asyncio.ensure_future(ws.deliver("never"))
        await turns()
        assert not waiting.done()
        client.abort()
        assert await soon(waiting) is SendResult.GONE
        assert await ws.deliver("too late") is SendResult.GONE
        assert await WebSocket(5).deliver("to nobody") is SendResult.GONE


@pytest.mark.parametrize("policy", ["wait", "block"])
async def test_threads_wait_where_the_policy_says_so_and_nothing_is_lost(policy: str) -> None:
    handle = waiting_handle(policy)
    gate = Gate(handle)
    threads = 4
    async with testing.start(handle) as app, app.connect("/ws") as client:
        ws = await gate.next()
        client.hang()
        before = await fill(ws)

        def work(start: int) -> None:
            for message in numbered(start, COUNT // threads):
                assert WebSocket(ws.id).send(message) is SendResult.OK

        running = [asyncio.to_thread(work, number * 1000) for number in range(threads)]
        sending = asyncio.gather(*running)
        await turns(20)
        client.go_on()
        await client.expect(*["x" * SIZE] * before)
        got = [await client.recv() for _ in range(COUNT)]
        await soon(sending)
        for number in range(threads):
            mine = [m for m in got if number * 1000 <= int(m) < number * 1000 + 1000]
            assert mine == numbered(number * 1000, COUNT // threads)
        assert ws.dropped == handle.group("room").dropped == 1


async def test_a_waiting_thread_learns_that_the_socket_is_gone() -> None:
    handle = waiting_handle("wait")
    gate = Gate(handle)
    async with testing.start(handle) as app:
        client = await app.connect("/ws")
        ws = await gate.next()
        client.hang()
        await fill(ws)
        sending = asyncio.ensure_future(asyncio.to_thread(ws.send, "never"))
        await turns(20)
        assert not sending.done()
        client.abort()
        assert await soon(sending) is SendResult.GONE


@pytest.mark.parametrize("option", [0, 1 << 30])
async def test_the_limit_of_all_queues_is_an_option(option: int) -> None:
    async with serve(Handle(), port=0, max_total_write_buffer=option):
        pass


async def test_above_the_limit_of_all_a_slow_peer_goes(wsgroups_start: Any) -> None:
    handle = quiet_handle(write_limit=64 << 20)
    gate = Gate(handle)
    app = await wsgroups_start(handle, max_total_write_buffer=1 << 20)
    slow, quick = await app.connect("/ws"), await app.connect("/ws")
    sockets = [await gate.next(), await gate.next()]
    slow.hang()
    for number in range(100):
        handle.group("room").send(f"{number}" * 100_000)
        await quick.expect(f"{number}" * 100_000)
    assert [ws.is_dead() for ws in sockets] == [True, False]
    slow.go_on()
    await until(lambda: sockets[0].close_info is not None)
    assert sockets[0].close_info.code == 1013
