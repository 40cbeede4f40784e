"""Worker numbers, leased: locks that the kernel takes back when a process ends, however it ends."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from wsgroups.ids import WORKER_BITS

NUMBERS = 1 << WORKER_BITS


class Lease:
    """A number that no other process has while this object is open.

    Attributes:
        number: from 0 on.
    """

    def __init__(self, number: int, fd: int) -> None:
        self.number = number
        self._fd = fd

    def close(self) -> None:
        """Give the number back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def lease_number(directory: str) -> Lease:
    """Take the lowest number that is free among those who use the same directory.

    Raises:
        OSError: when none is free, or the directory cannot be written to.
    """
    import fcntl  # not on Windows, where there are no workers

    for number in range(NUMBERS):
        # Never removed: a file that another has just opened would be locked by nobody else.
        path = os.path.join(directory, f"worker-{number:02}.lock")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        except OSError:
            os.close(fd)
            raise
        return Lease(number, fd)
    raise OSError(f"all {NUMBERS} worker numbers are taken; wait until old workers have drained")


def private_directory() -> str:
    """Make a new directory that nobody but the user can enter, and return its path.

    It is below `XDG_RUNTIME_DIR` where that is set, otherwise below the temporary directory.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base is not None and not os.access(base, os.W_OK | os.X_OK):
        base = None
    return tempfile.mkdtemp(prefix="wsgroups-", dir=base)  # with mode 0700


def remove_directory(path: str) -> None:
    """Remove what `private_directory` made, as far as it is still there."""
    try:
        for entry in Path(path).iterdir():
            entry.unlink(missing_ok=True)
        os.rmdir(path)
    except OSError:  # somebody else is at it as well
        pass
