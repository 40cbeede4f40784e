"""A log that no peer can flood: lines that repeat are counted instead of written."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST = 10  # of a kind in a period
PERIOD = 1.0  # seconds


@dataclass(slots=True)
class _Kind:
    """What is known of records of one kind in the current period."""

    began: float
    seen: int = 0


class RepeatFilter(logging.Filter):
    """Lets ten lines of a kind pass in a second; from any thread.

    Of one kind are those that one line of the program logs with the same message, whatever its
    arguments; with an exception, those whose traceback ends in the same line. The last that passes
    says so, and the first of a later period says how many were left out. Whatever is below `least`
    passes: DEBUG, and INFO where `set_log_level` asked for a line about each socket.

    Args:
        clock: returns seconds.

    Attributes:
        least: the lowest level that is counted.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self.least = logging.INFO
        self._lock = threading.Lock()
        self._kinds: dict[Any, _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a record that is not to be written."""
        if record.levelno < self.least:
            return True
        with self._lock:
            key = _key(record)
            now = self._clock()
            kind = self._kinds.setdefault(key, _Kind(now))
            left_out = 0
            if now - kind.began >= PERIOD:
                left_out = max(0, kind.seen - MOST)
                kind.began, kind.seen = now, 0
            kind.seen += 1
            if left_out:
                _add(record, f"{left_out} more like this were left out")
            elif kind.seen == MOST:
                _add(record, f"more like this are left out for {PERIOD:g} s")
            return kind.seen <= MOST

    def forget(self) -> None:
        """Begin anew, as if nothing had been logged."""
        with self._lock:
            self._kinds.clear()


def _key(record: logging.LogRecord) -> tuple[object, ...]:
    place: tuple[object, ...] = (record.levelno, record.msg)
    if record.exc_info and record.exc_info[1] is not None:
        trace = record.exc_info[2]
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place += (record.exc_info[0],)
        if trace is not None:
            place += (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return place


def _add(record: logging.LogRecord, remark: str) -> None:
    record.msg = f"{record.msg} ({remark})"


repeats = RepeatFilter()
