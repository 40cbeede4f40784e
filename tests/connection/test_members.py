"""Sets of sockets: who is in them, and who gets what is sent to them."""

import gc
import logging
import random
import sys
import threading
from collections.abc import Callable

import pytest

from tests.connection.peer import (
    BINARY,
    CLOSE,
    NOW,
    TEXT,
    App,
    Peer,
    Serve,
    close,
    close_body,
    echo,
    text,
)
from wsgroups import SendResult, SocketSet, WebSocket


def test_a_new_set_is_empty() -> None:
    empty = SocketSet()
    assert len(empty) == 0
    assert list(empty) == []
    assert empty.ids() == []
    assert empty.send("x") == 0
    assert WebSocket(1) not in empty
    empty.discard(WebSocket(1))


def test_a_socket_is_a_member_until_it_is_discarded(serve: Serve) -> None:
    app = serve()
    one, other = app.open().socket, app.open().socket
    members = SocketSet([one])
    assert one in members
    assert one.id in members
    assert other not in members
    assert members.add(other.id)
    assert members.add(other), "once more is no harm"
    assert len(members) == 2
    assert set(members) == {one, other}
    assert set(members.ids()) == {one.id, other.id}
    members.discard(one)
    members.discard(one)
    assert list(members) == [other]
    members.discard(other.id)
    assert len(members) == 0


def test_only_open_sockets_become_members(serve: Serve) -> None:
    app = serve()
    closing, closed = app.open(), app.open()
    closing.socket.disconnect()
    closed.reset()
    members = SocketSet()
    assert not members.add(closing.socket)
    assert not members.add(closed.socket)
    assert not members.add(12345)
    assert not members.add(-1)
    assert len(members) == 0


@pytest.mark.parametrize("wrong", ["1", None, 1.5, b"x"])
def test_a_set_takes_sockets_and_ids_only(wrong: object) -> None:
    with pytest.raises(TypeError, match="WebSocket or an id"):
        SocketSet().add(wrong)  # type: ignore[arg-type]


def test_a_closed_socket_leaves_every_set(serve: Serve) -> None:
    app = serve()
    peer, stays = app.open(), app.open()
    sets = [SocketSet([peer.socket, stays.socket]) for _ in range(10)]
    sets[3].discard(peer.socket)
    peer.send(close(1000))
    for members in sets:
        assert list(members) == [stays.socket]
    assert list(app.group) == [stays.socket]


def test_a_socket_leaves_when_our_close_is_sent(serve: Serve) -> None:
    app = serve()
    peer = app.open()
    members = SocketSet([peer.socket])
    peer.socket.disconnect()
    assert len(members) == 0
    assert len(app.group) == 0


def test_a_set_may_go_before_its_members(serve: Serve) -> None:
    app = serve()
    peer = app.open()
    members = SocketSet([peer.socket])
    del members
    gc.collect()
    peer.send(close(1000))
    assert peer.is_closed


def test_sets_that_nobody_has_any_more_leave_nothing_behind(serve: Serve) -> None:
    sockets = [serve().open().socket for _ in range(3)]
    kept = SocketSet(sockets)
    before = sys.getallocatedblocks()
    for _ in range(1000):
        SocketSet(sockets)
    assert sys.getallocatedblocks() - before < 100
    assert len(kept) == 3


def test_the_sets_agree_with_a_model(serve: Serve) -> None:  # FZ-8
    choice = random.Random(5)
    app = serve()
    peers: list[Peer] = []
    sets = [SocketSet() for _ in range(6)]
    models: list[set[WebSocket]] = [set() for _ in sets]
    for step in range(20_000):
        # The number of sockets swings between few and many, so that tables grow and shrink.
        if choice.random() < (0.1 if (step // 4000) % 2 == 0 else 0.02):
            peers.append(app.open())
        elif peers and choice.random() < (0.02 if (step // 4000) % 2 == 0 else 0.1):
            i = choice.randrange(len(peers))
            peers[i], peers[-1] = peers[-1], peers[i]
            gone = peers.pop()
            choice.choice([gone.reset, gone.end_input, gone.say_goodbye])()
            for model in models:
                model.discard(gone.socket)
        if not peers:
            continue
        socket = choice.choice(peers).socket
        which = choice.randrange(len(sets))
        if choice.random() < 0.6:
            assert sets[which].add(socket)
            models[which].add(socket)
        else:
            sets[which].discard(socket)
            models[which].discard(socket)
        assert len(sets[which]) == len(models[which])
        assert (socket in sets[which]) == (socket in models[which])
        if step % 500 == 0:
            for members, model in zip(sets, models, strict=True):
                assert set(members) == model
                assert sorted(members.ids()) == sorted(map(int, model))
                assert all(peer.socket in members for peer in peers if peer.socket in model)
                assert not any(peer.socket in members for peer in peers if peer.socket not in model)
            assert set(app.group) == {peer.socket for peer in peers}


# --- sending --------------------------------------------------------------------------------


def open_many(app: App, count: int) -> list[Peer]:
    return [app.open() for _ in range(count)]


def test_a_message_reaches_every_member_once(serve: Serve) -> None:
    app = serve()
    peers = open_many(app, 100)
    members = SocketSet(peer.socket for peer in peers[:50])
    assert members.send("text") == 50
    assert members.send(b"binary") == 50
    assert members.send(b"text of bytes", is_text=True) == 50
    app.run()
    expected = [(TEXT, b"text"), (BINARY, b"binary"), (TEXT, b"text of bytes")]
    for peer in peers[:50]:
        assert peer.received() == expected
    for peer in peers[50:]:
        assert peer.received() == []


@pytest.mark.parametrize("size", [0, 1, 125, 126, 8191, 8192, 65535, 65536, 300_000])
def test_a_message_of_any_size_reaches_every_member(serve: Serve, size: int) -> None:
    app = serve()
    peers = open_many(app, 3)
    payload = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
    assert app.group.send(payload) == 3
    assert app.group.send(payload.decode()) == 3
    app.run()
    for peer in peers:
        assert peer.received() == [(BINARY, payload), (TEXT, payload)]


def test_some_can_be_left_out(serve: Serve) -> None:
    app = serve()
    peers = open_many(app, 6)
    a, b, c, d, e, f = (peer.socket for peer in peers)
    assert app.group.send("1", exclude=a) == 5
    assert app.group.send("2", exclude=b.id) == 5
    assert app.group.send("3", exclude=[a, b.id, SocketSet([c])]) == 3
    assert app.group.send("4", exclude=SocketSet([d, e])) == 4
    assert app.group.send("5", exclude=SocketSet()) == 6
    assert app.group.send("6", exclude=[WebSocket(-7), 99]) == 6
    assert app.group.send_to_all("7") == 6
    assert app.group.send_to_all_except_one("8", f) == 5
    app.run()
    got = ["".join(peer.received_texts()) for peer in peers]
    assert got == ["245678", "145678", "1245678", "1235678", "1235678", "1234567"]


class _Meanwhile(logging.Handler):
    """A log in whose writing another thread has its turn."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__()
        self._function = function
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        thread = threading.Thread(target=self._function)
        thread.start()
        thread.join()
        self.count += 1


def test_who_is_left_out_stays_so_when_another_thread_leaves_them_out_meanwhile(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wsgroups")
    app = serve(write_limit=2000, write_high_water=1000)
    first, slow, last = (app.open() for _ in range(3))
    excluded = SocketSet([first.socket, last.socket])
    slow.set_window(0)
    slow.socket.send("x" * 1500)
    meanwhile = _Meanwhile(lambda: excluded.send("to nobody", exclude=excluded))
    logging.getLogger("wsgroups").addHandler(meanwhile)
    try:
        assert app.group.send("x" * 1500, exclude=excluded) == 0
        app.run()
    finally:
        logging.getLogger("wsgroups").removeHandler(meanwhile)
    assert meanwhile.count, "the slow one was cut off and that was logged"
    assert first.received() == last.received() == []


def test_a_handlers_messages_to_a_set_keep_their_order(serve: Serve) -> None:
    def handler(message: str, ws: WebSocket) -> None:
        ws.send("to you")
        app.group.send(message)
        ws.send("to you again")

    app = serve(text=handler)
    peers = open_many(app, 3)
    peers[1].send(text("a") + text("b"))
    assert peers[0].received_texts() == ["a", "b"]
    own = ["to you", "a", "to you again", "to you", "b", "to you again"]
    assert peers[1].received_texts() == own


def test_members_that_are_cut_off_by_a_message_do_not_keep_it_from_others(serve: Serve) -> None:
    app = serve(write_limit=1000, write_high_water=100)
    peers = open_many(app, 60)
    slow = [peer for i, peer in enumerate(peers) if i % 3 != 1]
    for peer in slow:
        peer.set_window(0)
    for _ in range(9):
        assert app.group.send(bytes(100)) == 60
    assert app.group.send(bytes(100)) == 20
    assert len(app.group) == 20
    app.run()
    for peer in peers:
        if peer not in slow:
            assert peer.received() == [(BINARY, bytes(100))] * 10
    for peer in slow:
        assert peer.ends == 1
        peer.set_window(None)
        assert peer.received() == [(CLOSE, close_body(1013))]


def test_a_member_that_joins_or_leaves_while_the_set_is_walked(serve: Serve) -> None:
    app = serve()
    peers = open_many(app, 20)
    late = app.open().socket
    members = SocketSet(peer.socket for peer in peers)
    for count, socket in enumerate(members):
        members.discard(socket)
        members.add(late)
        if count == 5:
            members.discard(peers[19].socket)
    assert count == 19
    assert list(members) == [late]


def test_a_set_can_be_closed(serve: Serve) -> None:
    app = serve()
    peers = open_many(app, 10)
    members = SocketSet(peer.socket for peer in peers[:5])
    with pytest.raises(ValueError, match="1005"):
        members.close(1005)
    assert len(members) == 5
    members.close(4001, "enough")
    assert len(members) == 0
    app.run()
    for peer in peers[:5]:
        assert peer.received() == [(CLOSE, close_body(4001, "enough"))]
    for peer in peers[5:]:
        assert peer.received() == []


def test_members_dropped_in_the_middle_of_a_turn_get_nothing_more(serve: Serve) -> None:
    def handler(message: str, ws: WebSocket) -> None:
        if message == "drop":
            for peer in peers[1:]:
                peer.socket.send("last", flags=NOW)
            assert app.group.send("x") == 1

    app: App = serve(text=handler)
    peers = open_many(app, 30)
    peers[0].send(text("drop"))
    assert peers[0].received_texts() == ["x"]
    for peer in peers[1:]:
        assert peer.received_texts() == ["last"]
        assert peer.is_closed


def test_sending_to_a_set_whose_last_member_is_cut_off(serve: Serve) -> None:
    app = serve(text=echo, write_limit=100, write_high_water=50)
    peer = app.open()
    members = SocketSet([peer.socket])
    peer.set_window(0)
    assert members.send(bytes(90)) == 1
    assert members.send(bytes(90)) == 0
    assert len(members) == 0
    assert members.send(bytes(90)) == 0
    assert peer.socket.send("x") is SendResult.GONE


def test_a_socket_stays_in_the_group_of_its_upgrade(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    other = app.handle.group("another room")
    with pytest.raises(TypeError, match="the one it was upgraded into; collect sockets"):
        other.add(peer.socket)
    with pytest.raises(TypeError, match=r"when it closes; disconnect\(\) closes it"):
        app.group.discard(peer.socket)
    assert (len(app.group), len(other)) == (1, 0)


# --- rooms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_rooms_hold_who_has_joined_whatever_happens(serve: Serve, seed: int) -> None:
    chance = random.Random(seed)
    app = serve(text=echo)
    peers = {peer.socket: peer for peer in (app.open() for _ in range(30))}
    model: dict[str, set[WebSocket]] = {f"room {n}": set() for n in range(12)}
    kept = {name: app.handle.room(name) for name in list(model)[:4]}  # the others come and go
    for _ in range(3000):
        name, ws = chance.choice(list(model)), chance.choice(list(peers))
        what = chance.random()
        if what < 0.5:
            assert ws.join(name) is (not ws.is_dead())
            if not ws.is_dead():
                model[name].add(ws)
        elif what < 0.95:
            ws.leave(name)
            model[name].discard(ws)
        elif what < 0.96 and len(peers) > 5:
            peers.pop(ws).reset()
            for members in model.values():
                members.discard(ws)
        else:
            assert app.handle.room(name).send(name) == len(model[name])
    for name, members in model.items():
        assert set(app.handle.room(name)) == members
        assert app.handle.room(name) is kept.get(name, app.handle.room(name))
    for ws in peers:
        assert ws.rooms == {name for name, members in model.items() if ws in members}
