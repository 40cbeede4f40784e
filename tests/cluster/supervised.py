"""A service of two workers that crash, or hang at their start, when a test wants them to.

They look for files in the directory that they run in: `crash` and `hang`.
"""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.workers import health, workers_of
from tests.support import Program

APP = """
import asyncio
import os
import time

from wsgroups import Handle

handle = Handle()
if os.path.exists("crash"):
    os._exit(3)
if os.path.exists("hang"):
    time.sleep(3600)


@handle.get("/pid")
def pid(request):
    return str(os.getpid())


@handle.get("/hang")
async def hang(request):
    print("it hangs now")
    await asyncio.to_thread(time.sleep, 3600)
"""


def prepared(folder: Path) -> Path:
    """Put the application into a folder, and return that."""
    (folder / "app.py").write_text(APP)
    return folder


def command(folder: Path, *options: str, before: str = "") -> Program:
    """Serve the application with two workers.

    Args:
        folder: where it is.
        options: of the command.
        before: Python code that every process runs first.
    """
    code = f"{before}\nfrom wsgroups.command.cli import main\nmain()"
    arguments = ("-c", code, "app", "--workers=2", "--port=0", "--health-path=/health", *options)
    return Program(*arguments, cwd=folder)


@contextlib.contextmanager
def serving(
    folder: Path, *options: str, before: str = ""
) -> Iterator[tuple[Program, int, set[int]]]:
    """Serve it, as `command`, until the end of a test.

    Yields:
        the program, its port, and the processes of its workers.
    """
    with command(folder, *options, before=before) as program:
        yield program, program.port(), workers_of(program, 2)
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


def status_of(port: int) -> object:
    """Return what one of the workers that serve says of the service."""
    while True:
        with contextlib.suppress(TimeoutError):  # it came to where no worker is
            return health(port, 0.5)[1]["status"]
