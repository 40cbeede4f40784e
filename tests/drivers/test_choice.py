"""Which driver serves a loop."""

import asyncio

import pytest

from tests.drivers.crowd import App, crowd, epolls, text
from tests.support import TEXT
from wsgroups import serve
from wsgroups.drivers.choice import acquire_driver, release_driver
from wsgroups.drivers.epoll import EpollDriver
from wsgroups.drivers.transports import TransportDriver


@pytest.mark.parametrize(
    ("name", "kind"),
    [("auto", EpollDriver), ("epoll", EpollDriver), ("transports", TransportDriver)],
)
async def test_an_option_names_the_driver(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: type[object]
) -> None:
    monkeypatch.delenv("WSGROUPS_DRIVER")
    app = App()
    async with serve(app.handle, port=0, driver=name) as server, crowd(server, app, 1) as ends:
        ends[0][0].sock.send(text("hello"))
        assert await ends[0][0].frame() == (TEXT, b"hello")
        loop = asyncio.get_running_loop()
        assert type(acquire_driver(loop)) is kind
        release_driver(loop)


async def test_a_variable_says_what_auto_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGROUPS_DRIVER", "transports")
    before = epolls()
    async with serve(App().handle, port=0):
        assert epolls() == before
    async with serve(App().handle, port=0, driver="epoll"):
        assert epolls() != before


async def test_a_variable_that_names_no_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGROUPS_DRIVER", "kqueue")
    with pytest.raises(ValueError, match="no driver 'kqueue' here, only epoll and transports"):
        await serve(App().handle, port=0).start()
    with pytest.raises(ValueError, match="driver must be one of auto, epoll, transports"):
        serve(App().handle, port=0, driver="kqueue")


@pytest.mark.parametrize(("first", "second"), [("epoll", "transports"), ("transports", "epoll")])
async def test_two_drivers_in_one_loop_are_refused(first: str, second: str) -> None:
    app = App()
    async with serve(app.handle, port=0, driver=first) as server:
        another = serve(app.handle, port=0, driver=second)
        with pytest.raises(RuntimeError, match=f"uses the driver '{first}'"):
            await another.start()
        async with (
            serve(app.handle, port=0, driver="auto") as third,
            crowd(third, app, 1) as theirs,
            crowd(server, app, 1) as ours,
        ):
            for connection, _ in ours + theirs:
                connection.sock.send(text("hello"))
                assert await connection.frame() == (TEXT, b"hello")
    async with serve(app.handle, port=0, driver=second):
        pass
