"""Both loops for every asynchronous test, and what must hold after every test of any kind."""

import asyncio
import gc
import inspect
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
import uvloop

from tests.certificates import Certificates
from wsgroups.repeats import repeats

DRIVERS = ("epoll", "transports")

# What runs on both drivers without being asked to; `--driver` runs everything on one.
ON_BOTH_DRIVERS = {
    "tests.drivers.test_descriptors",
    "tests.drivers.test_epoll",
    "tests.drivers.test_resets",
    "tests.rows.test_frame_rows",
    "tests.test_handlers",
    "tests.test_server",
    "tests.test_websocket",
    "tests.tls.test_clients",
    "tests.tls.test_serving",
}

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: Any) -> Mapping[str, LoopFactory]:
    """Runs every `async def` test twice."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--driver`."""
    parser.addoption("--driver", choices=DRIVERS, help="what moves the bytes in every test")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: one process more than there are cores, as many tests wait."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else 3


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs the tests of some modules on both drivers."""
    if (
        metafunc.config.getoption("driver") is None
        and metafunc.module.__name__ in ON_BOTH_DRIVERS
        and metafunc.definition.get_closest_marker("only_on_epoll") is None
    ):
        metafunc.parametrize("driver", DRIVERS, indirect=True)


@pytest.fixture(autouse=True)
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Chooses the driver of all servers, also of those in processes that the test starts."""
    name: str = getattr(request, "param", None) or request.config.getoption("driver") or "epoll"
    if request.node.get_closest_marker("only_on_epoll"):
        name = "epoll"
    monkeypatch.setenv("WSGROUPS_DRIVER", name)
    return name


@pytest.fixture(scope="session", autouse=True)
def _steady_state() -> None:
    """Makes what the loops keep for the whole process, so that no test is blamed for it."""

    async def use_every_part() -> None:
        await asyncio.to_thread(int)
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()

    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(use_every_part())
    gc.collect()
    gc.freeze()  # the collections after each test need not look at what was imported


class _Errors(logging.Handler):
    """Collects what is logged at ERROR and above."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


_errors = _Errors()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority and what it signs."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def error_log() -> list[logging.LogRecord]:
    """What was logged at ERROR; a test that takes this says that it expects such."""
    return _errors.records


@pytest.fixture(autouse=True)
def _process_is_clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """No leaked descriptor, no leaked thread, no error in the log.

    It ends after the loop of the test has been closed.
    """
    repeats.forget()
    descriptors = _descriptors()
    threads = set(threading.enumerate())
    logging.getLogger().addHandler(_errors)
    yield
    logging.getLogger().removeHandler(_errors)
    logged = [_errors.format(record) for record in _errors.records]
    _errors.records.clear()
    left = {fd: target for fd, target in _descriptors().items() if descriptors.get(fd) != target}
    assert not left, "descriptors are still open"
    assert not set(threading.enumerate()) - threads, "threads are still running"
    assert not logged or "error_log" in request.fixturenames, "\n".join(logged)


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one that listdir itself used
            continue
    return found


@pytest.fixture(autouse=True)
def _loop_is_clean(request: pytest.FixtureRequest, _process_is_clean: None) -> None:
    """The same for the loop of an asynchronous test."""
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("_watched_loop")


@pytest.fixture
async def _watched_loop() -> AsyncIterator[None]:
    """Nothing unhandled came to the loop's exception handler, and no task is left."""
    loop = asyncio.get_running_loop()
    unhandled: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    ours = asyncio.current_task()
    yield
    # Not the test's: the fixture itself may be finished in a task of its own.
    left = asyncio.all_tasks() - {ours, asyncio.current_task()}
    assert not left, "tasks are still running"
    gc.collect()  # "never retrieved" is told by what is collected
    await asyncio.sleep(0)
    assert not unhandled
