"""A small cluster on a real broker: processes that do what a cluster on paper does.

`draw` makes up rooms, members, moves and messages and has a `Cluster` count them. `play` has one
process for each worker do the same on a nats-server, and reads what that has counted.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from typing import IO, Any

from wsgroups.cluster.letters import HEAD_SIZE

from .brokers import Broker
from .load import Load, draw_rooms
from .model import BEAT, MANY_OVERHEAD, ONE_OVERHEAD
from .traffic import Cluster, Counted

SECONDS = 20  # of a cluster's life that are played, as fast as it goes
BEATS = "wsgroups.all"


@dataclass(slots=True)
class Orders:
    """What one worker does.

    Attributes:
        interest: subjects that it asks for (True), or asks for no more, in order.
        messages: subjects that it publishes to, with the bytes of each message.
    """

    interest: list[tuple[str, bool]] = field(default_factory=list)
    messages: list[tuple[str, int]] = field(default_factory=list)


@dataclass(slots=True)
class Script:
    """What all do, and what has to come of it."""

    orders: list[Orders]
    expected: Counted


def room_subject(number: int) -> str:
    """Return where a room is published."""
    return f"wsgroups.on.{number:040x}"


def address_subject(worker: int) -> str:
    """Return where a worker is sent to."""
    return f"wsgroups.to.{worker:x}"


def draw(load: Load, nodes: int, seed: int) -> Script:
    """Make up some seconds of a cluster's life."""
    choose = random.Random(seed)
    cluster = Cluster(nodes, load.workers_per_node)
    orders = [
        Orders([(address_subject(one), True), (BEATS, True)]) for one in range(cluster.tellers)
    ]
    homes = _settle(cluster, load, orders, choose)
    _move(cluster, load, orders, homes, choose)
    for subject, members in homes.items():
        rate = min(len(members) / load.speak_interval, load.room_limit)
        for _ in range(_count(rate * SECONDS, choose)):
            sender = choose.choice(members)
            cluster.publish(sender, subject, load.payload + MANY_OVERHEAD - HEAD_SIZE)
            orders[sender].messages.append((subject, load.payload + MANY_OVERHEAD))
    _send_by_id(cluster, load, orders, choose)
    for sender in range(cluster.tellers):
        for _ in range(_count(SECONDS / load.beat_interval, choose)):
            cluster.beat(sender, BEAT - HEAD_SIZE)
            orders[sender].messages.append((BEATS, BEAT))
    return Script(orders, cluster.counted)


def _settle(
    cluster: Cluster, load: Load, orders: list[Orders], choose: random.Random
) -> dict[str, list[int]]:
    """Put members of rooms into workers, and return the workers of each room, one for a member."""
    sockets = cluster.workers * load.sockets_per_worker
    homes: dict[str, list[int]] = {}
    for number, size in enumerate(draw_rooms(load, sockets, choose)):
        subject = room_subject(number)
        homes[subject] = [choose.randrange(cluster.workers) for _ in range(size)]
        for worker in homes[subject]:
            if cluster.join(subject, worker):
                orders[worker].interest.append((subject, True))
    return homes


def _move(
    cluster: Cluster,
    load: Load,
    orders: list[Orders],
    homes: dict[str, list[int]],
    choose: random.Random,
) -> None:
    """Have members leave rooms while others, in any worker, join."""
    for subject, members in homes.items():
        for _ in range(_count(len(members) * SECONDS / load.move_interval, choose)):
            which = choose.randrange(len(members))
            leaver, members[which] = members[which], choose.randrange(cluster.workers)
            if cluster.leave(subject, leaver):
                orders[leaver].interest.append((subject, False))
            if cluster.join(subject, members[which]):
                orders[members[which]].interest.append((subject, True))


def _send_by_id(cluster: Cluster, load: Load, orders: list[Orders], choose: random.Random) -> None:
    sockets = cluster.workers * load.sockets_per_worker
    for _ in range(_count(sockets * SECONDS / load.id_interval, choose)):
        sender, owner = choose.randrange(cluster.workers), choose.randrange(cluster.workers)
        if cluster.send(sender, owner, load.payload + ONE_OVERHEAD - HEAD_SIZE):
            size = load.payload + ONE_OVERHEAD
            orders[sender].messages.append((address_subject(owner), size))


def _count(expected: float, choose: random.Random) -> int:
    return int(expected) + (choose.random() < expected % 1.0)


# --- on a real broker -----------------------------------------------------------------------


@dataclass(slots=True)
class Played:
    """What a broker and the processes have counted."""

    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    subscriptions: int
    subscribes: int
    unsubscribes: int
    received: list[int]


class _Player:
    """A process that follows orders."""

    def __init__(self, orders: Orders, broker: Broker) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "benchmarks.scale.player"]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.tell(
            json.dumps(
                {"port": broker.port, "interest": orders.interest, "messages": orders.messages}
            )
        )

    def tell(self, line: str) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        stdin.write(line + "\n")
        stdin.flush()

    def hear(self) -> Any:
        stdout: IO[str] | None = self.process.stdout
        assert stdout is not None
        line = stdout.readline().strip()
        if not line:
            raise RuntimeError("a worker of the trial has ended; what it wrote says why")
        return line

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def play(script: Script, broker: Broker) -> Played:
    """Have processes do what a script says, on a nats-server that has done nothing yet."""
    with ExitStack() as stack:
        players: list[_Player] = []
        before = broker.page("subsz")
        for orders in script.orders:
            player = _Player(orders, broker)
            stack.callback(player.end)
            players.append(player)
        _all_say(players, "ready")
        subscriptions, after = _subscriptions(broker), broker.page("subsz")
        for player in players:
            player.tell("go")
        _all_say(players, "sent")
        for player in players:
            player.tell("count")
        received = [sum(json.loads(player.hear()).values()) for player in players]
        page = broker.page("varz")
    return Played(
        messages_in=page["in_msgs"],
        messages_out=page["out_msgs"],
        bytes_in=page["in_bytes"],
        bytes_out=page["out_bytes"],
        subscriptions=subscriptions,
        subscribes=after["num_inserts"] - before["num_inserts"],
        unsubscribes=after["num_removes"] - before["num_removes"],
        received=received,
    )


def differences(script: Script, played: Played) -> list[str]:
    """Return a line for each figure that is not what was computed."""
    expected = script.expected
    received = [expected.received[worker] for worker in range(len(script.orders))]
    computed = Played(
        expected.messages_in,
        expected.messages_out,
        expected.bytes_in,
        expected.bytes_out,
        expected.subscriptions,
        expected.subscribes,
        expected.unsubscribes,
        received,
    )
    figures = [
        (each.name, getattr(computed, each.name), getattr(played, each.name))
        for each in fields(Played)
    ]
    return [
        f"{name}: {ours} computed, {theirs} counted"
        for name, ours, theirs in figures
        if ours != theirs
    ]


def _subscriptions(broker: Broker) -> int:
    """Those of clients: the server has some of its own, in an account that is not theirs."""
    connections = broker.page("connz")["connections"]
    return sum(connection["subscriptions"] for connection in connections)


def _all_say(players: list[_Player], word: str) -> None:
    for player in players:
        said = player.hear()
        if said != word:
            raise RuntimeError(f"a worker of the trial says {said!r} instead of {word!r}")
