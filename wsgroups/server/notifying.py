"""What a service manager is told, when it has asked for it (sd_notify(3))."""

from __future__ import annotations

import logging
import os
import socket

logger = logging.getLogger("wsgroups")


def notify(state: str) -> None:
    """Send `READY=1`, `STOPPING=1` and the like to where `NOTIFY_SOCKET` says; else do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # a name without a file
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), address)
    except OSError as error:  # no reason not to serve
        logger.warning("the service manager could not be told %s: %s", state, error)
