"""Close codes and what is known about how a socket ended (RFC 6455 section 7.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class CloseCode(IntEnum):
    """The registered close codes (IANA WebSocket Close Code Number Registry).

    The `WS_CLOSE_*` names are Starcounter's, as aliases of the same members.
    """

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015
    UNAUTHORIZED = 3000
    FORBIDDEN = 3003
    TIMEOUT = 3008

    WS_CLOSE_NORMAL = 1000
    WS_CLOSE_GOING_DOWN = 1001
    WS_CLOSE_PROTOCOL_ERROR = 1002
    WS_CLOSE_CANT_ACCEPT_DATA = 1003
    WS_CLOSE_WRONG_DATA_TYPE = 1007
    WS_CLOSE_POLICY_VIOLATED = 1008
    WS_CLOSE_MESSAGE_TOO_BIG = 1009
    WS_CLOSE_UNEXPECTED_CONDITION = 1011


class Side(Enum):
    """Which end did something."""

    LOCAL = "local"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """How a socket ended.

    Attributes:
        code: the code of the Close frame that began it; 1005 when the peer's had none, 1006 when
            the connection ended without the peer's Close frame (RFC 6455 section 7.1.5), unless we
            failed it: then the code that says why.
        reason: the text beside it, at most 123 bytes of UTF-8.
        clean: True when Close frames went both ways (section 7.1.4).
        initiator: the side that began: sent the first Close frame or dropped the connection.
    """

    code: int
    reason: str
    clean: bool
    initiator: Side


MAX_REASON_BYTES = 123  # a control frame holds 125 bytes, two are the code (section 5.5)


def is_sendable(code: int) -> bool:
    """True when `code` may stand in a Close frame (RFC 6455 section 7.4, IANA registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def close_payload(code: int, reason: str | None) -> bytes:
    """Return the body of a Close frame.

    Args:
        code: must be one that may be sent.
        reason: cut at 123 bytes, on a character boundary.

    Raises:
        ValueError: for a code that may not stand in a Close frame.
    """
    if not is_sendable(code):
        raise ValueError(
            f"close code {code} may not be sent; use 1000-1003, 1007-1014 or 3000-4999"
        )
    text = (reason or "").encode("utf-8", "replace")
    if len(text) > MAX_REASON_BYTES:
        text = text[:MAX_REASON_BYTES].decode("utf-8", "ignore").encode()
    return code.to_bytes(2, "big") + text
