"""`python -m wsgroups send`, `close` and `ls`: from a terminal, a script or cron, over the bus."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wsgroups.closing import close_payload
from wsgroups.cluster.session import display, split_url
from wsgroups.enums import SendResult
from wsgroups.errors import BusUnreachableError, did_you_mean
from wsgroups.surface.outside import VARIABLE, BlockingCluster, BlockingSet, Cluster, WorkerInfo

GONE, UNREACHABLE = 1, 3  # exit codes; 2 is click's, for wrong usage

_HEARD_WITHIN = 2.5  # seconds: on a broker each worker says every two that it is there


@dataclass(frozen=True, slots=True)
class Named:
    """A group or a room.

    Attributes:
        name: of the one or the other.
        kind: `group` or `room`; None when whoever named it did not say.
    """

    name: str
    kind: Literal["group", "room"] | None = None


Receiver: TypeAlias = int | Named
"""An id, or a group or room."""

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Unreachable(click.ClickException):
    exit_code = UNREACHABLE


_BUS = click.option(
    "--bus",
    metavar="URL",
    envvar=VARIABLE,
    show_envvar=True,
    help="The bus that the server was started with: unix:/run/app/hub.sock, nats://host:4222 or "
    "redis://host:6379, for example.",
)
_ROOM = click.option("--room", metavar="NAME", help="All sockets in this room.")
_GROUP = click.option(
    "--group", metavar="NAME", help="All sockets of this group, whatever its name looks like."
)


@click.command(context_settings=_SETTINGS, options_metavar="[OPTIONS]")
@click.argument("arguments", metavar="[ID|GROUP|ROOM] TEXT", nargs=-1)
@_ROOM
@_GROUP
@click.option("--binary", is_flag=True, help="Send the bytes as a binary message.")
@_BUS
def send(
    arguments: tuple[str, ...], room: str | None, group: str | None, binary: bool, bus: str | None
) -> None:
    """Send TEXT to a socket, by its ID, or to all sockets of a GROUP or a ROOM.

    \b
    python -m wsgroups send 123456 "Hello!"        to the socket with that id
    python -m wsgroups send chat "Hello!"          to the group or the room "chat"
    python -m wsgroups send --room lobby "Hello!"  to the room "lobby" in any case
    date | python -m wsgroups send chat -          TEXT comes from standard input

    Where a group and a room of one name have sockets, the group is meant. From standard input a
    text loses the line break at its end. Behind `--` a TEXT may begin with a dash. Exit codes:
    0 sent, 1 not delivered, 2 wrong usage, 3 no server.
    """  # noqa: D301 - click looks for the character itself
    receiver, rest = _receiver(arguments, room, group, "the TEXT to send")
    if not rest:
        raise click.UsageError("there is no TEXT")
    if len(rest) > 1:
        raise click.UsageError(f'put the TEXT in quotes: "{" ".join(rest)}"')
    data = _data(rest[0], binary)
    with _connected(bus) as cluster:
        if isinstance(receiver, int):
            _tell(cluster, bus, cluster.send(receiver, data), receiver, "delivered")
            return
        if receiver.kind is not None:  # nothing has to be known before
            _set(cluster, receiver).send(data)
        found = _found(_workers(cluster, bus), receiver)
        if receiver.kind is None:
            _set(cluster, found.receiver).send(data)
    if not found.sockets and found.is_all:
        click.echo(f"sent, but {found.nobody()}", err=True)
        sys.exit(GONE)
    click.echo(f"sent: {found.text()}")


@click.command(context_settings=_SETTINGS, options_metavar="[OPTIONS]")
@click.argument("arguments", metavar="[ID|GROUP|ROOM]", nargs=-1)
@_ROOM
@_GROUP
@click.option("--code", default=1000, show_default=True, help="Close code.")
@click.option("--reason", metavar="TEXT", help="Text beside it, 123 bytes at most.")
@_BUS
def close(
    arguments: tuple[str, ...],
    room: str | None,
    group: str | None,
    code: int,
    reason: str | None,
    bus: str | None,
) -> None:
    """Close a socket, by its ID, or all sockets of a GROUP or a ROOM.

    \b
    python -m wsgroups close 123456
    python -m wsgroups close chat --code 1001 --reason "Back at noon."
    python -m wsgroups close --room lobby

    Where a group and a room of one name have sockets, the group is meant. Exit codes: 0 closing,
    1 there is nothing to close, 2 wrong usage, 3 no server.
    """  # noqa: D301 - as above
    receiver, rest = _receiver(arguments, room, group, "")
    if rest:
        raise click.UsageError(f"one ID, GROUP or ROOM at a time: what is {rest[0]!r}?")
    try:
        close_payload(code, reason)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with _connected(bus) as cluster:
        if isinstance(receiver, int):
            _tell(cluster, bus, cluster.close(receiver, code, reason), receiver, "closing")
            return
        found = _found(_workers(cluster, bus), receiver)
        if not found.sockets and found.is_all:
            click.echo(f"nothing to close: {found.nobody()}", err=True)
            sys.exit(GONE)
        _set(cluster, found.receiver).close(code, reason)
    click.echo(f"closing: {found.text()}")


@click.command(context_settings=_SETTINGS)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@_BUS
def ls(as_json: bool, bus: str | None) -> None:
    """List the workers of a server, their groups and rooms, and how many sockets those have.

    Exit codes: 0 listed, 2 wrong usage, 3 no server.
    """
    with _connected(bus) as cluster:
        workers = _workers(cluster, bus)
    if as_json:
        click.echo(
            json.dumps([{**asdict(each), "since": each.since.isoformat()} for each in workers])
        )
        return
    console = Console()
    console.print(_workers_table(workers))
    for title, counts in (
        ("GROUP", _sum(each.groups for each in workers)),
        ("ROOM", _sum(each.rooms for each in workers)),
    ):
        if counts:
            console.print()
            console.print(_counts_table(title, counts))
    left_out = sum(each.left_out for each in workers)
    if left_out:
        console.print(f"\nand {left_out} smaller groups and rooms of single workers")


# --- what the arguments mean ----------------------------------------------------------------


def _receiver(
    arguments: tuple[str, ...], room: str | None, group: str | None, what: str
) -> tuple[Receiver, tuple[str, ...]]:
    """Return who is meant, and the arguments behind that."""
    if room is not None and group is not None:
        raise click.UsageError("--room and --group: it is one or the other")
    if room is not None:
        return Named(room, "room"), arguments
    if group is not None:
        return Named(group, "group"), arguments
    if not arguments:
        raise click.UsageError(
            "to whom? Give an ID, a GROUP or a ROOM" + (f", and {what}" if what else "")
        )
    first, *rest = arguments
    try:
        receiver: Receiver = int(first)
    except ValueError:
        receiver = Named(first)
    return receiver, tuple(rest)


def _data(text: str, is_binary: bool) -> str | bytes:
    """Return what is to be sent for a TEXT."""
    data = sys.stdin.buffer.read() if text == "-" else text.encode("utf-8", "surrogateescape")
    if is_binary:
        return data
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        raise click.UsageError("the TEXT is not UTF-8; --binary sends any bytes") from None
    if text == "-" and decoded.endswith("\n"):
        return decoded[:-1].removesuffix("\r")
    return decoded


@contextmanager
def _connected(bus: str | None) -> Iterator[BlockingCluster]:
    try:
        found = Cluster(bus)
    except ValueError as error:
        raise click.UsageError(f"--bus: {error}") from None
    try:
        with found as cluster:
            yield cluster
    except BusUnreachableError as error:
        raise _Unreachable(str(error)) from None


def _set(cluster: BlockingCluster, receiver: Named) -> BlockingSet:
    if receiver.kind == "room":
        return cluster.room(receiver.name)
    return cluster.group(receiver.name)


# --- who is there ---------------------------------------------------------------------------


def _workers(cluster: BlockingCluster, bus: str | None) -> list[WorkerInfo]:
    """Return the workers: there is one at least, or the command ends."""
    _hear_of_one(cluster, bus)
    return cluster.workers()


def _hear_of_one(cluster: BlockingCluster, bus: str | None) -> None:
    """Wait until a worker has been heard of, or end the command."""
    until = time.monotonic() + _HEARD_WITHIN
    while not cluster._knows_workers():
        if time.monotonic() > until:
            raise _Unreachable(_nobody_serves(bus or ""))
        time.sleep(_HEARD_WITHIN / 50)


def _nobody_serves(bus: str) -> str:
    if bus.startswith("unix:"):
        return f"no worker is on {display(bus)} at present"
    app = split_url(bus)[1]
    return f"no worker is on {display(bus)} (application {app!r}); is that the server's --bus?"


@dataclass(frozen=True, slots=True)
class _Found:
    """Who a group or a room has.

    Attributes:
        receiver: what is meant, with its kind.
        sockets: how many the workers have told of.
        asked: what was looked through, `group or room` for example.
        hint: what else may have been meant.
        silent: workers that did not answer.
        is_all: nobody can have more: all have answered, and none has left out anything.
    """

    receiver: Named
    sockets: int
    asked: str
    hint: str
    silent: int
    is_all: bool

    def text(self) -> str:
        """Return what is meant and how many that are, as far as is known."""
        text = f"{self.receiver.kind} {_shown(self.receiver.name)}"
        if self.sockets:
            text += f", {_number(self.sockets, 'socket')}{self.hint}"
        if self.silent:
            text += f"; {_number(self.silent, 'worker')} did not answer"
        return text

    def nobody(self) -> str:
        """Say that there is nobody."""
        return f"no socket is in {self.asked} {_shown(self.receiver.name)} now{self.hint}"


def _found(workers: list[WorkerInfo], wanted: Named) -> _Found:
    """Find what is meant by a name: a room only where no group of that name has sockets."""
    name = wanted.name
    counts = {
        "group": _sum(each.groups for each in workers),
        "room": _sum(each.rooms for each in workers),
    }
    asked = list(counts) if wanted.kind is None else [wanted.kind]
    kind = next((each for each in asked if counts[each].get(name)), asked[0])
    sockets = counts[kind].get(name, 0)
    hint = ""
    if not sockets:
        known = [other for each in asked for other, members in counts[each].items() if members]
        hint = did_you_mean(name, known)
    elif wanted.kind is None and kind == "group" and counts["room"].get(name):
        hint = f"; for the room of that name write --room {_shown(name)}"
    silent = sum(each.pid is None for each in workers)
    is_all = not silent and not any(each.left_out for each in workers)
    return _Found(
        Named(name, "room" if kind == "room" else "group"),
        *(sockets, " or ".join(asked), hint, silent, is_all),
    )


# --- what is said ---------------------------------------------------------------------------


def _tell(
    cluster: BlockingCluster, bus: str | None, result: SendResult, id: int, done: str
) -> None:
    """Say what became of something for one socket; ends the command when it is nothing."""
    if result in (SendResult.GONE, SendResult.QUEUED):
        _hear_of_one(cluster, bus)
    if result is SendResult.GONE:
        click.echo(f"gone: there is no open socket {id}", err=True)
    elif result is SendResult.DROPPED:
        click.echo(f"dropped: too much waits for socket {id} already", err=True)
    elif result is SendResult.QUEUED:
        click.echo("queued: the worker that has the socket has not answered")
    elif result is SendResult.BUFFERED:
        click.echo(f"{done}, behind much that the client has not read yet")
    else:
        click.echo(done)
    if result in (SendResult.GONE, SendResult.DROPPED):
        sys.exit(GONE)


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Return how many there are in all workers together, the most first."""
    found: Counter[str] = Counter()
    for each in counts:
        found.update(each)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _shown(name: str) -> str:
    """A name as a terminal may show it: clients may have chosen it."""
    return name if name.isprintable() and name else ascii(name)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _workers_table(workers: list[WorkerInfo]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("NODE", "WORKER", "PID", "SOCKETS"):
        table.add_column(title, justify="right")
    table.add_column("SINCE")
    for each in workers:
        answered = each.pid is not None
        table.add_row(
            str(each.node),
            str(each.worker),
            str(each.pid) if answered else "-",
            str(each.sockets) if answered else "-",
            f"{each.since.astimezone():%Y-%m-%d %H:%M:%S}"
            + ("" if answered else "  does not answer"),
        )
    return table


def _counts_table(title: str, counts: dict[str, int]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("SOCKETS", justify="right")
    table.add_column(title, overflow="fold")
    for name, count in counts.items():
        table.add_row(str(count), Text(_shown(name)))
    return table
