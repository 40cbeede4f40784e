"""What a socket did, for the log: counted only where somebody asked for it."""

import logging

cimport cython

from wsgroups.repeats import repeats

logging.getLogger("wsgroups").addFilter(repeats)

cdef enum:
    PREVIEW = 100             # characters or bytes of a payload that a line shows

LEVELS = {"verbose": TRACE_VERBOSE, "subtle": TRACE_SUBTLE, "nothing": TRACE_NOTHING}


@cython.final
cdef class Tally:
    """Messages and payload bytes of one socket, both ways."""

    def __str__(self):
        return (
            f"{self.messages_in} messages ({self.bytes_in} bytes) in, "
            f"{self.messages_out} ({self.bytes_out} bytes) out"
        )

    cdef void sent(self, Py_ssize_t size) noexcept:
        self.messages_out += 1
        self.bytes_out += size


cdef str preview(object payload):
    """The beginning of a payload on one line: whatever it holds, a terminal shows it as text."""
    if isinstance(payload, memoryview):
        payload = payload.cast("B")
    rest = len(payload) - PREVIEW
    shown = payload[:PREVIEW]
    if not isinstance(shown, str):
        shown = bytes(shown)
    return f"{ascii(shown)}... and {rest} more" if rest > 0 else ascii(shown)


def set_log_level(str level not None):
    """Say how much of its work wsgroups logs, to the logger `wsgroups`. From any thread.

    Sockets that are open already are left out of what is counted.

    Args:
        level: `"verbose"` logs each message, its payload cut at 100 characters; `"subtle"` each
            socket that opens and closes, with what went over it; `"nothing"` nothing at all, not
            even errors. Without a call only what needs attention is logged.

    Raises:
        ValueError: for any other level.
    """
    global trace
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    trace = LEVELS[level]
    repeats.least = logging.WARNING if trace else logging.INFO
    python_levels = {TRACE_VERBOSE: logging.DEBUG, TRACE_SUBTLE: logging.INFO}
    logging.getLogger("wsgroups").setLevel(python_levels.get(trace, logging.CRITICAL + 1))
