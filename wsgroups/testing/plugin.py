"""The pytest plugin: a fixture that starts applications and stops them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from wsgroups.testing.app import TIMEOUT, App, start

Start = Callable[..., Awaitable[App]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option `wsgroups_timeout`."""
    parser.addini(
        "wsgroups_timeout",
        "seconds that the clients of wsgroups.testing wait for anything",
        default=str(TIMEOUT),
    )


async def _applications(request: pytest.FixtureRequest) -> AsyncIterator[Start]:
    """Start applications with `app = await wsgroups_start(handle)`; they stop after the test.

    It takes the arguments of `wsgroups.testing.start` and returns the running `App`.
    """
    timeout = float(request.config.getini("wsgroups_timeout"))
    async with AsyncExitStack() as stack:

        async def begin(handle: Any, **options: Any) -> App:
            return await stack.enter_async_context(start(handle, **{"timeout": timeout, **options}))

        yield begin


def _unavailable() -> None:
    """Start applications for tests that pytest-asyncio runs, which is not installed."""
    pytest.fail(
        "the fixture wsgroups_start needs pytest-asyncio; with another runner of asynchronous "
        "tests write 'async with wsgroups.testing.start(handle) as app'",
        pytrace=False,
    )


try:
    import pytest_asyncio
except ImportError:
    wsgroups_start: Any = pytest.fixture(_unavailable, name="wsgroups_start")
else:
    wsgroups_start = pytest_asyncio.fixture(_applications, name="wsgroups_start")
