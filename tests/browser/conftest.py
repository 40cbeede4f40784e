"""The chat as a real process, and people with real browsers who visit it."""

import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, Self

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
START_TIMEOUT = 30.0  # seconds
STOP_TIMEOUT = 30.0  # seconds

DESKTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=375, height=740)

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=15_000)


class ChatServer:
    """``python -m wsgroups examples.chat.app:handle``; a second start takes the same port.

    Args:
        options: of the command.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self.port = 0
        self.url = ""
        self.output: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Returns once the server has printed its address."""
        process = subprocess.Popen(
            [sys.executable, "-m", "wsgroups", "examples.chat.app:handle"]
            + ["--port", str(self.port), *self._options],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        addresses: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process, addresses))
        self._reader.start()
        try:
            address = addresses.get(timeout=START_TIMEOUT)
        except queue.Empty:
            address = None
        if address is None:
            self.stop()
            pytest.fail("the chat server printed no address:\n" + "".join(self.output))
        self.url = address
        self.port = int(address.rpartition(":")[2])

    def _read(
        self, process: subprocess.Popen[str], addresses: "queue.SimpleQueue[str | None]"
    ) -> None:
        # To the end, so that the server never waits for its output to be read.
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line)
            if found := re.search(r"http://[\w.]+:\d+", line):
                addresses.put(found[0])
        addresses.put(None)

    def stop(self) -> None:
        """Ends the process as a supervisor would, and fails the test if it does not end."""
        if self._process is None or self._reader is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            pytest.fail("the chat server did not stop:\n" + "".join(self.output))
        finally:
            self._reader.join()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


class Visitor:
    """One person with a browser of their own: cookies and storage are shared by its tabs."""

    def __init__(self, context: BrowserContext, url: str, problems: list[str]) -> None:
        self.context = context
        self._url = url
        self._problems = problems

    def open_tab(self) -> Page:
        """A new tab with the chat's page, connected to the server."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self._problems.append(f"exception: {error}"))
        page.on(
            "console",
            lambda message: (
                self._problems.append(f"console: {message.text}")
                if message.type in ("error", "warning")
                else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((self._url, "data:"))
                else self._problems.append(f"loads from outside: {request.url}")
            ),
        )
        page.goto(self._url)
        expect(page.get_by_role("status")).to_have_text("Connected")
        return page

    def join(self, name: str) -> Page:
        """A new tab in which the name was chosen."""
        page = self.open_tab()
        page.get_by_role("textbox", name="What should the others call you?").fill(name)
        page.get_by_role("button", name="Join the chat").click()
        expect(page.get_by_role("log")).to_be_visible()
        return page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("there is no chromium: run tests/browser/ensure_chromium.sh")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def server() -> Iterator[ChatServer]:
    server = ChatServer()
    server.start()
    yield server
    server.stop()
    assert "Traceback" not in "".join(server.output)


@pytest.fixture
def problems() -> Iterator[list[str]]:
    """What browsers complained about; a test takes out what it expects."""
    problems: list[str] = []
    yield problems
    assert problems == []


Visit = Callable[..., Visitor]


class Lobby:
    """Where people come from; for `with`, inside that of the servers that they visit."""

    def __init__(self, browser: Browser, problems: list[str]) -> None:
        self._browser = browser
        self._problems = problems
        self._contexts: list[BrowserContext] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for context in self._contexts:
            context.close()

    def visit(
        self,
        server: ChatServer,
        viewport: ViewportSize = DESKTOP,
        color_scheme: Literal["light", "dark"] = "light",
    ) -> Visitor:
        """A new person, with a browser and a screen of their own."""
        context = self._browser.new_context(
            viewport=viewport, color_scheme=color_scheme, locale="en-GB", timezone_id="UTC"
        )
        self._contexts.append(context)
        return Visitor(context, server.url, self._problems)


@pytest.fixture
def lobby(browser: Browser, problems: list[str]) -> Lobby:
    """For tests that start servers of their own."""
    return Lobby(browser, problems)


@pytest.fixture
def visit(lobby: Lobby, server: ChatServer) -> Iterator[Visit]:
    """``visit()`` is a new person; keyword arguments choose the screen."""
    with lobby:
        yield partial(lobby.visit, server)


@pytest.fixture(autouse=True)
def _process_is_clean() -> None:
    """Overrides the invariant of the other tests: the browser's driver keeps threads of its own."""
