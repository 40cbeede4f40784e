"""The client of the article: says Hi, prints the answer, closes.

    python -m examples.ported.codeproject.client ws://127.0.0.1:8080/chat

The server is `examples.ported.codeproject.echo`.
"""

import asyncio
import sys

import wsgroups


async def talk(url: str) -> str | bytes:
    """Send one message and return the answer; leaving the block does the close handshake."""
    async with wsgroups.connect(url) as client:
        await client.send("Hi")
        return await client.recv()


if __name__ == "__main__":
    print("Client:", asyncio.run(talk(sys.argv[1])))
