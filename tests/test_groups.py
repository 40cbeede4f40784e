"""Groups and sets of sockets: who is in them, their verbs, their policy, and unknown ones."""

import asyncio
import logging
from typing import Any

import pytest

from tests.support import PING, TEXT, Gate, frame, quiet_handle, soon, turns, until, wire
from wsgroups import (
    CloseCode,
    CloseInfo,
    GroupPolicy,
    Handle,
    HandlerStatus,
    HandshakeFailedError,
    Request,
    SendResult,
    Side,
    SocketSet,
    UnknownGroupError,
    WebSocket,
    serve,
    testing,
)

# --- who is in it ---------------------------------------------------------------------------


async def test_a_group_knows_its_sockets() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    group = handle.group("room")
    async with testing.start(handle) as app:
        assert (len(group), list(group), group.ids()) == (0, [], [])
        ends = await gate.admit(app, 3)
        sockets = [ws for _, ws in ends]
        assert len(group) == 3
        assert set(group) == set(sockets)
        assert set(group.ids()) == {ws.id for ws in sockets}
        assert all(ws in group and ws.id in group for ws in sockets)
        assert sockets[0].id + 1000 not in group
        assert WebSocket(0) not in group
        assert all(ws.group is group for ws in group)
        sockets[1].disconnect()
        assert sockets[1] not in group
        assert set(group) == {sockets[0], sockets[2]}
        for client, _ in ends:
            client.abort()
        await until(lambda: len(group) == 0)
    assert list(group) == []


def test_a_group_has_its_name_and_is_the_same_each_time() -> None:
    handle = Handle()
    for name in ("room", "", "with spaces", "ÄÖÜ", "x" * 10_000, "a\0b"):
        assert handle.group(name).name == name
        assert handle.group(name) is handle.group(name)
    assert handle.group("room") is not Handle().group("room")
    assert "room" in repr(handle.group("room"))


def test_a_name_is_a_string() -> None:
    with pytest.raises(TypeError, match="the name of a group is a str, not int"):
        Handle().group(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the name of a group is a str, not int"):
        Handle().websocket(5)(lambda message, ws: None)  # type: ignore[arg-type]


def test_orphans_can_be_asked_for_where_they_are_handled() -> None:
    handle = Handle()
    handle.websocket_disconnect("chat", orphans=True)(lambda ws: None)
    handle.websocket_disconnect("quiet")(lambda ws: None)
    assert handle.group("chat").policy.orphans
    assert not handle.group("quiet").policy.orphans


async def test_a_socket_is_in_exactly_one_group() -> None:
    handle = quiet_handle()
    handle.websocket("other")(lambda message, ws: ws.send("other"))
    gate, other = Gate(handle), Gate(handle, "other", "/other")
    async with testing.start(handle) as app:
        ((_, ours),) = await gate.admit(app, 1)
        ((_, theirs),) = await other.admit(app, 1)
        assert handle.group("room").ids() == [ours.id]
        assert handle.group("other").ids() == [theirs.id]
        assert ours not in handle.group("other")


async def test_members_come_and_go_in_any_order() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    group = handle.group("room")
    async with testing.start(handle) as app:
        left = {ws for _, ws in await gate.admit(app, 40)}
        for step in (3, 2, 1):
            for ws in sorted(left, key=int)[::step]:
                ws.disconnect()
                left.discard(ws)
                assert set(group) == left
                assert group.send("x") == len(left)
        assert len(group) == 0


# --- verbs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "is_text", "expected"),
    [
        ("grüße", None, "grüße"),
        (b"\x00", None, b"\x00"),
        (bytearray(b"x"), None, b"x"),
        (b"text", True, "text"),
        ("x" * 100_000, None, "x" * 100_000),
        (b"x" * 100_000, None, b"x" * 100_000),
    ],
)
async def test_send_reaches_every_member(
    data: Any, is_text: bool | None, expected: str | bytes
) -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle) as app:
        ends = await gate.admit(app, 5)
        assert handle.group("room").send(data, is_text=is_text) == 5
        for client, _ in ends:
            await client.expect(expected)


async def test_send_json_and_the_names_of_the_original_reach_every_member() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    group = handle.group("room")
    async with testing.start(handle) as app:
        (a, ann), (b, bob), (c, eve) = await gate.admit(app, 3)
        assert group.send_json({"a": 1}) == 3
        assert group.send_json([2], exclude=ann) == 2
        assert group.send_to_all("three") == 3
        assert group.send_to_all_except_one("four", bob) == 2
        assert group.send_to_all_except_one("five", eve.id) == 2
        await a.expect('{"a":1}', "three", "four", "five")
        await b.expect('{"a":1}', "[2]", "three", "five")
        await c.expect('{"a":1}', "[2]", "three", "four")
        for client in (a, b, c):
            await client.expect_silence()


async def test_exclude_takes_sockets_ids_and_sets() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    group = handle.group("room")
    async with testing.start(handle) as app:
        ends = await gate.admit(app, 4)
        one, two, three, four = (ws for _, ws in ends)
        excluded: list[tuple[Any, int]] = [
            ((), 4),
            (one, 3),
            (one.id, 3),
            (WebSocket(one.id), 3),
            ([one, two], 2),
            ({one.id, two.id}, 2),
            ((one, two.id, one), 2),
            (SocketSet([one, two, three]), 1),
            ([SocketSet([one, two]), three.id], 1),
            ({"by": "key"}.keys() & {"nothing"}, 4),
            ((ws for ws in (two, three)), 2),
            (group, 0),
            (0, 4),
            ([-1, 1 << 70], 4),
            (four.id + 1, 4),
        ]
        for number, (exclude, count) in enumerate(excluded):
            assert group.send(str(number), exclude) == count, exclude
        expected = [
            "0 9 10 12 13 14",
            "0 1 2 3 9 12 13 14",
            "0 1 2 3 4 5 6 9 12 13 14",
            "0 1 2 3 4 5 6 7 8 9 10 12 13 14",
        ]
        for (client, _), numbers in zip(ends, expected, strict=True):
            await client.expect(*numbers.split())
            await client.expect_silence()


async def test_exclude_refuses_what_is_no_socket() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    wrong: Any
    async with testing.start(handle) as app:
        ((client, _),) = await gate.admit(app, 1)
        for wrong in (None, 1.5, "x", b"x", [None], ["x"]):
            with pytest.raises(TypeError):
                handle.group("room").send("x", wrong)
        await client.expect_silence()


async def test_send_of_no_message_is_refused_even_with_no_members() -> None:
    group = Handle().group("room")
    wrong: Any = 1
    with pytest.raises(TypeError):
        group.send(wrong)
    assert group.send("x") == 0


async def test_close_begins_the_handshake_with_every_member() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    gone: list[WebSocket] = []
    handle.websocket_disconnect("room")(gone.append)
    group = handle.group("room")
    async with testing.start(handle) as app:
        ends = await gate.admit(app, 4)
        with pytest.raises(ValueError, match="1005"):
            group.close(1005)
        assert len(group) == 4
        group.close(CloseCode.SERVICE_RESTART, "moving")
        assert len(group) == 0
        for client, _ in ends:
            await client.expect_close(1012, "moving")
        await until(lambda: len(gone) == 4)
        assert all(ws.close_info.clean for ws in gone)
    assert len(gone) == 4


async def test_a_member_that_is_gone_is_not_counted() -> None:
    handle = quiet_handle(write_limit=1 << 20)
    gate = Gate(handle)
    group = handle.group("room")
    async with testing.start(handle) as app:
        (client, slow), (_, ready) = await gate.admit(app, 2)
        client.hang()
        while slow in group:
            group.send(bytes(65_536))
            await turns(20)
        assert group.ids() == [ready.id]
        assert group.send("x") == 1
        await until(lambda: slow.close_info)
        assert slow.close_info.code == 1013


async def test_handlers_may_send_to_the_group_they_are_in() -> None:
    handle = Handle()
    gate = Gate(handle)

    @handle.websocket("room")
    def on_text(message: str, ws: WebSocket) -> None:
        ws.group.send(message, exclude=ws)

    @handle.websocket_disconnect("room")
    def on_disconnect(ws: WebSocket) -> None:
        assert ws not in ws.group
        ws.group.send("left")

    async with testing.start(handle) as app:
        (leaving, _), *others = await gate.admit(app, 3)
        await leaving.send("hello")
        await leaving.close()
        assert leaving.close_info == CloseInfo(1000, "", True, Side.LOCAL)
        for client, _ in others:
            await client.expect("hello", "left")
            await client.expect_silence()


async def test_closing_in_the_middle_of_a_walk_harms_nobody() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    group = handle.group("room")
    async with testing.start(handle) as app:
        ends = await gate.admit(app, 10)
        for number, ws in enumerate(group):
            if number % 2:
                ws.disconnect()
        assert len(group) == 5
        assert group.send("x") == 5
        assert len([1 for _, ws in ends if not ws.is_dead()]) == 5


# --- sets of one's own ----------------------------------------------------------------------


async def test_a_set_is_joined_and_left_and_forgets_the_dead() -> None:
    handle = quiet_handle()
    handle.websocket("other")(lambda message, ws: None)
    gate, other = Gate(handle), Gate(handle, "other", "/other")
    async with testing.start(handle) as app:
        ends = await gate.admit(app, 2) + await other.admit(app, 1)
        (a, one), (b, two), (c, three) = ends
        favourites = SocketSet([one, two.id])
        assert favourites.add(three)
        assert favourites.add(three)
        assert not favourites.add(0)
        assert (len(favourites), set(favourites)) == (3, {one, two, three})
        assert favourites.send("to three") == 3
        favourites.discard(two)
        favourites.discard(two)
        favourites.discard(0)
        assert favourites.send("to one", exclude=one) == 1
        await a.expect("to three")
        await b.expect("to three")
        await c.expect("to three", "to one")
        for client, _ in ends:
            await client.expect_silence()
        one.disconnect()
        assert favourites.ids() == [three.id]
        assert not favourites.add(one)
        favourites.close(4000, "end")
        assert len(favourites) == 0
        assert not two.is_dead()
    wrong: Any = "x"
    with pytest.raises(TypeError):
        favourites.add(wrong)


async def test_members_of_a_set_can_be_removed_as_from_any_set() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle) as app:
        (_, one), (_, two), (_, three) = await gate.admit(app, 3)
        some = SocketSet([one, two, three])
        some.remove(two.id)
        assert set(some) == {one, three}
        with pytest.raises(KeyError):
            some.remove(two)
        some.clear()
        assert len(some) == 0
        some.clear()
        group = handle.group("room")
        with pytest.raises(TypeError, match="leaves its group when it closes"):
            group.remove(one)
        with pytest.raises(TypeError, match="leaves its group when it closes"):
            group.clear()
        assert len(group) == 3


async def test_a_socket_may_outlive_the_sets_it_is_in() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        for number in range(100):
            SocketSet([ws]).send(str(number))
        await client.expect(*map(str, range(100)))
        await client.expect_silence()


# --- policy ---------------------------------------------------------------------------------


async def test_each_group_has_its_own_policy() -> None:
    handle = Handle(max_message_size=100)
    handle.group("large", max_message_size=1000)
    for name in ("small", "large"):
        handle.websocket(name)(lambda message, ws: ws.send(message))
        Gate(handle, name, f"/{name}")
    assert handle.group("small").policy.max_message_size == 100
    async with testing.start(handle) as app:
        for name, limit in (("small", 100), ("large", 1000)):
            async with app.connect(f"/{name}") as client:
                await client.send("x" * limit)
                await client.expect("x" * limit)
                await client.send("x" * (limit + 1))
                await client.expect_close(1009, "")


async def test_a_changed_policy_holds_for_live_sockets_at_once() -> None:
    handle = Handle()
    Gate(handle)
    handle.websocket("room")(lambda message, ws: ws.send(message))
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"x" * 1000))
        assert await connection.frame() == (TEXT, b"x" * 1000)
        handle.group("room", max_message_size=100)
        await connection.send(frame(TEXT, b"x" * 100))
        assert await connection.frame() == (TEXT, b"x" * 100)
        handle.group("room").change(max_fragments=2)
        two = frame(TEXT, b"a", final=False) + frame(0, b"b")
        await connection.send(two)
        assert await connection.frame() == (TEXT, b"ab")
        await connection.send(frame(TEXT, b"a", final=False) + frame(0, b"", final=False))
        await connection.send(frame(0, b"b"))
        assert await connection.closing() == (1008, "")


def test_an_option_is_not_set_by_the_way() -> None:
    group = quiet_handle().group("room")
    with pytest.raises(AttributeError, match=r"write handle\.group\('room', max_message_size=5\)"):
        group.max_message_size = 5
    assert group.policy.max_message_size == 1 << 20


async def test_a_changed_write_policy_holds_for_live_sockets() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        client.hang()
        handle.group("room", write_high_water=1, write_limit=2, slow_consumer="drop_newest")
        while ws.send(bytes(100_000)) is not SendResult.DROPPED:
            await turns()
        assert not ws.is_dead()


async def test_a_changed_keepalive_holds_for_live_sockets() -> None:
    handle = quiet_handle(ping_interval=None)
    Gate(handle)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        handle.group("room", ping_interval=0.1, ping_timeout=None)
        for _ in range(2):
            assert await connection.frame() == (PING, b"")


async def test_changed_origins_hold_for_the_next_client() -> None:
    handle = quiet_handle()
    Gate(handle)
    other = "http://other.example"
    async with testing.start(handle) as app:
        with pytest.raises(HandshakeFailedError, match=r"status 403$"):
            await app.connect("/ws", origin=other)
        handle.group("room", origins=[other])
        await app.connect("/ws", origin=other)
        handle.group("room", origins=None)
        with pytest.raises(HandshakeFailedError, match=r"status 403$"):
            await app.connect("/ws", origin=other)


async def test_a_changed_queue_bound_holds_for_the_next_burst() -> None:
    handle = Handle()
    Gate(handle)
    log: list[str] = []
    gone_on = asyncio.Event()

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        log.append(message)
        await gone_on.wait()

    handle.group("room", max_queued_events=1)
    async with testing.start(handle) as app, app.connect("/ws") as client:
        for number in range(5):
            await client.send(str(number))
        await until(lambda: log)
        answered = asyncio.ensure_future(client.ping())
        await turns(20)
        assert log == ["0"]
        assert not answered.done()
        gone_on.set()
        await soon(answered)
        await until(lambda: len(log) == 5)
    assert log == list("01234")


@pytest.mark.parametrize(
    "policy",
    [
        {"max_message_size": 0},
        {"max_fragments": 0},
        {"write_limit": -1},
        {"write_high_water": 2 << 20},
        {"write_high_water": 0},
        {"ping_interval": 0},
        {"ping_timeout": -1},
        {"close_timeout": 0},
        {"handler_grace": 0},
        {"max_queued_events": 0},
        {"slow_consumer": "hope"},
    ],
)
def test_a_policy_that_cannot_work_is_refused_by_name(policy: dict[str, Any]) -> None:
    (name,) = policy
    handle = Handle()
    for apply in (GroupPolicy, Handle, lambda **p: handle.group("room", **p)):
        with pytest.raises(ValueError, match=name):
            apply(**policy)
    assert handle.group("room").policy == GroupPolicy()


def test_a_lower_limit_takes_the_high_water_mark_with_it() -> None:
    group = Handle(write_limit=32 << 10).group("room")
    assert group.policy.write_high_water == 32 << 10
    group.change(write_limit=16 << 10)
    assert group.policy.write_high_water == 16 << 10
    group.change(write_limit=1 << 20)
    assert group.policy.write_high_water == 16 << 10
    with pytest.raises(ValueError, match="write_high_water must be above 0 and at most"):
        group.change(write_limit=1000, write_high_water=1001)
    with pytest.raises(ValueError, match="write_limit must be above 0"):
        group.change(write_limit=0)


@pytest.mark.parametrize("option", ["origins", "subprotocols"])
def test_one_name_stands_for_a_list_of_it(option: str) -> None:
    one: dict[str, Any] = {option: "https://one"}
    group = Handle().group("room", **one)
    assert list(getattr(group.policy, option)) == ["https://one"]
    group.change(**{option: "https://two"})
    assert list(getattr(group.policy, option)) == ["https://two"]


@pytest.mark.parametrize("name", ["close_timeout", "handler_grace"])
def test_what_has_to_end_some_time_cannot_be_none(name: str) -> None:
    handle = Handle()
    policy: dict[str, Any] = {name: None}
    for apply in (GroupPolicy, Handle, lambda **p: handle.group("room", **p)):
        with pytest.raises((TypeError, ValueError), match=name):
            apply(**policy)
    assert handle.group("room").policy == GroupPolicy()


def test_an_option_that_does_not_exist_is_refused_with_the_one_that_does() -> None:
    handle = Handle()
    wrong: dict[str, Any] = {"max_mesage_size": 1}
    for apply in (Handle, lambda **p: handle.group("room", **p), handle.group("room").change):
        with pytest.raises(TypeError, match=r"'max_mesage_size'; did you mean 'max_message_size'"):
            apply(**wrong)


# --- unknown groups -------------------------------------------------------------------------


async def test_a_socket_of_an_unknown_group_is_push_only() -> None:
    handle = Handle()
    gate = Gate(handle, "nobody")
    async with testing.start(handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        assert ws.group.name == "nobody"
        await client.send("lost")
        await client.send(b"lost")
        await client.expect_silence()
        assert handle.group("nobody").send("push") == 1
        await client.expect("push")
        await client.close()
        assert client.close_info == CloseInfo(1000, "", True, Side.LOCAL)


async def test_an_unknown_group_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    handle = Handle()
    handle.websocket("nobodies")(lambda message, ws: None)
    gate = Gate(handle, "nobody")
    async with testing.start(handle) as app:
        await gate.admit(app, 3)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "'nobody'" in warnings[0]
    assert "did you mean 'nobodies'" in warnings[0]


async def test_disconnect_fires_when_it_is_registered_after_the_upgrade() -> None:
    handle = Handle()
    gate = Gate(handle, "nobody")
    gone: list[WebSocket] = []
    async with testing.start(handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        handle.websocket_disconnect("nobody")(gone.append)
        client.abort()
        await until(lambda: gone)
        assert gone == [ws]


async def test_a_group_with_options_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has only something to say needs no handler."""
    handle = Handle(strict_groups=True)
    gate = Gate(handle, "push")
    handle.group("push", ping_interval=5.0)
    async with serve(handle, port=0) as server, serve(handle, port=0) as other:
        here = handle.group("push", port=server.port, ping_interval=6.0)
        for each, group in ((server, here), (other, handle.group("push"))):
            async with wire(each) as connection:
                await connection.upgrade()
                ws = await gate.next()
                assert ws.group is group
                ws.send("news")
                assert await connection.frame() == (TEXT, b"news")
    assert "push" not in caplog.text


async def test_strict_groups_refuse_an_unknown_one() -> None:
    handle = Handle(strict_groups=True)
    handle.websocket("room")(lambda message, ws: ws.send(message))

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        with pytest.raises(UnknownGroupError, match=r"'roon'.*did you mean 'room'") as unknown:
            request.send_upgrade("roon")
        assert unknown.value.name == "roon"
        request.send_upgrade("room")
        return HandlerStatus.HANDLED

    async with testing.start(handle) as app, app.connect("/ws") as client:
        await client.send("hello")
        await client.expect("hello")


async def test_a_strict_group_that_nobody_catches_is_an_error_of_the_server(
    error_log: list[logging.LogRecord],
) -> None:
    handle = Handle(strict_groups=True)
    Gate(handle, "nobody")
    async with testing.start(handle) as app:
        with pytest.raises(HandshakeFailedError, match=r"status 500$"):
            await app.connect("/ws")
    assert len(error_log) == 1


# --- ports ------------------------------------------------------------------------------------


async def test_a_group_may_be_bound_to_a_port() -> None:
    handle = Handle()
    heard: list[str] = []

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("room")
        return HandlerStatus.HANDLED

    handle.websocket("room")(lambda message, ws: heard.append(f"any {message}"))
    async with testing.start(handle) as first, testing.start(handle) as second:
        port = second.server.port
        bound = handle.group("room", port=port, max_message_size=3)
        handle.websocket("room", port=port)(lambda message, ws: heard.append(message))
        a, b = await first.connect("/ws"), await second.connect("/ws")
        assert (len(handle.group("room")), len(bound)) == (1, 1)
        await a.send("long")
        await a.expect_silence()
        assert heard == ["any long"]
        await b.send("yes")
        await b.send("long")
        await b.expect_close(1009, "")
        assert heard == ["any long", "yes"]
