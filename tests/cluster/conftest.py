"""Workers on a broker of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.cluster.brokers import BROKERS, Broker
from tests.cluster.recording import Recorder
from tests.support import soon
from wsgroups.cluster.broker import BrokerBus
from wsgroups.cluster.kinds import open_bus

Join = Callable[..., Awaitable[tuple[BrokerBus, Recorder]]]


@pytest.fixture(params=BROKERS)
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    with BROKERS[request.param]() as started:
        yield started


@pytest.fixture
async def join(broker: Broker) -> AsyncIterator[Join]:
    async with AsyncExitStack() as stack:

        async def start(
            address: int, since: int = 0, recorder: Recorder | None = None
        ) -> tuple[BrokerBus, Recorder]:
            bus, recorder = open_bus(broker.url, address, since), recorder or Recorder()
            assert isinstance(bus, BrokerBus)
            await soon(bus.start(recorder))
            stack.push_async_callback(bus.stop)
            return bus, recorder

        yield start
