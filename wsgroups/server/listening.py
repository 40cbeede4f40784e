"""Listening sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from wsgroups.policy import ServerConfig


def open_sockets(config: ServerConfig) -> list[socket.socket]:
    """Return the bound, listening, non-blocking sockets that a configuration asks for.

    A host name may stand for several addresses; with port 0 all get the same free port.

    Raises:
        OSError: with the address in its message.
    """
    if config.uds is not None:
        if not hasattr(socket, "AF_UNIX"):
            raise OSError("this system has no Unix sockets for Python: use host and port")
        return [_unix_socket(config.uds, config.backlog)]
    try:
        found = socket.getaddrinfo(
            config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise OSError(f"host {config.host!r} cannot be resolved: {error.strerror}") from None
    sockets: list[socket.socket] = []
    port = config.port
    try:
        for family, *_, address in dict.fromkeys(found):
            if family in (socket.AF_INET, socket.AF_INET6):
                sockets.append(_tcp_socket(family, (str(address[0]), port), config.backlog))
                port = sockets[0].getsockname()[1]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _tcp_socket(
    family: socket.AddressFamily, address: tuple[str, int], backlog: int
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        hint = "; another program listens there" if error.errno == errno.EADDRINUSE else ""
        raise OSError(
            error.errno, f"cannot listen on {address[0]} port {address[1]}: {error.strerror}{hint}"
        ) from None
    return sock


def _unix_socket(path: str, backlog: int) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode) and not _answers(path):
            os.unlink(path)  # left behind by a server that was killed
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror}") from None
    return sock


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
