"""What the workers of these tests serve.

`/ws/GROUP` upgrades into a group; the first message to a socket is its id and its process. What a
client of the group `command` says is done by the worker that it has come to. `ack` answers
each message with its number.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from wsgroups import Handle, HandlerStatus, Request, SendResult, WebSocket, live

handle = Handle(write_limit=64 << 20, max_message_size=16 << 20)


@handle.get("/pid")
def pid(request: Request) -> str:
    return str(os.getpid())


@handle.get("/ws/{group}")
def enter(request: Request, group: str) -> HandlerStatus:
    request.require_upgrade()
    ws = request.send_upgrade(group)
    ws.send(f"{ws.id} {os.getpid()}")
    return HandlerStatus.HANDLED


@handle.websocket("room")
def on_room(message: str, ws: WebSocket) -> None:
    ws.send(message)


# --- acknowledged messages ------------------------------------------------------------------


@handle.websocket("ack")
def on_ack(message: str, ws: WebSocket) -> None:
    ws.data = (message.split()[0], (ws.data or ("", 0))[1] + 1)
    ws.send(message.split()[1])


@handle.websocket_disconnect("ack")
def on_ack_gone(ws: WebSocket) -> None:
    if ws.data:
        print("recorded", *ws.data, flush=True)


# --- commands -------------------------------------------------------------------------------


async def storm(ws: WebSocket, name: str, seed: int, sends: int, group_sends: int, ids: Any) -> str:
    """Send to sockets by id and to their group, as `plan` has it."""
    group = handle.group("room")
    known = [WebSocket(id) for id in ids]
    for number, target in enumerate(plan(seed, sends, group_sends, len(ids))):
        if target is None:
            group.send(f"{name} {number}")
        else:
            result = known[target].send(f"{name} {number}")
            assert result in (SendResult.OK, SendResult.BUFFERED, SendResult.QUEUED), result
        if number % 256 == 255:
            await WebSocket(ids[0]).drain()
            await next_worker(ids).drain()
            await asyncio.sleep(0)
    return "done"


def next_worker(ids: list[int]) -> WebSocket:
    """Return a socket of another worker, if there is one."""
    for id in ids:
        if WebSocket(id).request is None:
            return WebSocket(id)
    return WebSocket(ids[0])


def plan(seed: int, sends: int, group_sends: int, targets: int) -> list[int | None]:
    """Return which socket each message goes to; None: all of them."""
    chance = random.Random(seed)
    planned: list[int | None] = [chance.randrange(targets) for _ in range(sends)]
    for _ in range(group_sends):
        planned[chance.randrange(sends)] = None
    return planned


async def send(ws: WebSocket, id: int, text: str) -> str:
    return WebSocket(id).send(text).name


async def send_from_threads(ws: WebSocket, id: int, threads: int, count: int) -> str:
    def send_many(name: int) -> set[str]:
        return {WebSocket(id).send(f"{name} {number}").name for number in range(count)}

    found = await asyncio.gather(*(asyncio.to_thread(send_many, name) for name in range(threads)))
    return " ".join(set().union(*found))


async def deliver_in_another_loop(ws: WebSocket, id: int, text: str) -> str:
    """Each thread may run a loop of its own."""
    return await asyncio.to_thread(lambda: asyncio.run(deliver(ws, id, text)))


async def deliver(ws: WebSocket, id: int, text: str) -> str:
    return (await WebSocket(id).deliver(text)).name


async def status(ws: WebSocket, id: int) -> str:
    return f"{WebSocket(id).status.name} {WebSocket(id).is_dead()}"


async def disconnect(ws: WebSocket, id: int, reason: str, code: int) -> str:
    WebSocket(id).disconnect(reason, code)
    return "done"


async def join(ws: WebSocket, name: str) -> str:
    return str(ws.join(name))


async def leave(ws: WebSocket, name: str) -> str:
    ws.leave(name)
    return "done"


async def group(ws: WebSocket, name: str, text: str, exclude: list[int]) -> str:
    return str(handle.group(name).send(text, exclude=exclude))


async def group_bytes(ws: WebSocket, name: str, size: int) -> str:
    sent = handle.group(name).send(bytes(size))
    await WebSocket(ws.id ^ 1 << 47).drain()  # any socket of another worker will do
    return str(sent)


async def room(ws: WebSocket, name: str, text: str) -> str:
    return str(handle.room(name).send(text))


async def close(ws: WebSocket, name: str, code: int, reason: str) -> str:
    handle.group(name).close(code, reason)
    return "done"


async def count_group(ws: WebSocket, name: str) -> str:
    """Members here, and in all workers."""
    return f"{len(handle.group(name))} {await handle.group(name).count()}"


async def count_strictly(ws: WebSocket, name: str) -> str:
    try:
        return str(await handle.group(name).count(strict=True))
    except TimeoutError as error:
        return f"TimeoutError: {error}"


async def count_in_another_loop(ws: WebSocket, name: str) -> str:
    return str(await asyncio.to_thread(lambda: asyncio.run(handle.group(name).count(strict=True))))


async def all_ids_of_group(ws: WebSocket, name: str) -> str:
    return " ".join(map(str, await handle.group(name).all_ids()))


async def count_room(ws: WebSocket, name: str) -> str:
    return str(await handle.room(name).count())


async def all_ids_of_room(ws: WebSocket, name: str) -> str:
    return " ".join(map(str, await handle.room(name).all_ids()))


async def find_live(ws: WebSocket, ids: list[int]) -> str:
    """The ids that are open, and the seconds it took."""
    began = time.perf_counter()
    found = await live(ids)
    seconds = time.perf_counter() - began
    return f"{' '.join(map(str, found))};{seconds:.3f}"


async def die(ws: WebSocket) -> str:
    os._exit(3)


async def block(ws: WebSocket) -> str:
    """Stand still, from the second time on: then the answer to the first has gone out."""
    if ws.data:
        time.sleep(600)
    ws.data = True
    return "blocks now"


COMMANDS: dict[str, Callable[..., Awaitable[str]]] = {
    function.__name__: function
    for function in (
        storm,
        send,
        send_from_threads,
        deliver_in_another_loop,
        deliver,
        status,
        disconnect,
        join,
        leave,
        group,
        group_bytes,
        room,
        close,
        die,
        block,
        count_group,
        count_strictly,
        count_in_another_loop,
        all_ids_of_group,
        count_room,
        all_ids_of_room,
        find_live,
    )
}


@handle.websocket("command")
async def on_command(message: str, ws: WebSocket) -> None:
    name, *arguments = orjson.loads(message)
    ws.send("= " + await COMMANDS[name](ws, *arguments))
