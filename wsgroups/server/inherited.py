"""Listening sockets that others have opened: by number, or from systemd (sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Collection

_FIRST = 3  # SD_LISTEN_FDS_START
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")

# What systemd has passed to this process and no server has taken yet: descriptors and their names.
_passed: dict[int, str] = {}


def inherited_sockets(wanted: Collection[int | str]) -> list[socket.socket]:
    """Return the sockets behind descriptors, non-blocking; whoever asked for them owns them now.

    Args:
        wanted: numbers; `"systemd"` for all that systemd has passed, `"systemd:NAME"` for those of
            that name (`FileDescriptorName=`).

    Raises:
        OSError: when one is no listening stream socket, or systemd has passed none. All descriptors
            are as they were then.
    """
    numbers = [number for each in wanted for number in _numbers(each)]
    sockets: list[socket.socket] = []
    try:
        for number in numbers:
            sockets.append(_listening(number))
    except OSError:
        for sock in sockets:
            sock.detach()
        raise
    for sock in sockets:
        _passed.pop(sock.fileno(), None)
        sock.set_inheritable(False)
        sock.setblocking(False)
    return sockets


def _numbers(wanted: int | str) -> list[int]:
    """The descriptors that one entry of the option `fd` stands for."""
    if isinstance(wanted, int):
        return [wanted]
    _take_from_systemd()
    _, colon, name = wanted.partition(":")
    found = [fd for fd, named in _passed.items() if not colon or named == name]
    if found:
        return found
    if _passed:
        names = ", ".join(sorted({repr(named) for named in _passed.values()}))
        raise OSError(f"systemd has passed no socket named {name!r}; it has passed {names}")
    raise OSError(
        "systemd has passed no socket to this process: start it by a .socket unit, without a "
        "shell or another program in between, or try it with systemd-socket-activate"
    )


def _take_from_systemd() -> None:
    """Note what the environment says, once: programs that we start must not believe it as well."""
    said = {name: os.environ.pop(name, "") for name in _VARIABLES}
    if said["LISTEN_PID"] != str(os.getpid()):  # nobody's, or meant for our parent
        return
    count = int(said["LISTEN_FDS"]) if said["LISTEN_FDS"].isdecimal() else 0
    names = said["LISTEN_FDNAMES"].split(":")
    for i in range(count):
        _passed[_FIRST + i] = names[i] if i < len(names) else "unknown"
        with contextlib.suppress(OSError):  # not open: told when somebody wants it
            os.set_inheritable(_FIRST + i, False)


def _listening(number: int) -> socket.socket:
    """The socket behind a descriptor; on an error the descriptor stays open."""
    why = _objection(number)
    if why is not None:
        raise OSError(f"cannot listen on descriptor {number}: {why}")
    return socket.socket(fileno=number)


def _objection(number: int) -> str | None:
    """Say why nobody can connect to a descriptor, and what to do about it."""
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            return "it is no socket"
    except (OSError, OverflowError):
        return "it is not open; was it passed on, and is the number right?"
    sock = socket.socket(fileno=number)
    try:
        if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            return "it is neither a TCP nor a Unix socket"
        if sock.type != socket.SOCK_STREAM:
            return "it is no stream socket; in a unit it is ListenStream="
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return "it does not listen; call listen() before passing it on, or set Accept=no"
        return None
    finally:
        sock.detach()
