"""The channels that a worker asks a broker for."""

from __future__ import annotations

from threading import RLock


class Interest:
    """What is asked for, and what is to be asked for or no more at the next write. Any thread.

    Attributes:
        channels: those that are asked for, by subject.
    """

    def __init__(self) -> None:
        self.channels: dict[bytes, bytes] = {}
        # Likewise those of which the opposite is wanted since the last write.
        self._changes: dict[bytes, bytes] = {}
        self._lock = RLock()  # a `__del__` may run anywhere, and leave a room

    def __len__(self) -> int:
        """How many changes wait."""
        return len(self._changes)

    def want(self, subject: bytes, channel: bytes, *, wanted: bool) -> None:
        """Ask for a channel, or no more; the latest word counts."""
        with self._lock:
            if wanted == (subject in self.channels):
                self._changes.pop(subject, None)  # rooms come and go while the broker is away
            else:
                self._changes[subject] = channel

    def apply(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """Take the changes; return what is new, and what is asked for no more, by subject."""
        added, removed = {}, {}
        with self._lock:
            for subject, channel in self._changes.items():
                if self.channels.pop(subject, None) is not None:
                    removed[subject] = channel
                else:
                    self.channels[subject] = added[subject] = channel
            self._changes.clear()
        return added, removed
