"""The applications of a test, which are held to their end."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.connection.peer import App, Serve


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Make an application; when the test is over, everything open breaks off and is checked."""
    apps: list[App] = []

    def make(**options: Any) -> App:
        apps.append(App(**options))
        return apps[-1]

    yield make
    for app in apps:
        app.finish()
