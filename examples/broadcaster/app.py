"""Sends to sockets whose ids are stored in a database, from a thread that knows nothing else.

    python -m wsgroups examples.broadcaster.app:handle

The ids outlive the process: after a restart the rows of sockets that are gone are swept out, and
none of them ever names another socket.
"""

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from wsgroups import Handle, HandlerStatus, Request, SendResult, WebSocket

DATABASE = Path(os.environ.get("BROADCASTER_DATABASE", "broadcaster.db"))
SECONDS = float(os.environ.get("BROADCASTER_SECONDS", "1"))
SENDS = 100

handle = Handle()


def database() -> sqlite3.Connection:
    """Open the database; each thread its own."""
    connection = sqlite3.connect(DATABASE, timeout=30, isolation_level=None)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS sockets (id INTEGER PRIMARY KEY, sent INTEGER NOT NULL)"
    )
    return connection


@handle.get("/")
def upgrade(request: Request) -> HandlerStatus:
    """Upgrade, and store the id."""
    ws = request.send_upgrade("broadcast")
    with closing(database()) as db:
        db.execute("INSERT INTO sockets VALUES (?, 0)", (ws.id,))
    return HandlerStatus.HANDLED


@handle.websocket_disconnect("broadcast")
def forget(ws: WebSocket) -> None:
    """Delete the row of a socket that has closed."""
    with closing(database()) as db:
        db.execute("DELETE FROM sockets WHERE id = ?", (ws.id,))


def broadcast() -> None:
    """Send to every id in the database, then do it again a second later."""
    with closing(database()) as db:
        for id, sent in db.execute("SELECT id, sent FROM sockets").fetchall():
            ws = WebSocket(id)
            if ws.send(f"Broadcasting id: {id}") is SendResult.GONE:
                db.execute("DELETE FROM sockets WHERE id = ?", (id,))  # of an earlier process
            elif sent + 1 < SENDS:
                db.execute("UPDATE sockets SET sent = ? WHERE id = ?", (sent + 1, id))
            else:
                ws.disconnect("That was all.")
                db.execute("DELETE FROM sockets WHERE id = ?", (id,))
    start()


def start() -> None:
    """Have `broadcast` called in a thread of its own."""
    timer = threading.Timer(SECONDS, broadcast)
    timer.daemon = True
    timer.start()


start()
