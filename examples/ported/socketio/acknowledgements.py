"""Acknowledgements both ways: the client has its events confirmed, and the server asks a client.

    python -m wsgroups examples.ported.socketio.acknowledgements:handle
    ws://127.0.0.1:8080/?name=Ann, then GET /where/Ann

A message with an `id` is answered by one with the same number as `ack`.
"""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from wsgroups import Handle, HandlerStatus, Request, Response, WebSocket

PATIENCE = 5.0  # seconds that a client may take to answer

handle = Handle()


@dataclass
class Client:
    """What belongs to one socket."""

    name: str
    numbers: Iterator[int] = field(default_factory=itertools.count)
    answers: dict[int, asyncio.Future[Any]] = field(default_factory=dict)


@handle.get("/")
def connect(request: Request) -> HandlerStatus:
    """Upgrade; the client can be found by its name."""
    request.require_upgrade()
    client = Client(request.query.get("name", "somebody"))
    request.send_upgrade("clients", data=client).join(client.name)
    return HandlerStatus.HANDLED


@handle.websocket("clients")
def on_event(message: dict[str, Any], ws: WebSocket) -> None:
    """Confirm an event, or hand on an answer to who waits for it."""
    match message:
        case {"ack": int(number)}:
            future = ws.data.answers.get(number)
            if future is not None and not future.done():
                future.set_result(message.get("data"))
        case {"id": int(number), "event": "add", "data": [int(a), int(b)]}:
            ws.send_json({"ack": number, "data": a + b})
        case {"id": int(number)}:
            ws.send_json({"ack": number, "data": {"error": "no such event"}})


@handle.websocket_disconnect("clients")
def disconnect(ws: WebSocket) -> None:
    """Let nobody wait for the answers of a client that is gone."""
    for future in ws.data.answers.values():
        future.cancel()


async def call(ws: WebSocket, event: str, data: Any = None) -> Any:
    """Send an event and return the client's answer.

    Not from a handler of the same socket: its answer would wait behind that handler.

    Raises:
        TimeoutError: when no answer comes.
    """
    client: Client = ws.data
    number = next(client.numbers)
    client.answers[number] = asyncio.get_running_loop().create_future()
    ws.send_json({"id": number, "event": event, "data": data})
    try:
        return await asyncio.wait_for(client.answers[number], PATIENCE)
    finally:
        del client.answers[number]


@handle.get("/where/{name}")
async def where(request: Request, name: str) -> Response | dict[str, Any]:
    """Ask a client where it is."""
    for ws in handle.room(name):
        return {"name": name, "place": await call(ws, "where")}
    return Response(f"{name} is not here", status=404)
