"""What waits to be sent, bounded."""

from __future__ import annotations

from collections import deque
from threading import RLock


class Outbox:
    """A queue of frames. When there are too many bytes of them, the oldest go. From any thread.

    Args:
        limit: bytes; one frame may be larger than that by itself.

    Attributes:
        size: bytes that wait.
        dropped: frames that had to go.
    """

    def __init__(self, limit: int) -> None:
        self.size = 0
        self.dropped = 0
        self._limit = limit
        self._frames: deque[bytes] = deque()
        self._lock = RLock()  # a `__del__` may run anywhere, and send

    def put(self, frame: bytes) -> bool:
        """Append a frame; True when there was none, so that somebody has to be woken."""
        with self._lock:
            frames = self._frames
            was_empty = not frames
            frames.append(frame)
            self.size += len(frame)
            if self.size > self._limit:
                while self.size > self._limit and len(frames) > 1:
                    self.size -= len(frames.popleft())
                    self.dropped += 1
            return was_empty

    def take(self, size: int) -> list[bytes]:
        """Remove and return the oldest frames, up to about so many bytes."""
        taken: list[bytes] = []
        with self._lock:
            frames = self._frames
            while frames and size > 0:
                frame = frames.popleft()
                size -= len(frame)
                self.size -= len(frame)
                taken.append(frame)
        return taken
