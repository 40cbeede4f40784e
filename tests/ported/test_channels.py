"""What docs/coming-from/channels.md says, over real sockets."""

import asyncio
import signal
from pathlib import Path

import orjson
import pytest
from websockets.sync.client import connect

from examples.ported.channels import chat, echo, notifications
from tests.support import Program, until
from wsgroups import HandshakeFailedError, testing

ROOT = Path(__file__).parents[2]


async def test_the_consumer_answers_text_and_bytes() -> None:
    async with testing.start(echo.handle) as app, app.connect("/ws/echo/") as ann:
        await ann.send("text")
        await ann.expect("text")
        await ann.send(b"bytes")
        await ann.expect(b"bytes")


async def test_a_room_hears_its_own_members_only() -> None:
    async with (
        testing.start(chat.handle) as app,
        app.connect("/ws/chat/lobby/?name=Ann") as ann,
        app.connect("/ws/chat/other/?name=Eve") as eve,
    ):
        async with app.connect("/ws/chat/lobby/?name=Bob") as bob:
            assert await ann.recv_json() == {"message": "Bob joined"}
            await bob.send_json({"message": "hello"})
            said = {"name": "Bob", "message": "hello"}
            assert await ann.recv_json() == await bob.recv_json() == said
            await bob.send_json({"typing": True})
            assert await ann.recv_json() == {"name": "Bob", "typing": True}
            await bob.expect_silence()
        assert await ann.recv_json() == {"message": "Bob left"}
        await eve.expect_silence()


async def test_a_message_of_another_form_is_passed_over_and_no_json_closes_with_1007() -> None:
    async with testing.start(chat.handle) as app, app.connect("/ws/chat/lobby/") as ann:
        await ann.send_json({"unknown": 1})
        await ann.send_json({"message": "still here"})
        assert await ann.recv_json() == {"name": "somebody", "message": "still here"}
        await ann.send("{")
        await ann.expect_close(1007)


def test_the_chat_runs_from_the_command_line() -> None:
    with Program(
        "-m", "wsgroups", "examples.ported.channels.chat:handle", "--port", "0", cwd=ROOT
    ) as program:
        address = f"ws://127.0.0.1:{program.port()}/ws/chat/lobby/"
        with connect(f"{address}?name=Ann") as ann:
            with connect(f"{address}?name=Bob"):
                assert orjson.loads(ann.recv()) == {"message": "Bob joined"}
            assert orjson.loads(ann.recv()) == {"message": "Bob left"}
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


async def login(app: testing.App, user: str) -> dict[str, str]:
    reply = await app.request("POST", f"/login/{user}")
    name, _, value = reply.headers["Set-Cookie"].partition(";")[0].partition("=")
    return {name: value}


async def test_notifications_reach_every_tab_of_one_user() -> None:
    async with testing.start(notifications.handle) as app:
        ann, bob = await login(app, "Ann"), await login(app, "Bob")
        path = "/ws/notifications/"
        async with (
            app.connect(path, cookies=ann) as tab,
            app.connect(path, cookies=ann) as other_tab,
            app.connect(path, cookies=bob) as stranger,
        ):
            reply = await app.request("POST", "/notify/Ann", body=b"your parcel is here")
            assert reply.json() == {"sent": 2}
            expected = {"type": "notification", "text": "your parcel is here"}
            assert await tab.recv_json() == await other_tab.recv_json() == expected
            assert await asyncio.to_thread(notifications.notify, "Bob", "from a thread") == 1
            assert (await stranger.recv_json())["text"] == "from a thread"
            await tab.expect_silence()
        await until(lambda: len(notifications.handle.group("notifications")) == 0)
        reply = await app.request("POST", "/notify/Ann", body=b"nobody hears")
        assert reply.json() == {"sent": 0}


async def test_who_is_not_logged_in_gets_401() -> None:
    async with testing.start(notifications.handle) as app:
        with pytest.raises(HandshakeFailedError) as refused:
            async with app.connect("/ws/notifications/"):
                pass
        assert refused.value.status == 401


async def test_logging_out_closes_the_sockets() -> None:
    async with testing.start(notifications.handle) as app:
        cookies = await login(app, "Ann")
        async with app.connect("/ws/notifications/", cookies=cookies) as ann:
            await app.request("POST", "/logout", cookies=cookies)
            await ann.expect_close(1001, reason="Session is expired.")
