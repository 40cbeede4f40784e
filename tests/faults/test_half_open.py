"""Peers that are gone without a word, in memory; `test_namespaces` does it to a real link."""

from tests.connection.conftest import serve
from tests.connection.peer import CLOSE, Serve, close_body, echo
from wsgroups import CloseInfo, Side

__all__ = ["serve"]  # the fixture


def test_half_open_peers_are_given_up_whatever_waits_for_them(serve: Serve) -> None:
    app = serve(text=echo)
    idle, waiting, living = app.open(), app.open(), app.open()
    waiting.set_window(1000)  # then its end takes nothing any more
    waiting.socket.send(bytes(200_000))
    app.run()
    waiting.take()
    room = app.handle.room("lobby")
    for peer in (idle, waiting, living):
        peer.socket.join(room.name)
    for _ in range(40):
        app.advance(1.0)
        if living.received():
            living.send(b"\x8a\x80\0\0\0\0")
    assert idle.info == waiting.info == CloseInfo(1011, "", False, Side.LOCAL)
    assert (CLOSE, close_body(1011)) in idle.received()
    assert idle.ends == waiting.ends == 1
    assert set(room) == {living.socket}
    assert set(app.group) == {living.socket}
    app.advance(5.1)
    assert idle.is_closed
    assert waiting.is_closed
    assert living.ends == 0
