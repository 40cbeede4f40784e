"""Every block of code in the documentation is run, and does what the page says.

How a page is written, so that this works:

- All ```` ```python ```` blocks of a page share one namespace and run in order, in a running loop;
  `await`, `async with` and `async for` may stand outside of functions.
- A comment that begins with `<!-- run` holds code that readers do not see: set-up, and the
  assertions that exercise what the page shows. It runs in its place, in the same namespace. The
  comment ends with `-->`.
- `<!-- beside` before a block that does not return (`serve_forever`): the block runs as a task, the
  comment's code beside it; then the task is cancelled.
- `<!-- raises NameOfError: part of its message -->` before a block that shows a mistake.
- `8080` stands for a port that is free, `/run/app` for the page's directory; both are replaced in
  everything that runs. For `nats://broker:4222` in a command a NATS server is started.
- `error_log`, a list, has the records logged at ERROR; a page that provokes some takes them out,
  whatever is left at the end of the page fails.
- A title, ```` ```python title="app.py" ````, makes a block a file. The page runs in a directory
  with its files. Where no block has a title, the first Python block is `app.py`.
- In ```` ```sh ```` blocks, `python -m wsgroups ...` is started and stopped again, with a free
  port; its commands `send`, `close` and `ls` are run beside a server of the page's `app.py`.
  `pytest` runs to its end. Targets of `make` must exist. What installs, fetches or goes
  elsewhere is not run; any other command fails.
- ```` ```js ```` is checked by `node --check`; `toml` and `json` are parsed.
- A block of nothing but `--8<-- "examples/..."` shows that file. It must exist and compile; what it
  does is shown by the tests of the examples.
- Another system's code is fenced as ```` ```{.python .theirs} ````, and only compiled, or with a
  language of the list below, and left alone. A block without a language, or with one that is not
  known here, fails.

The README is woven into `tests/docs/README.frame`, which holds the comments that it cannot have.
"""

import ast
import asyncio
import configparser
import contextlib
import importlib
import inspect
import json
import linecache
import logging
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.brokers import Nats
from tests.docs.blocks import Block, blocks_of, woven
from tests.support import PATIENCE, Program, turns

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
FRAME = Path(__file__).parent / "README.frame"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
SEEN_ONLY = {"csharp", "html", "http", "nginx", "sql", "text"}  # languages that are not checked
NOT_RUN = {
    "apt",
    "cd",
    "curl",
    "export",
    "git",
    "pip",
    "python3",
    "sudo",
    "source",
    ".",
}  # commands likewise
PORT = "8080"
DIRECTORY = "/run/app"
BROKER = "broker:4222"
BUS = "unix:hub.sock"


def free_port() -> int:
    """Return a port that was free a moment ago; listening takes it over even so."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error_log: list[logging.LogRecord],
) -> None:
    blocks = blocks_of(page)
    if page == README:
        blocks = woven(blocks, blocks_of(FRAME))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)
    port = str(free_port())
    _write_files(blocks, tmp_path)
    try:
        with asyncio.Runner() as runner:
            runner.run(_run_python(blocks, port, error_log))
        for block in blocks:
            if block.kind == "fenced":
                _check_other(block, tmp_path, port)
    finally:
        for name in set(sys.modules) - modules:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]  # another page has an `app` of its own
        importlib.invalidate_caches()
        linecache.checkcache()
    assert not error_log, [record.getMessage() for record in error_log]


def _write_files(blocks: list[Block], directory: Path) -> None:
    ours = [b for b in blocks if b.kind == "fenced" and not b.is_theirs]
    titled = [b for b in ours if b.title]
    for block in titled:
        assert "/" not in block.title, f"{block.where}: files stand side by side"
        file = directory / block.title
        file.write_text((file.read_text() + "\n\n" if file.exists() else "") + block.text)
    python = [b for b in ours if b.language == "python" and not b.shown]
    if python and not titled:
        (directory / "app.py").write_text(python[0].text)


# --- Python ---------------------------------------------------------------------------------


async def _run_python(blocks: list[Block], port: str, error_log: list[logging.LogRecord]) -> None:
    """Run what is Python, in order, in a namespace of its own."""
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, each: unhandled.append(each))
    module = types.ModuleType("page")  # dataclasses and annotations look their module up
    sys.modules[module.__name__] = module
    names = vars(module)
    names["error_log"] = error_log
    before: Block | None = None
    try:
        async with asyncio.timeout(2 * PATIENCE):
            for block in blocks:
                if block.kind == "run":
                    await _execute(block, names, port)
                elif block.kind in ("beside", "raises"):
                    before = block
                elif block.language == "python" and not (block.is_theirs or block.shown):
                    await _run_visible(block, before, names, port)
                    before = None
    finally:
        del sys.modules[module.__name__]
    assert before is None, f"{before.where}: no block follows"
    await turns()  # what was cancelled ends
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, "tasks are still running"
    assert not unhandled


async def _run_visible(
    block: Block, before: Block | None, names: dict[str, Any], port: str
) -> None:
    if before is None:
        await _execute(block, names, port)
    elif before.kind == "raises":
        name, _, text = before.text.strip().partition(": ")
        try:
            await _execute(block, names, port)
        except Exception as error:
            assert name in [kind.__name__ for kind in type(error).__mro__], error  # noqa: PT017
            assert text in str(error), error  # noqa: PT017
        else:
            pytest.fail(f"{block.where}: {name} was to be raised")
    else:
        beside = asyncio.ensure_future(_execute(block, names, port))
        try:
            await _execute(before, names, port)
            if beside.done():
                beside.result()
        finally:
            beside.cancel()
            await asyncio.wait([beside])


async def _execute(block: Block, names: dict[str, Any], port: str) -> None:
    source = block.source.replace(PORT, port).replace(DIRECTORY, str(Path.cwd()))
    code = compile(source, str(block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)
    if code.co_flags & inspect.CO_COROUTINE:
        await result


# --- what is no Python ----------------------------------------------------------------------


def _check_other(block: Block, directory: Path, port: str) -> None:
    if block.language == "python":
        if block.shown:
            assert block.shown.startswith("examples/"), f"{block.where}: {block.shown}"
            compile((ROOT / block.shown).read_text(), block.shown, "exec")
        elif block.is_theirs:
            compile(block.source, block.where, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    elif block.language == "sh":
        for command in _commands(block):
            command = command.replace(PORT, port).replace(DIRECTORY, str(directory))
            with Nats() if BROKER in command else contextlib.nullcontext() as broker:
                if broker is not None:
                    command = command.replace(BROKER, f"127.0.0.1:{broker.port}")
                _run_command(command, block, directory, port)
    elif block.language == "js":
        script = directory / "script.mjs"
        script.write_text(block.source)
        checked = subprocess.run(
            ["node", "--check", str(script)], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, f"{block.where}:\n{checked.stderr}"
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "ini":
        configparser.ConfigParser(strict=False).read_string(block.text)
    elif block.language == "json":
        json.loads(block.text)
    else:
        assert block.language in SEEN_ONLY, f"{block.where}: language {block.language!r}"


def _commands(block: Block) -> list[str]:
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


def _run_command(command: str, block: Block, directory: Path, port: str) -> None:
    words = shlex.split(command, comments=True)
    if words[:2] == ["date", "|"]:
        words = words[2:]
    if words[:3] == ["python", "-m", "wsgroups"] and words[3] in ("send", "close", "ls"):
        _run_beside_server(words[1:], directory, port)
    elif words[:3] == ["python", "-m", "wsgroups"]:
        _start_server(words[1:], directory, port)
    elif words[0] == "pytest":
        with Program("-m", *words, cwd=directory) as program:
            assert program.wait() == 0, program.output
    elif words[0] == "make":
        targets = [line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines()]
        asked = [word for word in words[1:] if "=" not in word]
        assert set(asked) <= set(targets), f"{block.where}: {command}"
    else:
        assert words[0] in NOT_RUN, f"{block.where}: is {words[0]!r} to be run?"


def _run_beside_server(words: list[str], directory: Path, port: str) -> None:
    """Run a command that sends to a server; nobody need be there."""
    with Program("-m", "wsgroups", "app", "--port", port, "--bus", BUS, cwd=directory) as server:
        server.wait_for("listening on")
        with Program(*words, cwd=directory, variables={"WSGROUPS_BUS": BUS}) as program:
            assert program.wait() in (0, 1), program.output
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0, server.output


def _start_server(words: list[str], directory: Path, port: str) -> None:
    """Start what a page says, and stop it as a supervisor would."""
    is_example = any(word.startswith("examples.") for word in words)
    if not {"--port", "--uds", "--help", "--version"} & set(words):
        words = [*words, "--port", port]
    with Program(*words, cwd=ROOT if is_example else directory) as program:
        if not {"--help", "--version"} & set(words):
            program.wait_for("listening on")
            program.send_signal(signal.SIGTERM)
        assert program.wait() == 0, program.output


# --- the convention itself ------------------------------------------------------------------


def _page(directory: Path, *lines: str) -> list[Block]:
    page = directory / "page.md"
    page.write_text("\n".join(lines) + "\n")
    return blocks_of(page)


def _run(blocks: list[Block], log: list[logging.LogRecord]) -> None:
    with asyncio.Runner() as runner:
        runner.run(_run_python(blocks, "1", log))


def test_a_wrong_assertion_in_a_hidden_block_fails(tmp_path: Path) -> None:
    blocks = _page(tmp_path, "```python", "x = 1", "```", "<!-- run", "assert x == 2", "-->")
    with pytest.raises(AssertionError):
        _run(blocks, [])


def test_a_block_that_was_to_raise_and_does_not_fails(tmp_path: Path) -> None:
    blocks = _page(tmp_path, "<!-- raises ValueError: x -->", "```python", "x = 1", "```")
    with pytest.raises(pytest.fail.Exception, match="was to be raised"):
        _run(blocks, [])


def test_a_block_beside_is_cancelled_and_its_error_is_seen(tmp_path: Path) -> None:
    comment = ["<!-- beside", "import asyncio", "await asyncio.sleep(0)", "-->"]
    forever = ["```python", "import asyncio", "await asyncio.Event().wait()", "```"]
    _run(_page(tmp_path, *comment, *forever), [])
    with pytest.raises(ZeroDivisionError):
        _run(_page(tmp_path, *comment, "```python", "1 / 0", "```"), [])


@pytest.mark.parametrize("fence", ["```", "```klingon", "```js\n}", "```toml\n=", "```sh\nrm x"])
def test_what_is_not_known_fails(tmp_path: Path, fence: str) -> None:
    (block,) = _page(tmp_path, fence, "```")
    with pytest.raises((AssertionError, ValueError)):
        _check_other(block, tmp_path, "1")


def test_a_file_that_is_shown_must_exist(tmp_path: Path) -> None:
    (block,) = _page(tmp_path, "```python", '--8<-- "examples/echo/app.py"', "```")
    _run([block], [])
    _check_other(block, tmp_path, "1")
    (block,) = _page(tmp_path, "```python", '--8<-- "examples/nowhere.py"', "```")
    with pytest.raises(FileNotFoundError):
        _check_other(block, tmp_path, "1")


def test_what_is_theirs_is_compiled_and_not_run(tmp_path: Path) -> None:
    (block,) = _page(tmp_path, "```{.python .theirs}", "import nowhere", "```")
    _run([block], [])
    _check_other(block, tmp_path, "1")
    (block,) = _page(tmp_path, "```{.python .theirs}", "def", "```")
    with pytest.raises(SyntaxError):
        _check_other(block, tmp_path, "1")
