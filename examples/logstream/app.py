"""Shows the lines of Python's logging to whoever connects, from whatever thread they come.

python -m wsgroups examples.logstream.app:handle
ws://127.0.0.1:8080/logs?level=WARNING
"""

import logging
import threading

from wsgroups import Handle, HandlerStatus, HTTPError, Request

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

handle = Handle()
handle.group("logs", slow_consumer="drop_newest")  # who reads too slowly loses lines, not us


class Streamer(logging.Handler):
    """Sends each record to the rooms of its level and of all below it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line. In whatever thread has logged it."""
        line = self.format(record)
        for level in LEVELS:
            if record.levelno >= logging.getLevelNamesMapping()[level]:
                handle.room(level).send(line)


@handle.get("/logs")
def watch(request: Request) -> HandlerStatus:
    """Join the room of the level that is asked for."""
    request.require_upgrade()
    level = request.query.get("level", "INFO").upper()
    if level not in LEVELS:
        raise HTTPError(400, f"level must be one of {', '.join(LEVELS)}")
    request.send_upgrade("logs").join(level)
    return HandlerStatus.HANDLED


def work(stop: threading.Event, seconds: float = 1.0) -> None:
    """Stand for an application: say something now and then, in a plain thread."""
    logger = logging.getLogger("work")
    number = 0
    while not stop.wait(seconds):
        number += 1
        logger.log(logging.WARNING if number % 5 == 0 else logging.INFO, "step %d", number)


streamer = Streamer()
streamer.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
logging.getLogger("work").addHandler(streamer)
logging.getLogger("work").setLevel(logging.DEBUG)
threading.Thread(target=work, args=(threading.Event(),), daemon=True).start()
