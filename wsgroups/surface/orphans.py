"""Sockets whose worker was killed: their disconnect handlers are called in another one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

from wsgroups.closing import CloseInfo, Side
from wsgroups.connection.connection import Handler
from wsgroups.connection.stream import current_socket
from wsgroups.surface.listener import Spawn, ends_task
from wsgroups.surface.websocket import WebSocket, orphan_socket

if TYPE_CHECKING:
    from wsgroups.surface.group import Group

logger = logging.getLogger("wsgroups")

_AT_ONCE = 64  # handlers begun before the loop goes on
_LOST = CloseInfo(1006, "", False, Side.LOCAL)


def told_first(handler: Handler, tell: Callable[[int], Awaitable[None]]) -> Handler:
    """Return a disconnect handler that is called after the guardian knows of it.

    Killed in between, a worker leaves it undone: called twice would be worse.

    Args:
        handler: what the application has registered.
        tell: tells the guardian that a socket is closed.
    """

    async def closed(ws: WebSocket) -> None:
        await tell(ws.id)
        result = handler.function(ws)
        if isinstance(result, Awaitable):
            await result

    return Handler(closed, is_async=True, takes_message=False)


async def call_for(group: Group, ids: Collection[int], spawn: Spawn) -> None:
    """Call the disconnect handler of a group for sockets whose worker was killed.

    As with other sockets, the handlers of different ones do not wait for one another.
    """
    count = len(ids)
    lost = "1 socket is lost with its" if count == 1 else f"{count} sockets are lost with their"
    logger.warning("group %a: %s worker", group.name, lost)
    for begun, id in enumerate(ids, 1):
        spawn(_call(group, orphan_socket(id, _LOST, group)))
        if begun % _AT_ONCE == 0:
            await asyncio.sleep(0)


async def _call(group: Group, ws: WebSocket) -> None:
    """Call the disconnect handler for one; what it raises goes to the log and the error handler."""
    current_socket.set(ws)
    handler = group.disconnect
    if handler is None:
        return
    try:
        await _finish(handler.function(ws))
    except (Exception, asyncio.CancelledError) as error:
        if ends_task(error):
            raise
        logger.error("socket %d of group %a: handler failed", ws.id, group.name, exc_info=error)
        if group.core.error is None:
            return
        try:
            await _finish(group.core.error.function(error, ws))
        except Exception as second:
            logger.error(
                "socket %d of group %a: error handler failed", ws.id, group.name, exc_info=second
            )


async def _finish(result: Any) -> None:
    if isinstance(result, Awaitable):
        await result
