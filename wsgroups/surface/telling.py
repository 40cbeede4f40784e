"""What an application's workers tell one another: JSON, by topic."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import orjson

from wsgroups.cluster.bus import Bus
from wsgroups.cluster.channels import topic_channel, topic_of
from wsgroups.errors import DuplicateHandlerError
from wsgroups.surface.listener import Listener, Spawn
from wsgroups.surface.websocket import json_of

logger = logging.getLogger("wsgroups")


class Telling:
    """The functions that hear what other workers tell. Register in one thread.

    Args:
        spawn: runs a coroutine as a task.
    """

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._listeners: dict[str, Listener[Any]] = {}
        self._losses: Listener[int] | None = None
        self._bus: Bus | None = None

    def listen(self, topic: str, function: Callable[[Any], Any]) -> None:
        """Register a function for a topic.

        Raises:
            DuplicateHandlerError: when it has one.
        """
        if topic in self._listeners:
            raise DuplicateHandlerError(f"topic {topic!r} has a function already; each has one")
        self._listeners[topic] = Listener("worker message handler", function, self._spawn)
        if self._bus is not None:
            self._bus.subscribe(topic_channel(topic))

    def listen_for_losses(self, function: Callable[[int], Any]) -> None:
        """Register the function that is told how many messages are lost.

        Raises:
            DuplicateHandlerError: when there is one.
        """
        if self._losses is not None:
            raise DuplicateHandlerError("messages_lost has a function already; it has one")
        self._losses = Listener("handler of lost messages", function, self._spawn)

    def join(self, bus: Bus) -> None:
        """Tell on a bus that is about to be started, and hear what is told there."""
        self._bus = bus
        for topic in self._listeners:
            bus.subscribe(topic_channel(topic))

    def leave(self) -> None:
        """Hear nothing any more."""
        self._bus = None

    def tell(self, topic: str, value: Any) -> None:
        """Tell the others; nobody, when there are none. From any thread."""
        data = json_of(value).encode()
        if self._bus is not None:
            self._bus.publish(topic_channel(topic), data)

    def lost(self, count: int) -> None:
        """So many messages from or to this worker are lost, whatever they were; as `Bus.gap`."""
        if self._losses is not None:
            self._losses.put(count)
            self._losses.start()

    def heard(self, channel: bytes, data: bytes) -> None:
        """Another worker has told something."""
        listener = self._listeners.get(topic_of(channel))
        if listener is not None:
            listener.put(orjson.loads(data))
            listener.start()
