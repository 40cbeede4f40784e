"""Listening sockets: made here, or inherited; and what is to be undone when they are closed."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import sys
from collections.abc import Callable
from dataclasses import replace

from wsgroups.policy import ServerConfig
from wsgroups.server.inherited import inherited_sockets

logger = logging.getLogger("wsgroups")

# A host name may stand for an address that this machine has not, ::1 without IPv6 for example.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Listening:
    """Bound, listening, non-blocking sockets.

    Attributes:
        sockets: at least one.
    """

    def __init__(self, sockets: list[socket.socket], file: _SocketFile | None = None) -> None:
        self.sockets = sockets
        self._file = file

    def close(self) -> None:
        """Close the sockets, and remove the file of a Unix socket that was made here."""
        if self._file is not None:
            self._file.remove()  # first: while it is open, no other file can have its number
        for sock in self.sockets:
            sock.close()


def open_sockets(config: ServerConfig) -> Listening:
    """Return the sockets that a configuration asks for.

    A host name may stand for several addresses; with port 0 all get the same free port.

    Raises:
        OSError: with the address in its message.
        ValueError: when `uds_owner` names nobody.
    """
    if config.fd:
        return Listening(inherited_sockets(config.fd))
    if config.uds is not None:
        if not hasattr(socket, "AF_UNIX"):
            raise OSError("this system has no Unix sockets for Python: use host and port")
        owner = _owner(config.uds_owner)
        return open_unix_socket(config.uds, config.uds_mode, owner, config.backlog)
    return Listening(_tcp_sockets(config))


def open_for_workers(config: ServerConfig) -> list[Listening]:
    """Return the listening sockets for each of `workers`: of its own for a port, else shared.

    Raises:
        OSError: when the address cannot be had.
        ValueError: when `uds_owner` names nobody.
    """
    if config.uds is not None or config.fd:
        return [open_sockets(config)] * config.workers
    if config.port and not config.reuse_port:
        # With SO_REUSEPORT another service of the same user would not be noticed. Nobody who
        # connects finds these: they are bound, and do not listen.
        Listening(_tcp_sockets(config, listens=False)).close()
    opened: list[Listening] = []
    shared = replace(config, reuse_port=True)
    try:
        for _ in range(config.workers):
            opened.append(open_sockets(shared))
            shared = replace(shared, port=describe(opened[0].sockets[0])[1])
    except BaseException:
        for listening in opened:
            listening.close()
        raise
    return opened


def describe(sock: socket.socket) -> tuple[str, int]:
    """Return host and port of a socket; the path and 0 of a Unix socket, `@name` without a file."""
    address = sock.getsockname()
    if not is_tcp(sock):
        path = os.fsdecode(address)
        return ("@" + path[1:] if path.startswith("\0") else path), 0
    host, port, *rest = address
    if rest and rest[1]:  # a link-local address means something on one interface only
        host = f"{host}%{socket.if_indextoname(rest[1])}"
    return host, port


def is_tcp(sock: socket.socket) -> bool:
    """Whether a socket is not a Unix one."""
    return sock.family in (socket.AF_INET, socket.AF_INET6)


# --- TCP ------------------------------------------------------------------------------------


def _tcp_sockets(config: ServerConfig, *, listens: bool = True) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(
            config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise OSError(f"host {config.host!r} cannot be resolved: {error.strerror}") from None
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    port = config.port
    try:
        for family, *_, address in dict.fromkeys(found):
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            try:
                address = (address[0], port, *address[2:])
                sockets.append(_tcp_socket(family, address, config, listens))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
                continue
            port = sockets[0].getsockname()[1]
        if not sockets:
            raise missing or OSError(f"host {config.host!r} has no IP address")
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _tcp_socket(
    family: socket.AddressFamily, address: tuple[object, ...], config: ServerConfig, listens: bool
) -> socket.socket:
    sock = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if config.reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # 0.0.0.0 is a socket of its own, so that an IPv4 peer is never seen as ::ffff:1.2.3.4.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        if listens:
            sock.listen(config.backlog)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        hint = "; another program listens there" if error.errno == errno.EADDRINUSE else ""
        raise OSError(
            error.errno, f"cannot listen on {address[0]} port {address[1]}: {error.strerror}{hint}"
        ) from None
    return sock


# --- Unix sockets ---------------------------------------------------------------------------


class _SocketFile:
    """The file of a Unix socket that was just bound.

    Args:
        path: where it is.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)  # the working directory may change
        found = os.lstat(path)
        self._number = found.st_dev, found.st_ino

    def grant(self, mode: int | None, user: int, group: int) -> None:
        """Set its permissions and owner; -1 leaves user or group as they are.

        By a descriptor of the file: whoever may write to the directory could put a link to another
        file in its place.
        """
        if mode is None and (user, group) == (-1, -1):
            return
        if sys.platform != "linux":  # no O_PATH
            os.chown(self._path, user, group, follow_symlinks=False)
            if mode is not None:
                os.chmod(self._path, mode, follow_symlinks=False)
            return
        fd = os.open(self._path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != self._number:
                raise OSError(errno.EEXIST, "another file has taken its place")
            os.chown(f"/proc/self/fd/{fd}", user, group)
            if mode is not None:
                os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Remove it, unless another server has put its own there meanwhile."""
        try:
            found = os.lstat(self._path)
            if (found.st_dev, found.st_ino) == self._number:
                os.unlink(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:  # no reason to let the clients wait
            logger.warning("the Unix socket could not be removed: %s", error)


def open_unix_socket(
    path: str,
    mode: int | None = None,
    owner: tuple[int, int] = (-1, -1),
    backlog: int = socket.SOMAXCONN,
) -> Listening:
    """Return a Unix socket at a path. A file that a killed server has left there is replaced.

    Args:
        path: where it is to be.
        mode: its permissions; None: by the umask.
        owner: user and group; -1 leaves one as it is.
        backlog: connections that the kernel keeps waiting.

    Raises:
        OSError: with the path in its message.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISSOCK(os.stat(path).st_mode) and not _answers(path):
            os.unlink(path)  # left behind by a server that was killed
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    file: _SocketFile | None = None
    try:
        sock.bind(path)
        file = _SocketFile(path)
        file.grant(mode, *owner)
        sock.listen(backlog)  # until here every connect is refused, whatever the mode
        sock.setblocking(False)
    except OSError as error:
        Listening([sock], file).close()
        raise OSError(error.errno, f"cannot listen on {path}: {_explained(error, path)}") from None
    return Listening([sock], file)


def _explained(error: OSError, path: str) -> str:
    """What went wrong, with a hint where the kernel's words leave one at a loss."""
    if error.filename is not None and error.errno == errno.EPERM:
        return "only root may give the socket to another user or a group it is not in itself"
    if error.errno == errno.EADDRINUSE:
        kind = _kind_of_file(path)
        if kind is not None:
            return f"it is {kind}, not a socket; choose another path"
        return f"{error.strerror}; another program listens there"
    if error.errno == errno.ENOENT:
        return f"{error.strerror}; make the directory first"
    return error.strerror or str(error)


def _kind_of_file(path: str) -> str | None:
    """What there is at a path; None for a socket, and for nothing any more."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "a link to nothing" if os.path.islink(path) else None
    except OSError:
        return None
    if stat.S_ISSOCK(mode):
        return None
    return "a directory" if stat.S_ISDIR(mode) else "a file"


def _answers(path: str) -> bool:
    """True unless nobody can ever have listened there since the last one who did was killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # where the queue is full, connect() would wait
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def _owner(owner: str | None) -> tuple[int, int]:
    """The numbers of user and group that `uds_owner` names; -1 for one that it does not."""
    if owner is None:
        return -1, -1
    import grp  # not on Windows
    import pwd

    user, _, group = owner.partition(":")
    return (
        _number(user, "user", lambda name: pwd.getpwnam(name).pw_uid),
        _number(group, "group", lambda name: grp.getgrnam(name).gr_gid),
    )


def _number(name: str, kind: str, look_up: Callable[[str], int]) -> int:
    if not name:
        return -1
    try:
        return look_up(name)
    except KeyError:
        if name.isdecimal():
            return int(name)
        raise ValueError(f"uds_owner: there is no {kind} {name!r} on this machine") from None
