"""Test an application with real clients: `async with testing.start(handle) as app`.

    async def test_echo():
        async with testing.start(handle) as app, app.connect("/echo") as client:
            await client.send("hello")
            await client.expect("hello")

The application runs in the test's own loop, on a free port, or with `transport="memory"` without
any socket and with a clock that only moves when told to. Clients never wait for ever: what does not
come within `timeout` seconds fails the test and says what came instead.

With pytest the fixture `wsgroups_start` starts applications that are stopped when the test is over.
It needs pytest-asyncio; with another runner of asynchronous tests use `start` itself.
"""

from wsgroups.testing.app import App, start
from wsgroups.testing.client import Client
from wsgroups.testing.exchange import Reply

__all__ = ["App", "Client", "Reply", "start"]

pytest_plugins = ["wsgroups.testing.plugin"]  # for `-p wsgroups.testing`
