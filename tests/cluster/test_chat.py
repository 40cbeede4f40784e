"""The example chat on several workers: whoever comes and goes, in the end all see the same."""

import asyncio
import json
import random
import runpy
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.cluster.workers import service
from wsgroups import Handle, testing

PEOPLE = 6
RETURNS = 12


class Tab:
    """A page of one person: it chooses its name when it is asked, and knows what it has seen."""

    def __init__(self, connection: ClientConnection, name: str) -> None:
        self.connection = connection
        self.name = name
        self.people: dict[str, int] = {}
        self.said: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.welcome = asyncio.Event()
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for data in self.connection:
            await self._see(json.loads(data))

    async def _see(self, message: dict[str, Any]) -> None:
        match message:
            case {"type": "hello"}:
                await self.connection.send(json.dumps({"type": "join", "name": self.name}))
            case {"type": "welcome", "name": name, "history": history}:
                assert name == self.name
                self.said = [each["text"] for each in history]
                self.welcome.set()
            case {"type": "people", "people": people}:
                self.people = {each["name"]: each["tabs"] for each in people}
            case {"type": "message", "text": text}:
                self.said.append(text)
            case {"type": "joined" | "left" as event, "name": name}:
                self.events.append((event, name))
            case _:
                raise AssertionError(message)

    async def sees(self, people: dict[str, int]) -> None:
        async with asyncio.timeout(20):
            while self.people != people:
                await asyncio.sleep(0.01)


class Visitor:
    """A person with a cookie, whose page is one tab at a time."""

    def __init__(self, port: int, number: int) -> None:
        self.url = f"ws://127.0.0.1:{port}/chat"
        self.name = f"Person {number}"
        self.cookie = {"Cookie": f"visitor={number:022}"}

    async def open(self) -> Tab:
        connection = await connect(self.url, additional_headers=self.cookie, max_queue=None)
        tab = Tab(connection, self.name)
        async with asyncio.timeout(20):
            await tab.welcome.wait()
        return tab

    async def come_and_go(self) -> Tab:
        """Reload again and again; at times the new page is there before the old one has gone."""
        tab = await self.open()
        for _ in range(RETURNS):
            await asyncio.sleep(random.random() * 0.05)
            if random.random() < 0.5:
                old, tab = tab, await self.open()
                await close(old)
            else:
                await close(tab)
                tab = await self.open()
        return tab


async def close(tab: Tab) -> None:
    await tab.connection.close()
    await tab.reader


async def see_the_same(port: int) -> None:
    visitors = [Visitor(port, number) for number in range(PEOPLE)]
    tabs = await asyncio.gather(*(visitor.come_and_go() for visitor in visitors))
    everybody = {visitor.name: 1 for visitor in visitors}
    for tab in tabs:
        await tab.sees(everybody)
    # Each knows of each by the name, so what one says reaches all, and a second tab is seen as one.
    for tab in tabs:
        text = f"I am {tab.name}"
        await tab.connection.send(json.dumps({"type": "message", "text": text}))
    async with asyncio.timeout(20):
        while not all(len(tab.said) == PEOPLE for tab in tabs):
            await asyncio.sleep(0.01)
    second = await visitors[0].open()
    assert sorted(second.said) == sorted(tabs[0].said)
    for tab in (*tabs, second):
        await tab.sees({**everybody, visitors[0].name: 2})
        tab.events.clear()
    await close(second)
    for tab in tabs:
        await tab.sees(everybody)
        assert tab.events == []
    await close(tabs[0])
    for tab in tabs[1:]:
        await tab.sees({name: 1 for name in everybody if name != visitors[0].name})
        assert tab.events == [("left", visitors[0].name)]
    for tab in tabs[1:]:
        await close(tab)


def test_whoever_comes_and_goes_all_see_the_same() -> None:
    with service(4, target="examples.chat.app:handle") as chat:
        asyncio.run(see_the_same(chat.port))


async def test_a_name_heard_late_is_told_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only tab that had it may have closed before its worker heard of the new tab here."""
    chat = runpy.run_module("examples.chat.app")
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(Handle, "tell_workers", lambda handle, topic, what: told.append(what))
    bob = "b" * 22
    async with testing.start(chat["handle"]) as app:
        tab = await app.connect("/chat", cookies={"visitor": bob})
        await tab.expect_json({"type": "hello"})
        chat["on_told"]({"type": "here", "tabs": [[1, bob, "Bob"]], "history": []})
        chat["on_told"]({"type": "gone", "id": 1})
        assert told[-1] == {"type": "name", "visitor": bob, "name": "Bob"}
        await tab.close()
