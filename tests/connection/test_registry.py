"""The live sockets by their ids, as `WebSocket(id)` finds them."""

import gc
import random

import pytest

from tests.connection.peer import App, Peer, Serve, close
from wsgroups import SendResult, SocketStatus, WebSocket
from wsgroups.ids import pack


def test_an_id_leads_to_its_socket(serve: Serve) -> None:
    app = serve()
    peer = app.open()
    found = WebSocket(peer.socket.id)
    assert found == peer.socket
    assert hash(found) == hash(peer.socket)
    assert found.group is app.group
    assert found.status is SocketStatus.OPEN
    assert not found.is_dead()
    assert found.send("by its id") is SendResult.OK
    app.run()
    assert peer.received_texts() == ["by its id"]


def test_a_socket_that_was_found_alive_stays_the_same_when_it_closes(serve: Serve) -> None:
    peer = serve().open()
    found = WebSocket(peer.socket.id)
    assert not found.is_dead()
    peer.send(close(1000, "bye"))
    assert found.is_dead()
    assert found.status is SocketStatus.CLOSED
    assert found.close_info == peer.info
    assert found.send("x") is SendResult.GONE


def test_a_closed_socket_is_not_found(serve: Serve) -> None:
    app = serve()
    peer = app.open()
    peer.send(close(1000))
    found = WebSocket(peer.socket.id)
    assert found.is_dead()
    assert found.status is SocketStatus.CLOSED
    assert found.group is None
    assert found.send("x") is SendResult.GONE
    found.disconnect()


def test_a_socket_that_closes_is_found_until_it_has_closed(serve: Serve) -> None:
    peer = serve().open()
    peer.socket.disconnect()
    found = WebSocket(peer.socket.id)
    assert found.is_dead()
    assert found.status is SocketStatus.CLOSED
    assert found.group is not None
    peer.send(close(1000))
    assert WebSocket(peer.socket.id).group is None


def test_a_driver_that_nobody_has_any_more_leaves_no_socket_behind() -> None:
    app = App()
    group, ids = app.group, [app.open().socket.id for _ in range(3)]
    app.peers.clear()
    app.upgraded.clear()
    del app.driver
    gc.collect()
    assert len(group) == 0, "it would refer to what is gone"
    for id in ids:
        assert WebSocket(id).is_dead()
        assert WebSocket(id).send("x") is SendResult.GONE
    assert group.send("x") == 0


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (0, SocketStatus.NEVER_ISSUED),
        (1, SocketStatus.NEVER_ISSUED),
        (-1, SocketStatus.NEVER_ISSUED),
        (1 << 63, SocketStatus.NEVER_ISSUED),
        (1 << 200, SocketStatus.NEVER_ISSUED),
        ((1 << 47) - 1, SocketStatus.NEVER_ISSUED),
        (pack(1, 0, 1), SocketStatus.UNKNOWN_NODE),
        ((1 << 63) - 1, SocketStatus.UNKNOWN_NODE),
    ],
)
def test_what_no_socket_has_is_told(serve: Serve, number: int, status: SocketStatus) -> None:
    for sockets in range(3):
        socket = WebSocket(number)
        assert socket.id == number
        assert socket.status is status, sockets
        assert socket.is_dead()
        assert socket.send("x") is SendResult.GONE
        assert socket.close_info is None
        serve().open()


def test_every_live_id_is_found_and_no_other(serve: Serve) -> None:
    choice = random.Random(7)
    app = serve()
    alive: list[Peer] = []
    dead: list[WebSocket] = []
    for target in (1, 2000, 30, 500, 0, 100):
        while len(alive) != target:
            if len(alive) < target:
                alive.append(app.open())
            else:
                i = choice.randrange(len(alive))
                alive[i], alive[-1] = alive[-1], alive[i]
                gone = alive.pop()
                gone.reset()
                dead.append(gone.socket)
            if len(alive) % 97 == 0:
                for peer in choice.sample(alive, min(20, len(alive))):
                    assert WebSocket(peer.socket.id).group is app.group
                for socket in choice.sample(dead, min(20, len(dead))):
                    assert WebSocket(socket.id).group is None
        for peer in alive:
            assert WebSocket(peer.socket.id).send(str(peer.socket.id)) is SendResult.OK
        app.run()
        for peer in alive:
            assert peer.received_texts() == [str(peer.socket.id)]
        assert all(WebSocket(socket.id).group is None for socket in dead)
    assert len({*dead, *(peer.socket for peer in alive)}) == len(dead) + len(alive)
