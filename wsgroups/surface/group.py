"""A group: a kind of socket, with its name, its handlers and its policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, SupportsIndex

from wsgroups.connection.connection import Connection, GroupCore, Handler
from wsgroups.errors import DuplicateHandlerError
from wsgroups.policy import GroupPolicy
from wsgroups.surface import instances, runner
from wsgroups.surface.handlers import Kind, error_handler, event_handler, message_handler
from wsgroups.surface.rooms import Rooms
from wsgroups.surface.websocket import SocketSet, open_socket


class Group(SocketSet):
    """All sockets upgraded into one group name, and what is to happen with them.

    Made by a Handle. The verbs of a set may be called from any thread.

    Attributes:
        name: the string given to `send_upgrade`.
        policy: the limits and rules in force.
        is_registered: True when the group has a handler of any kind.
        is_known: True when it has one, or options of its own: to upgrade into it is no mistake.
        rooms: the rooms that its sockets can join; `Handle.room` gives one.
        core: what the connections share; not for applications.
        label: what workers call it; not for applications.
        disconnect: the disconnect handler as it was registered; not for applications.
    """

    def __init__(
        self,
        name: str,
        policy: GroupPolicy,
        rooms: Rooms,
        tasks: set[asyncio.Task[None]],
        label: bytes,
        on_change: Callable[[Group], None],
    ) -> None:
        self.name = name
        self.label = label
        self.disconnect: Handler | None = None
        self._on_change = on_change
        self.rooms = rooms
        self.core = GroupCore(name)
        super().__init__(members=self.core.members)
        self.core.owner = self
        self.core.runner = self._runner
        self.core.attempt = runner.attempt if runner.BEGINS_AT_ONCE else None
        self.core.open_socket = open_socket
        self.is_registered = False
        self.is_known = False
        self._has_instances = False
        self._tasks = tasks
        self._set_policy(policy)
        on_change(self)

    def __repr__(self) -> str:
        return f"<Group {self.name!r} of {len(self)} sockets>"

    def __setattr__(self, name: str, value: Any) -> None:
        """Options are changed all at once, so that they are checked.

        Raises:
            AttributeError: for an option.
        """
        if name in GroupPolicy.__dataclass_fields__:
            raise AttributeError(
                f"write handle.group({self.name!r}, {name}={value!r}); it also changes the sockets "
                "that are open"
            )
        super().__setattr__(name, value)

    def add(self, socket: SupportsIndex) -> bool:
        """Refused: `send_upgrade` decides which group a socket is in, once.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "a socket's group is the one it was upgraded into; collect sockets in a SocketSet"
        )

    def discard(self, socket: SupportsIndex) -> None:
        """Refused: a socket leaves its group when it closes.

        Raises:
            TypeError: always.
        """
        raise TypeError("a socket leaves its group when it closes; disconnect() closes it")

    @property
    def dropped(self) -> int:
        """Messages that `slow_consumer` has dropped, since the group was made."""
        return self.core.dropped

    @property
    def conflated(self) -> int:
        """Messages that a later one with the same key has replaced."""
        return self.core.conflated

    @property
    def cut_off(self) -> int:
        """Sockets that were closed with 1013 because their peers read too slowly."""
        return self.core.cut_off

    def change(self, **policy: Any) -> None:
        """Change the policy, of live sockets as well; in the loop's thread.

        Raises:
            TypeError: for an option that does not exist.
            ValueError: for a value that cannot work.
        """
        self._set_policy(self.policy.changed(policy))
        self.is_known = True
        self._on_change(self)

    def _set_policy(self, policy: GroupPolicy) -> None:
        self.policy = policy
        self.core.configure(
            max_message_size=policy.max_message_size,
            max_fragments=policy.max_fragments,
            write_high_water=policy.write_high_water,
            write_limit=policy.write_limit,
            slow_consumer=policy.slow_consumer,
            ping_interval=policy.ping_interval,
            ping_timeout=policy.ping_timeout,
            close_timeout=policy.close_timeout,
            message_timeout=policy.message_timeout,
            max_messages_per_second=policy.max_messages_per_second or 0,
            max_bytes_per_second=policy.max_bytes_per_second or 0,
            rate_burst=policy.rate_burst,
        )

    def _runner(self, connection: Connection) -> runner.Runner:
        policy = self.policy
        return runner.Runner(
            connection,
            policy.max_queued_events,
            policy.handler_grace,
            policy.cancel_on_disconnect,
            self._tasks,
        )

    # --- registration -----------------------------------------------------------------------

    def add_message_handler(self, function: Callable[..., Any], kind: Kind | None) -> None:
        """Register a function for text, binary or both kinds of messages."""
        handler, frames = message_handler(function, kind)
        for frame in frames:
            self._take(f"{frame} messages", getattr(self.core, frame))
        for frame in frames:
            setattr(self.core, frame, handler)

    def add_connect_handler(self, function: Callable[..., Any]) -> None:
        """Register a function that is called once a socket is open."""
        self._take("connect", self.core.connect)
        self.core.connect = event_handler(function)

    def add_disconnect_handler(self, function: Callable[..., Any]) -> None:
        """Register a function that is called once when a socket has closed."""
        self._take("disconnect", self.disconnect)
        self.disconnect = event_handler(function)
        self._on_change(self)  # which gives it to the connections

    def add_error_handler(self, function: Callable[..., Any]) -> None:
        """Register a function that is called with what a handler raised."""
        self._take("error", self.core.error)
        self.core.error = error_handler(function)

    def serve_instances(self) -> None:
        """Have the WebSocketHandler of each socket called.

        Raises:
            DuplicateHandlerError: when functions are registered for the group.
        """
        if self._has_instances:
            return
        if self.is_registered:
            raise DuplicateHandlerError(
                f"group {self.name!r} has functions for handlers; "
                "sockets with a WebSocketHandler need a group of their own"
            )
        self.add_connect_handler(instances.opened)
        self.add_message_handler(instances.got_text, "text")
        self.add_message_handler(instances.got_binary, "binary")
        self.add_disconnect_handler(instances.closed)
        self.add_error_handler(instances.failed)
        self._has_instances = True

    def _take(self, event: str, taken: object) -> None:
        """Refuse a second handler for an event."""
        if taken is not None:
            raise DuplicateHandlerError(
                f"group {self.name!r} has a handler for {event} already; each event has one"
            )
        self.is_registered = self.is_known = True
