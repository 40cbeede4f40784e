"""The application object: routes, groups, and how to run them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar

from wsgroups.cluster.bus import Bus, Receiver
from wsgroups.cluster.channels import group_channel, room_channel
from wsgroups.connection.forwarding import Proxies
from wsgroups.errors import UnknownGroupError
from wsgroups.policy import GroupPolicy
from wsgroups.server.running import run
from wsgroups.surface.elsewhere import Elsewhere
from wsgroups.surface.endpoint import Endpoint
from wsgroups.surface.group import Group
from wsgroups.surface.handlers import Kind, listener_handler
from wsgroups.surface.rooms import Rooms
from wsgroups.surface.roster import Roster
from wsgroups.surface.routing import Router
from wsgroups.surface.runner import begin
from wsgroups.surface.telling import Telling
from wsgroups.surface.websocket import Room, set_elsewhere

logger = logging.getLogger("wsgroups")

_CANCELLED_END = 1.0  # seconds that a handler may take to end when it is cancelled
_HURRIED_END = 0.2

Function = TypeVar("Function", bound=Callable[..., Any])


class Handle:
    """An application: HTTP routes that upgrade, and the handlers of the groups they upgrade into.

    Register in one thread, before or while it serves.

    Args:
        strict_groups: an upgrade into a group without handlers and options raises
            UnknownGroupError instead of making a push-only socket.
        origins: origins that may connect beside the server's own, or `"*"` for all.
        policy: GroupPolicy options that groups begin with.
    """

    def __init__(
        self,
        *,
        strict_groups: bool = False,
        origins: Collection[str] | str | None = None,
        **policy: Any,
    ) -> None:
        self.origins = GroupPolicy().changed({"origins": origins}).origins
        self.router = Router()
        self._strict = strict_groups
        self._policy = GroupPolicy().changed(policy)
        self.groups: dict[tuple[int | None, str], Group] = {}
        self._rooms = Rooms()
        self._warned: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_shared = False  # with other workers
        self.roster = Roster(self._rooms, self.spawn)
        self.telling = Telling(self.spawn)

    # --- routes -----------------------------------------------------------------------------

    def get(self, path: str, *, port: int | None = None) -> Callable[[Function], Function]:
        """Register a function for GET requests; only these can be upgraded.

        Args:
            path: `{name}` and `{name:int}` stand for parameters, passed by name.
            port: only on this listening port.

        Raises:
            DuplicateHandlerError: when method and path are taken.
            HandlerSignatureError: when the function does not take the request and the parameters.
        """
        return self._route("GET", path, port)

    def post(self, path: str, *, port: int | None = None) -> Callable[[Function], Function]:
        """Register a function for POST requests; as `get`."""
        return self._route("POST", path, port)

    def put(self, path: str, *, port: int | None = None) -> Callable[[Function], Function]:
        """Register a function for PUT requests; as `get`."""
        return self._route("PUT", path, port)

    def patch(self, path: str, *, port: int | None = None) -> Callable[[Function], Function]:
        """Register a function for PATCH requests; as `get`."""
        return self._route("PATCH", path, port)

    def delete(self, path: str, *, port: int | None = None) -> Callable[[Function], Function]:
        """Register a function for DELETE requests; as `get`."""
        return self._route("DELETE", path, port)

    def _route(self, method: str, path: str, port: int | None) -> Callable[[Function], Function]:
        def register(function: Function) -> Function:
            self.router.add(method, path, function, port)
            return function

        return register

    # --- groups -----------------------------------------------------------------------------

    def group(self, name: str, *, port: int | None = None, **policy: Any) -> Group:
        """Return the group of that name, made if need be, with the given options changed.

        Args:
            name: any string.
            port: the group is for upgrades on this listening port, where it stands before the
                one of the same name without a port.
            policy: GroupPolicy options, in force at once, for live sockets as well.

        Raises:
            TypeError: when the name is no string, or for an option that does not exist.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a group is a str, not {type(name).__name__}")
        group = self.groups.get((port, name))
        if group is None:
            label = group_channel(name, port)
            group = Group(name, self._policy, self._rooms, self._tasks, label, self.roster.arrange)
            if self._is_shared:
                group.members.channel = label
            self.groups[port, name] = group
        if policy:
            group.change(**policy)
        return group

    def room(self, name: str) -> Room:
        """Return the room of that name, with the verbs of a group, whether or not anyone is in it.

        Rooms are shared by all groups of the Handle. From any thread.
        """
        return self._rooms.room(name)

    def websocket(
        self, group: str, *, kind: Kind | None = None, port: int | None = None
    ) -> Callable[[Function], Function]:
        """Register a function `(message, ws)` for the messages of a group.

        The first parameter's annotation says which: `str` text, `bytes` binary, `str | bytes` or
        none both; `dict`, `list`, a dataclass, a TypedDict or a msgspec or pydantic model JSON
        text, decoded and checked (1007 when it does not fit). `kind` says otherwise which frames
        are taken: `"text"`, `"binary"`, `"both"`; what is annotated as one of those JSON types is
        decoded from them all the same. `"json"` decodes text whatever the annotation. With `port`,
        only for upgrades on that listening port.

        Raises:
            DuplicateHandlerError: when that kind of message has a handler.
            HandlerSignatureError: when the function cannot be called so.
        """

        def register(function: Function) -> Function:
            self.group(group, port=port).add_message_handler(function, kind)
            return function

        return register

    def websocket_connect(
        self, group: str, *, port: int | None = None
    ) -> Callable[[Function], Function]:
        """Register a function `(ws)`, called when a socket of the group is open."""

        def register(function: Function) -> Function:
            self.group(group, port=port).add_connect_handler(function)
            return function

        return register

    def websocket_disconnect(
        self, group: str, *, port: int | None = None, orphans: bool | None = None
    ) -> Callable[[Function], Function]:
        """Register a function `(ws)`, called once for each upgrade when its socket has closed.

        `orphans` sets that option of the group: also for the sockets of a worker that is killed.
        """

        def register(function: Function) -> Function:
            found = self.group(group, port=port)
            found.add_disconnect_handler(function)
            if orphans is not None:
                found.change(orphans=orphans)
            return function

        return register

    def websocket_error(
        self, group: str, *, port: int | None = None
    ) -> Callable[[Function], Function]:
        """Register a function `(error, ws)`, called when a handler of the group raised.

        The socket may stand first when it is annotated `WebSocket` or named `ws`.
        """

        def register(function: Function) -> Function:
            self.group(group, port=port).add_error_handler(function)
            return function

        return register

    def presence(
        self, group: str | None = None, *, room: str | None = None
    ) -> Callable[[Function], Function]:
        """Register a function `(event)`, called when somebody comes to a set or leaves it.

        It is given a PresenceEvent, for each socket that joins or leaves in whichever worker, from
        the time on that this process runs, in the order of each socket. An `async def` function is
        awaited before it is called with the next event. The members of a worker that is killed
        leave as well.

        Args:
            group: the name of a group.
            room: instead of it the name of a room, or with `*` at its end all rooms whose names
                begin so; `"*"` for all.

        Raises:
            DuplicateHandlerError: when the same group or room has a function.
            HandlerSignatureError: when the function cannot be called so.
            TypeError: when neither or both are given.
        """
        if (group is None) == (room is None):
            raise TypeError('presence takes the name of a group, or room="name"')

        def register(function: Function) -> Function:
            self.roster.listen(listener_handler(function, "(event)"), group, room)
            return function

        return register

    def worker_message(self, topic: str) -> Callable[[Function], Function]:
        """Register a function `(value)`, called with what other workers tell on a topic.

        In the order in which each worker told it. An `async def` function is awaited before it is
        called with the next one.

        Raises:
            DuplicateHandlerError: when the topic has a function.
            HandlerSignatureError: when the function cannot be called so.
        """

        def register(function: Function) -> Function:
            self.telling.listen(topic, listener_handler(function, "(value)"))
            return function

        return register

    def messages_lost(self) -> Callable[[Function], Function]:
        """Register a function `(count)`, called when messages from or to other workers are lost.

        0 says that the way to other nodes is cut; how many that has cost is told when it is known.
        An `async def` function is awaited before it is called with the next count.

        Raises:
            DuplicateHandlerError: when there is one.
            HandlerSignatureError: when the function cannot be called so.
        """

        def register(function: Function) -> Function:
            self.telling.listen_for_losses(listener_handler(function, "(count)"))
            return function

        return register

    def tell_workers(self, topic: str, value: Any) -> None:
        """Tell all other workers, of this machine and of others, something they are to know.

        It arrives once or not at all, in order. In a process that serves alone nothing happens.
        From any thread.

        Args:
            topic: any string; workers with a function for it are told.
            value: what JSON can hold.

        Raises:
            TypeError: for anything else.
        """
        self.telling.tell(topic, value)

    # --- for endpoints ----------------------------------------------------------------------

    def endpoint(self, scheme: str, port: int | None, proxies: Proxies | None = None) -> Endpoint:
        """Return what answers the requests that come to one port."""
        return Endpoint(self, scheme, port, proxies)

    def group_of_instances(self, name: str, port: int | None) -> Group:
        """Return the group to upgrade into for sockets that have a WebSocketHandler each.

        Raises:
            DuplicateHandlerError: when functions are registered for it.
        """
        group = self.groups.get((port, name))
        if group is None:  # which an empty group is not, though it is false
            group = self.group(name)
        group.serve_instances()
        return group

    def group_without_handlers(self, name: str) -> Group:
        """Return a group to upgrade into that nothing is known of.

        Raises:
            UnknownGroupError: with strict groups.
        """
        known = [g.name for g in self.groups.values() if g.is_known]
        if self._strict:
            raise UnknownGroupError(name, known)
        if name not in self._warned and len(self._warned) < 1000:
            self._warned.add(name)
            logger.warning(
                "%s; what its sockets send is thrown away; register a handler for it, of any kind",
                UnknownGroupError(name, known),
            )
        return self.group(name)

    def all_origins(self) -> Collection[str] | None:
        """Return every origin that some group allows, for the check before any handler."""
        allowed = set(self.origins or ())
        for group in self.groups.values():
            allowed.update(group.policy.origins or ())
        return allowed

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run an asynchronous handler as a task that the server waits for when it stops."""
        task = begin(coroutine)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settle(self, timeout: float, hurry: asyncio.Event) -> None:
        """Wait for the handlers that still run in this loop; cancel what takes longer.

        Args:
            timeout: seconds.
            hurry: when it is set, they are cancelled at once.
        """
        loop = asyncio.get_running_loop()
        self.roster.settle()
        tasks = {t for t in self._tasks if t.get_loop() is loop and t is not asyncio.current_task()}
        if not tasks:
            return
        done = asyncio.ensure_future(asyncio.wait(tasks))
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({done, hurried}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (done, hurried):
            waiting.cancel()
        late = {task for task in tasks if not task.done()}
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_HURRIED_END if hurry.is_set() else _CANCELLED_END)

    # --- other workers ----------------------------------------------------------------------

    def join_bus(self, bus: Bus) -> Receiver:
        """Share groups, rooms and ids with the other workers on a bus; returns what it is to call.

        For whoever runs the worker, in its loop, before it serves; one Handle of a process.
        """
        self._is_shared = True
        self._rooms.share(room_channel)
        for (port, name), group in self.groups.items():
            group.members.channel = group_channel(name, port)
        self.roster.join(bus)
        self.telling.join(bus)
        way = Elsewhere(bus, self)
        set_elsewhere(way)
        return way

    def leave_bus(self) -> None:
        """Share nothing any more."""
        self.roster.leave()
        self.telling.leave()
        set_elsewhere(None)
        self._is_shared = False
        self._rooms.share(None)
        for group in self.groups.values():
            group.members.channel = None

    def find_room(self, name: str) -> Room | None:
        """Return the room of that name if there is one; `room` makes it."""
        return self._rooms.find(name)

    def list_rooms(self, count: int) -> tuple[list[Room], int]:
        """Return so many rooms at most, and how many there are beside them."""
        return self._rooms.some(count)

    # --- running ----------------------------------------------------------------------------

    def run(self, **config: Any) -> None:
        """Serve until SIGINT or SIGTERM, on uvloop where it is installed. Blocks.

        Args:
            config: ServerConfig options: `host`, `port`, `uds`, ...
        """
        run(self, **config)
