"""What the workers of the tests of orphans and presence serve; they write down what happens.

`/ws/GROUP` upgrades into a group; the first message to a socket is its id and its process. A
message `+NAME` to a socket of `lobby` joins a room, `-NAME` leaves it; others are sent back.
"""

import asyncio
import os

from wsgroups import Handle, HandlerStatus, PresenceEvent, Request, WebSocket

handle = Handle()


def write(*words: object) -> None:
    """Write a line, at once and whole: several processes do."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


@handle.get("/ws/{group}")
def enter(request: Request, group: str) -> HandlerStatus:
    request.require_upgrade()
    ws = request.send_upgrade(group)
    ws.send(f"{ws.id} {os.getpid()}")
    return HandlerStatus.HANDLED


def written(ws: WebSocket) -> str:
    """What is known of a socket that has closed."""
    assert ws.close_info is not None
    assert WebSocket.current == ws
    return f"{ws.id} {os.getpid()} {ws.group.name} {ws.status.name} {ws.close_info.code}"


def echo(message: str, ws: WebSocket) -> None:
    ws.send(message)


# --- groups that are guarded, and one that is not -------------------------------------------

for name in ("guarded", "later", "failing", "plain"):
    handle.group(name, orphans=name != "plain")
    handle.websocket(name)(echo)


@handle.websocket_disconnect("guarded")
@handle.websocket_disconnect("plain")
def on_gone(ws: WebSocket) -> None:
    write("gone", written(ws))


@handle.websocket_disconnect("later")
async def on_gone_later(ws: WebSocket) -> None:
    await asyncio.sleep(0.01)
    write("gone", written(ws))


@handle.websocket_disconnect("failing")
def on_gone_failing(ws: WebSocket) -> None:
    raise RuntimeError("a slip")


@handle.websocket_error("failing")
def on_error(error: Exception, ws: WebSocket) -> None:
    write("failed", written(ws), error)


# --- presence -------------------------------------------------------------------------------


@handle.websocket("lobby")
def on_lobby(message: str, ws: WebSocket) -> None:
    for word in message.split():
        if word[0] == "+":
            ws.join(word[1:])
        elif word[0] == "-":
            ws.leave(word[1:])
    ws.send(message)


@handle.presence("lobby")
def on_lobby_presence(event: PresenceEvent) -> None:
    write("presence", os.getpid(), event.id, event.kind, event.group, event.room, event.is_here)


@handle.presence(room="chess:*")
async def on_room_presence(event: PresenceEvent) -> None:
    await asyncio.sleep(0)
    write("presence", os.getpid(), event.id, event.kind, event.group, event.room, event.is_here)
