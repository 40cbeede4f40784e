"""`python -m benchmarks.scale.player`: one worker of a trial, with a broker's own client.

It reads its orders, a JSON object, from the first line of its input: `port`, `interest`, pairs of a
subject and whether it is wanted, `messages`, pairs of a subject and a size. It says `ready` when
all it asked for is in force, publishes at the next line, says `sent` when the broker has
everything, and at the third line how many messages have come, by subject.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription


async def play(orders: dict[str, Any], lines: asyncio.StreamReader) -> None:
    """Do what the orders say."""
    connection = await nats.connect(f"nats://127.0.0.1:{orders['port']}", no_echo=True)
    got: Counter[str] = Counter()

    async def count(message: Msg) -> None:
        got[message.subject] += 1

    wanted: dict[str, Subscription] = {}
    for subject, is_wanted in orders["interest"]:
        if is_wanted:
            wanted[subject] = await connection.subscribe(subject, cb=count)
        else:
            await wanted.pop(subject).unsubscribe()
    await settle(connection)
    print("ready", flush=True)
    await lines.readline()
    for subject, size in orders["messages"]:
        await connection.publish(subject, b"x" * size)
    await settle(connection)
    print("sent", flush=True)
    await lines.readline()
    await settle(connection)  # what was on its way to this one is here
    while connection.stats["in_msgs"] > sum(got.values()):
        await asyncio.sleep(0.001)  # it waits for its callback
    print(json.dumps(got), flush=True)
    await connection.close()


async def settle(connection: Client) -> None:
    """Wait until the broker has everything; `flush` alone overtakes what waits to be written."""
    while connection.pending_data_size:
        await asyncio.sleep(0)
    await connection.flush()


async def main() -> None:
    """Read orders and follow them."""
    lines = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    await play(json.loads(await lines.readline()), lines)


if __name__ == "__main__":
    asyncio.run(main())
