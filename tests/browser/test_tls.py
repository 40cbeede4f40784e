"""Chromium and `ws` of Node.js talk to us, over TLS and without, compressed and not."""

import json
import os
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.certificates import Certificates
from tests.support import PATIENCE, Program

from .conftest import ROOT

HERE = Path(__file__).parent
NODE_MODULES = ROOT / "benchmarks" / "node_modules"
MESSAGES = ["", "hello", "grüß Gott " * 30, " ".join(map(str, range(60_000)))]

APPLICATION = """
    from wsgroups import Handle, HandlerStatus, Response

    handle = Handle()
    handle.group("echo", compression={compression})


    @handle.get("/")
    def page(request):
        return Response("<!doctype html><title>Echo</title>", content_type="text/html")


    @handle.get("/ws")
    def upgrade(request):
        request.send_upgrade("echo")
        return HandlerStatus.HANDLED


    @handle.websocket("echo")
    def echo(message, ws):
        ws.send(message)
"""

IN_THE_PAGE = """
    wanted => new Promise(resolve => {
        const echoes = [];
        const socket = new WebSocket(location.href.replace("http", "ws") + "ws");
        socket.onopen = () => socket.send(wanted[0]);
        socket.onmessage = event => {
            echoes.push(event.data);
            if (echoes.length < wanted.length) socket.send(wanted[echoes.length]);
            else socket.close(1000);
        };
        socket.onclose = event => resolve({
            echoes, extensions: socket.extensions, code: event.code,
        });
    })
"""

Talk = Callable[[str, str, bool], Any]
"""Talks with a URL, an authority and a wish for compression; returns what it saw."""


@pytest.fixture
def in_chromium(browser: Browser) -> Iterator[Talk]:
    with browser.new_context(ignore_https_errors=True) as context:

        def talk(url: str, ca: str, compression: bool) -> Any:
            page = context.new_page()
            page.goto(url)
            return page.evaluate(IN_THE_PAGE, MESSAGES)

        yield talk


@pytest.fixture
def with_ws() -> Talk:
    if not (NODE_MODULES / "ws").is_dir():
        pytest.fail("there is no ws: make browser-test installs it")

    def talk(url: str, ca: str, compression: bool) -> Any:
        arguments = [url.replace("http", "ws") + "ws", ca, str(compression).lower()]
        found = subprocess.run(
            ["node", str(HERE / "ws_client.cjs"), *arguments],
            input=json.dumps(MESSAGES).encode(),
            env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert found.returncode == 0, found.stderr.decode()
        return json.loads(found.stdout)

    return talk


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("compression", [False, True], ids=["as-it-is", "deflate"])
@pytest.mark.parametrize("client", ["in_chromium", "with_ws"])
def test_every_client_gets_back_what_it_sent(
    request: pytest.FixtureRequest,
    certificates: Certificates,
    tmp_path: Path,
    client: str,
    compression: bool,
    secure: bool,
) -> None:
    talk: Talk = request.getfixturevalue(client)
    (tmp_path / "app.py").write_text(textwrap.dedent(APPLICATION).format(compression=compression))
    options = ["--port=0"]
    if secure:
        options += [f"--ssl-certfile={certificates.cert}", f"--ssl-keyfile={certificates.key}"]
    with Program("-m", "wsgroups", "app", *options, cwd=tmp_path) as program:
        url = f"{'https' if secure else 'http'}://localhost:{program.port()}/"
        seen = talk(url, certificates.ca if secure else "", compression)
        assert seen["echoes"] == MESSAGES
        assert ("permessage-deflate" in seen["extensions"]) == compression
        assert seen["code"] == 1000
    assert "Traceback" not in program.output
