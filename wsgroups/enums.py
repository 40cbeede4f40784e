"""The enumerations of the public surface."""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag


class HandlerStatus(Enum):
    """What a GET handler returns when the request needs no further answer."""

    HANDLED = "handled"


class ConnectionFlags(IntFlag):
    """What to do with the connection after a send (Starcounter's values)."""

    NONE = 0
    DISCONNECT_AFTER_SEND = 8
    DISCONNECT_IMMEDIATELY = 64
    GRACEFULLY_CLOSE_CONNECTION = 2048


class SendResult(IntEnum):
    """What became of a message given to `send`.

    `OK` and `BUFFERED` both mean that the message is on its way. `QUEUED` means that it is on its
    way to another worker, which will decide: `WebSocket.deliver` tells what that did.
    """

    OK = 0
    BUFFERED = 1
    DROPPED = 2
    GONE = 3
    QUEUED = 4


class SocketStatus(Enum):
    """What is known about an id, for any integer."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN_NODE = "unknown node"
    NEVER_ISSUED = "never issued"
    ELSEWHERE = "elsewhere"  # issued by another worker that is running; only that one knows more
