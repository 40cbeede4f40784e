"""A thread that sends every second to the sockets whose ids are in a database.

    python -m wsgroups examples.ported.starcounter.broadcaster:handle
    ws://127.0.0.1:8080/

Each socket is disconnected after a hundred messages. Ids of an earlier process reach nobody and
are deleted.
"""

import functools
import os
import sqlite3
import threading
from contextlib import closing

from wsgroups import Handle, HandlerStatus, Request, SendResult, WebSocket

SENDS = 100

handle = Handle()
stopping = threading.Event()


def database() -> sqlite3.Connection:
    """Open the database; each thread opens its own."""
    path = os.environ.get("BROADCASTER_DATABASE", "broadcaster.db")
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.execute("CREATE TABLE IF NOT EXISTS websocket_ids (id INTEGER PRIMARY KEY, sent INTEGER)")
    return db


@handle.get("/")
def connect(request: Request) -> HandlerStatus:
    """Upgrade, and store the id."""
    request.require_upgrade()
    ws = request.send_upgrade("broadcast")
    with closing(database()) as db:
        db.execute("INSERT INTO websocket_ids VALUES (?, 0)", (ws.to_uint64(),))
    timer()
    return HandlerStatus.HANDLED


@handle.websocket_disconnect("broadcast")
def forget(ws: WebSocket) -> None:
    """Delete the id of a socket that has closed."""
    with closing(database()) as db:
        db.execute("DELETE FROM websocket_ids WHERE id = ?", (ws.id,))


def broadcast() -> None:
    """Send once to every id in the database. Any thread may call it."""
    with closing(database()) as db:
        for id, sent in db.execute("SELECT id, sent FROM websocket_ids").fetchall():
            ws = WebSocket(id)
            if sent == SENDS:
                ws.disconnect()
            elif ws.send(f"Broadcasting id: {id}") is not SendResult.GONE:
                db.execute("UPDATE websocket_ids SET sent = sent + 1 WHERE id = ?", (id,))
                continue
            db.execute("DELETE FROM websocket_ids WHERE id = ?", (id,))


@functools.cache
def timer() -> threading.Thread:
    """Start the thread, the first time that this is called."""
    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    return thread


def tick() -> None:
    """Broadcast every second until the end."""
    while not stopping.wait(float(os.environ.get("BROADCASTER_SECONDS", "1"))):
        broadcast()
