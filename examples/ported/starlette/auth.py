"""A cookie or a token opens the socket; JSON is checked against a model; HTTP pushes to an item.

python -m wsgroups examples.ported.starlette.auth:handle
ws://127.0.0.1:8080/items/lamp/ws?token=secret
"""

from dataclasses import dataclass

from wsgroups import Handle, HandlerStatus, HTTPError, Request, WebSocket

TOKENS = {"secret": "Ann", "other": "Bob"}  # stands for a database

handle = Handle()


@dataclass
class Bid:
    """What a client sends."""

    price: int


def user_of(request: Request) -> str:
    """Return the user of the cookie, or of the token in the query.

    Raises:
        HTTPError: 403 when there is none.
    """
    token = request.cookies.get("session") or request.query.get("token", "")
    if token not in TOKENS:
        raise HTTPError(403, "Who are you?")
    return TOKENS[token]


@handle.get("/items/{item}/ws")
def connect(request: Request, item: str) -> HandlerStatus:
    """Let known users watch an item."""
    request.require_upgrade()
    ws = request.send_upgrade("bids", data=(user_of(request), item))
    ws.join(item)
    return HandlerStatus.HANDLED


@handle.websocket("bids")
def bid(message: Bid, ws: WebSocket) -> None:
    """Show a bid to all who watch the item; close on one that cannot be."""
    user, item = ws.data
    if message.price <= 0:
        ws.disconnect("a price is above 0", code=1008)
        return
    handle.room(item).send_json({"user": user, "item": item, "price": message.price})


@handle.post("/items/{item}/sold")
def sold(request: Request, item: str) -> dict[str, int]:
    """Tell all who watch an item, from an ordinary HTTP route, and say how many those are."""
    user_of(request)
    return {"told": handle.room(item).send_json({"item": item, "sold": True})}
