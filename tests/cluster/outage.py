"""How long a bus takes to see that its broker is away or back, and what an outage costs.

`make outage` runs it: a broker is killed for 30 seconds, restarted 20 times, and frozen with its
connections open, while messages go on. It prints a table for each kind of broker.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tests.cluster.brokers import BROKERS, Broker
from tests.cluster.recording import Recorder
from wsgroups.cluster.broker import BrokerBus
from wsgroups.cluster.kinds import open_bus

AWAY = 30.0  # seconds
RESTARTS = 20
CHANNEL = b"c"


class Pair(NamedTuple):
    """Two workers on a broker, the second of which hears what the first one says."""

    broker: Broker
    a: BrokerBus
    b: BrokerBus
    heard: Recorder

    @property
    def is_whole(self) -> bool:
        return self.a.is_connected and self.b.is_connected


Play = Callable[[Pair], Awaitable[dict[str, str]]]


class Talk:
    """Messages by address and on a channel, about 20,000 a second of each.

    Attributes:
        sent: of each kind.
    """

    def __init__(self, bus: BrokerBus) -> None:
        self.sent = 0
        self._bus = bus
        self._task = asyncio.ensure_future(self._talk())

    async def _talk(self) -> None:
        while True:
            for _ in range(20):
                self.sent += 1
                data = b"%d" % self.sent
                self._bus.send(2, data)
                self._bus.publish(CHANNEL, data)
            await asyncio.sleep(0.001)

    def has_sent(self, count: int) -> bool:
        return self.sent > count

    def stop(self) -> None:
        self._task.cancel()


async def until(condition: Callable[[], object], patience: float = 60.0) -> float:
    """Wait for something, and return how many seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + patience, "it never came"
        await asyncio.sleep(0.002)
    return time.monotonic() - began


def resident() -> int:
    """Return this process's resident memory in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def account(pair: Pair, sent: int) -> str:
    """Say what became of the messages, and fail when one is unaccounted for or came twice."""
    got = len(pair.heard.got)
    for channel in (None, CHANNEL):
        numbers = [int(data) for name, data in pair.heard.got if name == channel]
        assert numbers == sorted(set(numbers)), "twice, or in another order"
    assert got + pair.heard.lost == 2 * sent + 1, (got, pair.heard.lost, sent)
    return f"{2 * sent:,} sent, {got:,} came, {pair.heard.lost:,} told as lost"


async def kill_for_long(pair: Pair) -> dict[str, str]:
    talk = Talk(pair.a)
    await until(lambda: talk.sent > 2000)
    pair.broker.kill()
    noticed = await until(lambda: not pair.a.is_connected)
    before = resident()
    await asyncio.sleep(AWAY)
    grown = (resident() - before) / 1e6
    await asyncio.to_thread(pair.broker.start)
    back = await until(lambda: pair.is_whole)
    await asyncio.sleep(1)
    talk.stop()
    await until(lambda: len(pair.heard.got) + pair.heard.lost == 2 * talk.sent + 1)
    return {
        f"killed for {AWAY:g} s: noticed after": f"{noticed:.2f} s",
        "back after": f"{back:.2f} s",
        "memory of both workers grew by": f"{grown:.1f} MB",
        "of the messages": account(pair, talk.sent),
    }


async def restart_often(pair: Pair) -> dict[str, str]:
    talk = Talk(pair.a)
    times = []
    for _ in range(RESTARTS):
        enough = talk.sent + 2000
        await until(partial(talk.has_sent, enough))
        await pair.broker.restart()
        times.append(await until(lambda: pair.is_whole))
    await asyncio.sleep(1)
    talk.stop()
    await until(lambda: len(pair.heard.got) + pair.heard.lost == 2 * talk.sent + 1)
    return {
        f"restarted {RESTARTS} times: back after": f"{min(times):.2f}..{max(times):.2f} s",
        "of the messages": account(pair, talk.sent),
    }


async def leave_half_open(pair: Pair) -> dict[str, str]:
    pair.broker.freeze()
    try:
        noticed = await until(lambda: not pair.a.is_connected)
    finally:
        pair.broker.thaw()
    return {"stands still: noticed after": f"{noticed:.2f} s"}


async def on(
    kind: type[Broker], play: Callable[[Pair], Awaitable[dict[str, str]]]
) -> dict[str, str]:
    """Play an outage with two workers on a broker of their own."""
    with kind() as broker:
        recorders = Recorder(), Recorder()
        buses = [open_bus(broker.url, address) for address in (1, 2)]
        for bus, recorder in zip(buses, recorders, strict=True):
            await bus.start(recorder)
        a, b = buses
        assert isinstance(a, BrokerBus)
        assert isinstance(b, BrokerBus)
        b.subscribe(CHANNEL)
        await b.sync()
        a.publish(CHANNEL, b"0")  # a channel's count is known from its first message on
        await a.sync()
        try:
            return await play(Pair(broker, a, b, recorders[1]))
        finally:
            for bus in buses:
                await bus.stop()


async def main() -> None:
    console = Console()
    for name, kind in BROKERS.items():
        table = Table("", name, title=f"Outages of {name}")
        for play in (kill_for_long, restart_often, leave_half_open):
            console.print(f"{name}: {play.__name__} ...")
            for what, figure in (await on(kind, play)).items():
                table.add_row(what, figure)
        console.print(table)


if __name__ == "__main__":
    asyncio.run(main())
