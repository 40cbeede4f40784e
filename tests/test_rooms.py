"""Rooms: sets with a name that sockets join and leave at run time."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from tests.support import PATIENCE, Gate, quiet_handle, turns, until
from wsgroups import Handle, Room, SocketSet, WebSocket, testing
from wsgroups.connection.members import Witness


async def test_a_message_to_a_room_goes_to_those_who_have_joined() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle) as app:
        (a, ann), (b, bob), (c, eve) = await gate.admit(app, 3)
        assert ann.join("chess") is True
        assert bob.join("chess") is True
        assert ann.join("chess") is True  # again makes no difference
        assert eve.join("go") is True
        chess = handle.room("chess")
        assert len(chess) == 2
        assert set(chess) == {ann, bob}
        assert ann in chess
        assert eve.id not in chess
        assert sorted(chess.ids()) == sorted([ann.id, bob.id])
        assert chess.send("to both") == 2
        assert chess.send("to Bob", exclude=ann) == 1
        assert chess.send_to_all_except_one("to Ann", bob) == 1
        assert handle.room("go").send_to_all("to Eve") == 1
        await a.expect("to both", "to Ann")
        await b.expect("to both", "to Bob")
        await c.expect("to Eve")
        for client in (a, b, c):
            await client.expect_silence()


async def test_a_socket_knows_its_rooms() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        others = SocketSet([ws])
        assert ws.rooms == frozenset()
        ws.join("chess")
        ws.join("go")
        assert ws.rooms == {"chess", "go"}
        assert WebSocket(ws.id).rooms == {"chess", "go"}
        ws.leave("chess")
        ws.leave("never joined")
        assert ws.rooms == {"go"}
        assert len(handle.room("chess")) == 0
        await client.close()
        assert ws.is_dead()
        assert ws.rooms == frozenset()
        assert len(handle.room("go")) == len(others) == 0
        assert ws.join("go") is False
        ws.leave("go")
    assert WebSocket(7).join("go") is False
    assert WebSocket(7).rooms == frozenset()


async def test_rooms_are_shared_by_the_groups_of_a_handle_only() -> None:
    handle, stranger = quiet_handle(), quiet_handle()
    gate, other = Gate(handle), Gate(handle, group="other", path="/other")
    async with testing.start(handle) as app:
        ends = await gate.admit(app, 1) + await other.admit(app, 1)
        for _, ws in ends:
            ws.join("chess")
        assert handle.room("chess").send("hello") == 2
        assert stranger.room("chess").send("nobody") == 0
        for client, _ in ends:
            await client.expect("hello")
            await client.expect_silence()


async def test_a_room_lives_while_it_has_members_or_is_referred_to() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle) as app:
        (_, ann), (_, bob) = await gate.admit(app, 2)
        kept = handle.room("kept")
        for number in range(1000):
            ann.join(f"room {number}")
            bob.join(f"room {number}")
        gc.collect()
        assert all(len(handle.room(f"room {number}")) == 2 for number in range(1000))
        for number in range(1000):
            ann.leave(f"room {number}")
        assert len(bob.rooms) == 1000
        bob.disconnect()
        assert living_rooms(handle) == {"kept"}
        ann.join("kept")
        assert len(kept) == 1
        assert handle.room("kept") is kept


def living_rooms(handle: Handle) -> set[str]:
    """Return the names of the rooms that exist for a Handle."""
    return {x.name for x in gc.get_objects() if isinstance(x, Room) and handle.room(x.name) is x}


async def test_rooms_can_be_used_from_any_thread() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle, timeout=PATIENCE) as app:
        ends = await gate.admit(app, 20)
        sockets = [ws for _, ws in ends]

        def come_and_go(number: int) -> None:
            for _ in range(200):
                for ws in sockets:
                    ws.join(f"room {number % 4}")
                handle.room(f"room {number % 4}").send("x")
                for ws in sockets:
                    ws.leave(f"room {number % 4}")
            for ws in sockets:
                ws.join(f"thread {number}")

        threads = [threading.Thread(target=come_and_go, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for client, _ in ends:
            await client.expect("x")
        await until(lambda: not any(thread.is_alive() for thread in threads))
        await turns()
        for n in range(8):
            assert len(handle.room(f"thread {n}")) == 20
        for ws in sockets:
            assert {f"thread {n}" for n in range(8)} <= ws.rooms


async def test_another_thread_may_let_go_of_a_socket_while_it_leaves_its_rooms() -> None:
    """Whoever is told of the first room may be another thread's chance."""
    handle = Handle()
    gate = Gate(handle)
    notes: list[tuple[bytes, int, bool]] = []
    errors: list[BaseException] = []
    threads: list[threading.Thread] = []

    def let_go(ws: WebSocket) -> None:
        for room in rooms:
            try:
                room.discard(ws)
            except BaseException as error:
                errors.append(error)

    def wake(loop: asyncio.AbstractEventLoop) -> None:
        notes.extend(witness.take())
        if not notes[-1][2] and not threads:
            threads.append(threading.Thread(target=let_go, args=(ws,)))
            threads[0].start()
            threads[0].join()

    witness = Witness(wake)
    rooms = [handle.room(name) for name in "abc"]
    async with testing.start(handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        for room in rooms:
            room.members.witness, room.members.label = witness, room.name.encode()
            room.add(ws)
        client.abort()
        await until(lambda: threads and not any(map(len, rooms)))
    assert errors == []
    assert sorted(label for label, _, came in notes if came) == [b"a", b"b", b"c"]
    assert sorted(label for label, _, came in notes if not came) == [b"a", b"b", b"c"]


async def test_a_room_can_be_closed() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle) as app:
        ends = await gate.admit(app, 2)
        for _, ws in ends:
            ws.join("chess")
        handle.room("chess").close(4000, "over")
        for client, _ in ends:
            await client.expect_close(4000, "over")
        assert len(handle.room("chess")) == 0


@pytest.mark.parametrize("name", [None, 7, b"chess"])
async def test_the_name_of_a_room_is_a_string(name: Any) -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    with pytest.raises(TypeError, match="the name of a room is a str"):
        handle.room(name)
    async with testing.start(handle) as app:
        ((_, ws),) = await gate.admit(app, 1)
        with pytest.raises(TypeError, match="the name of a room is a str"):
            ws.join(name)
