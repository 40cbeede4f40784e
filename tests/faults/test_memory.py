"""Memory that is not there: an allocation that fails, a process that may have no more."""

import asyncio
import contextlib
import logging
import resource
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.service import Clients, Peer, Service
from tests.faults.shim import Control, Shim
from tests.support import BINARY, PING, TEXT, Gate, frame, turns, until, wire
from wsgroups import Handle, WebSocket, serve
from wsgroups.connection.connection import Connection

Action = Callable[[Clients, Peer], None]
GC_HEAD = 16  # bytes before an object that the collector knows
MOST = 400  # allocations of one action, at the most


def echoes(size: int) -> Action:
    """A message of that size comes back."""

    def act(clients: Clients, peer: Peer) -> None:
        peer.send("x" * size)

    return act


def fragments(clients: Clients, peer: Peer) -> None:
    """A message in parts, each of which makes its buffer grow."""
    peer.send_bytes(frame(TEXT, b"x" * 3000, final=False))
    for _ in range(8):
        peer.send_bytes(frame(0, b"x" * 9000, final=False))
    peer.send_bytes(frame(0, b"x"))


def to_all(clients: Clients, peer: Peer) -> None:
    """A message to everybody of the group."""
    peer.send("all")


def pings(clients: Clients, peer: Peer) -> None:
    """A ping, and a message behind it that is answered."""
    peer.send_bytes(frame(PING, b"?" * 100) + frame(BINARY, b"x" * 600))


def bad(clients: Clients, peer: Peer) -> None:
    """What closes with 1002."""
    peer.send_bytes(b"\x83\x80\0\0\0\0")


def asks(clients: Clients, peer: Peer) -> None:
    """Another handshake: the one that fails is the newcomer's."""
    newcomer = clients.begin()
    clients.until(lambda: newcomer.status or newcomer.ended, patience=3)
    clients.leave(newcomer)
    peer.send("done")


ACTIONS = {
    "echo": echoes(5),
    "echo-600": echoes(600),
    "echo-100k": echoes(100_000),
    "fragments": fragments,
    "to-all": to_all,
    "ping": pings,
    "bad": bad,
    "handshake": asks,
}


def fail_each(control: Control, clients: Clients, action: Action) -> int:
    """Do an action with its first allocation failing, then its second, until all have.

    Whatever fails: one connection is lost at the most, and all others are served.

    Returns:
        How many those were.
    """
    victim = clients.open()
    clients.ask(victim)
    for nth in range(1, MOST):
        failed, wanted = control.failed, victim.count + 1
        living = [peer for peer in clients.peers if peer.is_open]
        control.countdown = nth
        action(clients, victim)
        clients.until(partial(is_over, victim, wanted), patience=5)
        control.countdown = 0
        clients.ask_each([peer for peer in living if peer is not victim])
        dead = [peer for peer in living if not peer.is_open]
        clients.until(partial(all_ended, dead))
        if control.failed == failed:
            clients.leave(victim)
            return nth - 1
        assert len(dead) <= 1 + (action is bad)
        if dead:
            victim = clients.open()
    raise AssertionError("there is no end of it")


def is_over(peer: Peer, wanted: int) -> bool:
    return peer.count >= wanted or not peer.is_open


def all_ended(peers: list[Peer]) -> bool:
    return all(peer.ended for peer in peers)


@contextlib.contextmanager
def failing(
    folder: Path, *, loop: str = "uvloop", ours_only: bool = False, objects: bool = False
) -> Iterator[tuple[Control, Service, Clients]]:
    """A service whose allocations can fail; with `objects` those of small objects as well."""
    shim = Shim(folder)
    environment = {**shim.environment, **({"PYTHONMALLOC": "malloc"} if objects else {})}
    with (
        shim.control() as control,
        Service({"loop": loop}, environment=environment, is_checked=False) as service,
        Clients(service.port) as clients,
    ):
        control.ours_only = ours_only
        clients.open_many(63)  # one more, and the driver needs a larger table
        yield control, service, clients
        assert service.is_running


def has_no_dead(service: Service, clients: Clients) -> bool:
    """True when the group has those who live, and nobody else."""
    living = sum(peer.is_open for peer in clients.peers)
    return bool(service.stats()["members"]["room"] == living)


def each_has_parted(service: Service, clients: Clients) -> bool:
    """True when the disconnect handler was called for each socket that is gone."""
    stats = service.stats()
    living = sum(peer.is_open for peer in clients.peers)
    return bool(stats["parted"].get("room", 0) == stats["entered"]["room"] - living)


_OF_THE_LOOP = pytest.mark.only_on_epoll(
    reason="with transports the loop itself allocates for each event, and may end"
)


@pytest.mark.parametrize("ours_only", [True, pytest.param(False, marks=_OF_THE_LOOP)])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_buffer_that_cannot_be_had_costs_one_connection_at_the_most(
    loop: str, ours_only: bool, tmp_path: Path
) -> None:
    """Those that wsgroups allocates itself; then those of all code, from 512 bytes on."""
    with failing(tmp_path, loop=loop, ours_only=ours_only) as (control, service, clients):
        points = {}
        for name, action in ACTIONS.items():
            if name == "handshake":  # an upgrade that fails may have its disconnect, or not begin
                clients.until(partial(each_has_parted, service, clients))
            points[name] = fail_each(control, clients, action)
        clients.until(partial(has_no_dead, service, clients))
        assert points["echo-100k"]
        assert points["fragments"]
        assert points["to-all"]


def test_an_object_that_cannot_be_had_costs_one_connection_at_the_most(tmp_path: Path) -> None:
    """Every allocation of everybody. With asyncio's own loop, the loop itself ends."""
    with failing(tmp_path, objects=True) as (control, service, clients):
        for name, action in ACTIONS.items():
            if name not in ("bad", "handshake"):
                assert fail_each(control, clients, action) >= 3
                clients.until(partial(has_no_dead, service, clients))
                clients.until(partial(each_has_parted, service, clients))


def test_a_newcomer_that_there_is_no_memory_for_is_let_go(tmp_path: Path) -> None:
    with failing(tmp_path, objects=True) as (control, _, clients):
        control.size = Connection.__basicsize__ + GC_HEAD
        control.countdown = 1
        newcomer = clients.begin()
        clients.until(lambda: control.failed, patience=60)
        clients.ask(clients.peers[0])
        clients.until(lambda: newcomer.ended, patience=1)


def test_a_newcomer_that_there_is_no_memory_for_holds_nobody_up(tmp_path: Path) -> None:
    with failing(tmp_path, objects=True) as (control, service, clients):
        canary = clients.peers[0]
        clients.ask(canary)
        with service.stopped():  # so that both are there when it looks
            control.size = Connection.__basicsize__ + GC_HEAD
            control.countdown = 1
            clients.begin()
            canary.send("hello")
        clients.until(lambda: control.failed, patience=60)
        clients.until(lambda: canary.count == 2, patience=2)


@pytest.mark.parametrize("is_so", [has_no_dead, each_has_parted])
def test_without_memory_a_socket_that_fails_still_leaves_its_group_and_is_told(
    is_so: Callable[[Service, Clients], bool], tmp_path: Path
) -> None:
    with failing(tmp_path, objects=True) as (control, service, clients):
        for _ in range(10):
            fail_each(control, clients, bad)
            clients.until(partial(is_so, service, clients), patience=1)


async def test_a_disconnect_handler_that_there_was_no_memory_to_start_is_started_later(
    error_log: list[logging.LogRecord],
) -> None:
    handle = Handle()
    Gate(handle)
    parted: list[WebSocket] = []
    refused: list[str] = []

    @handle.websocket_disconnect("room")
    async def part(ws: WebSocket) -> None:
        parted.append(ws)

    def no_memory_at_first(
        loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any
    ) -> asyncio.Task[Any]:
        if coroutine.__qualname__ == "Runner._run" and len(refused) < 2:
            refused.append(coroutine.__qualname__)
            raise MemoryError
        return asyncio.Task(coroutine, loop=loop, **more)

    loop = asyncio.get_running_loop()
    async with serve(handle, port=0) as server:
        loop.set_task_factory(no_memory_at_first)
        try:
            async with wire(server) as connection:
                await connection.upgrade()
            await until(lambda: parted)
        finally:
            loop.set_task_factory(None)
        await turns(10)
    assert len(parted) == 1
    # From Python 3.12 on the task is made by itself, and no factory is asked.
    assert len(refused) == len(error_log) == (2 if sys.version_info < (3, 12) else 0)


# --- a process that may have no more ---------------------------------------------------------


def test_a_process_that_may_have_no_more_memory_sheds_and_goes_on() -> None:
    policy = {"write_limit": 16 << 20, "max_message_size": 16 << 20}
    with (
        Service({"policy": policy}, is_checked=False) as service,
        Clients(service.port) as clients,
    ):
        canary = clients.open()
        clients.ask(canary, "x" * 1000)
        cap = service.address_space() + (48 << 20)
        service.limit(resource.RLIMIT_AS, cap)
        # Messages of 12 MiB that all begin at once, and nobody who reads what comes back.
        greedy = clients.open_many(40, receive_buffer=4096)
        started = frame(BINARY, bytes(12 << 20))[: 8 << 20]
        for peer in greedy:
            peer.send_bytes(started[: 1 << 20])
        latest = max(clients.ask(canary) for _ in range(20))
        assert latest < 1
        for peer in greedy:
            peer.send_bytes(started[1 << 20 :])
        deaf = clients.open_many(20, "/ws/push", receive_buffer=4096)
        for peer in deaf:
            clients.deafen(peer)
        sender = clients.open()
        for _ in range(20):
            sender.send("push 4000000")
            clients.until(partial(is_over, sender, sender.count + 1))
            if not sender.is_open:  # its handler had no memory for the message
                sender = clients.open()
            assert clients.ask(canary) < 1
        assert service.is_running
        assert service.address_space() <= cap
        for peer in [*greedy, *deaf]:
            if peer.ended is None:
                peer.sock.close()
