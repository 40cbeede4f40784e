"""The chat on several workers, and on two nodes: people meet whichever they have come to."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.cluster.brokers import Nats

from .conftest import SCREENSHOTS, ChatServer, Lobby
from .test_chat import message, people, say


@contextmanager
def running(*options: str) -> Iterator[ChatServer]:
    server = ChatServer(*options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        assert "Traceback" not in "".join(server.output)


def workers_with_sockets(bus: str) -> dict[int, int]:
    """Return the process of each worker that has sockets, and how many."""
    command = [sys.executable, "-m", "wsgroups", "ls", "--json", "--bus", bus]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {each["pid"]: each["sockets"] for each in said if each["sockets"]}


def talk(ann: Page, bob: Page) -> None:
    """Both see each other, and what each says."""
    for page, other in ((ann, "Bob"), (bob, "Ann")):
        expect(people(page).filter(has_text=other)).to_have_count(1)
    say(ann, "Hello from here")
    expect(message(bob, "Hello from here")).to_be_visible()
    say(bob, "Hello from there")
    expect(message(ann, "Hello from there")).to_be_visible()
    expect(message(ann, "Hello from here")).to_have_count(1)


def test_people_on_different_workers_talk(lobby: Lobby, tmp_path: Path) -> None:
    bus = f"unix:{tmp_path / 'hub.sock'}"
    with running("--workers", "4", "--bus", bus) as server, lobby:
        ann = lobby.visit(server).join("Ann")
        (first,) = workers_with_sockets(bus)
        # The kernel decides who comes to which worker: until somebody has come to another one.
        bob = lobby.visit(server).join("Bob")
        for _ in range(100):
            if len(workers_with_sockets(bus)) == 2:
                break
            bob.reload()
            expect(bob.get_by_role("status")).to_have_text("Connected")
        talk(ann, bob)
        ann.screenshot(path=SCREENSHOTS / "workers-ann.png")
        bob.screenshot(path=SCREENSHOTS / "workers-bob.png")
        # Bob's worker is killed: he is seen to leave, comes back by himself, and goes on.
        (second,) = set(workers_with_sockets(bus)) - {first}
        os.kill(second, signal.SIGKILL)
        expect(bob.get_by_role("status")).not_to_have_text("Connected")
        expect(bob.get_by_role("status")).to_have_text("Connected")
        expect(people(ann).filter(has_text="Bob")).to_have_count(1)
        say(bob, "Back again")
        expect(message(ann, "Back again")).to_be_visible()
        bob.close()
        expect(people(ann)).to_have_count(1)


def test_people_on_two_nodes_talk(lobby: Lobby) -> None:
    with (
        Nats() as broker,
        running("--workers", "2", "--bus", broker.url) as here,
        running("--workers", "2", "--bus", broker.url) as there,
        lobby,
    ):
        ann = lobby.visit(here).join("Ann")
        bob = lobby.visit(there).join("Bob")
        talk(ann, bob)
        # Who comes later reads what was said on both.
        eve = lobby.visit(there).join("Eve")
        for text in ("Hello from here", "Hello from there"):
            expect(message(eve, text)).to_be_visible()
        ann.screenshot(path=SCREENSHOTS / "nodes-ann.png")
        bob.screenshot(path=SCREENSHOTS / "nodes-bob.png")
        assert ann.url != bob.url
        bob.close()
        expect(people(ann).filter(has_text="Bob")).to_have_count(0)
