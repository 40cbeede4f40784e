"""What waits to be sent, bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import RLock
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Outbox(Generic[Item]):
    """A queue of messages. When there are too many bytes of them, the oldest go. From any thread.

    Args:
        limit: bytes; one message may be larger than that by itself.
        size_of: says how many bytes one is.

    Attributes:
        size: bytes that wait.
        dropped: messages that had to go.
        added: messages that were put into it, of all time.
    """

    def __init__(self, limit: int, size_of: Callable[[Item], int]) -> None:
        self.size = 0
        self.dropped = 0
        self.added = 0
        self._limit = limit
        self._size_of = size_of
        self._items: deque[Item] = deque()
        self._lock = RLock()  # a `__del__` may run anywhere, and send

    def put(self, item: Item, *, makes_room: bool = True) -> bool:
        """Append a message; True when there was none, so that somebody has to be woken.

        Args:
            item: the message.
            makes_room: others have to go when there are too many bytes; without, only when there
                are twice as many.
        """
        with self._lock:
            items = self._items
            was_empty = not items
            items.append(item)
            self.added += 1
            self.size += self._size_of(item)
            limit = self._limit if makes_room else 2 * self._limit
            if self.size > limit:
                while self.size > limit and len(items) > 1:
                    self.size -= self._size_of(items.popleft())
                    self.dropped += 1
            return was_empty

    @property
    def gone(self) -> int:
        """How many messages have been taken or dropped."""
        with self._lock:
            return self.added - len(self._items)

    def take(self, size: int) -> list[Item]:
        """Remove and return the oldest messages, up to about so many bytes."""
        taken: list[Item] = []
        with self._lock:
            items = self._items
            while items and size > 0:
                item = items.popleft()
                item_size = self._size_of(item)
                size -= item_size
                self.size -= item_size
                taken.append(item)
        return taken
