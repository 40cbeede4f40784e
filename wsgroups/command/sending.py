"""`python -m wsgroups send`, `close` and `ls`: from a terminal, a script or cron, over the bus."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TypeAlias

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wsgroups.closing import close_payload
from wsgroups.enums import SendResult
from wsgroups.errors import BusUnreachableError
from wsgroups.surface.outside import VARIABLE, BlockingCluster, BlockingSet, Cluster, WorkerInfo

GONE, UNREACHABLE = 1, 3  # exit codes; 2 is click's, for a command that makes no sense

Receiver: TypeAlias = "int | tuple[str, str]"
"""An id, or "group" or "room" and its name."""

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Unreachable(click.ClickException):
    exit_code = UNREACHABLE


_BUS = click.option(
    "--bus",
    metavar="URL",
    envvar=VARIABLE,
    show_envvar=True,
    help="The bus that the server was started with, unix:/run/app/hub.sock for example.",
)
_ROOM = click.option("--room", metavar="NAME", help="To all sockets in this room.")
_GROUP = click.option(
    "--group", metavar="NAME", help="To all sockets of this group, whatever its name looks like."
)


@click.command(context_settings=_SETTINGS, options_metavar="[OPTIONS]")
@click.argument("arguments", metavar="[ID|GROUP] TEXT", nargs=-1)
@_ROOM
@_GROUP
@click.option("--binary", is_flag=True, help="Send the bytes as a binary message.")
@_BUS
def send(
    arguments: tuple[str, ...], room: str | None, group: str | None, binary: bool, bus: str | None
) -> None:
    """Send TEXT to a socket, by its ID, or to all sockets of a GROUP or a room.

    \b
    python -m wsgroups send 123456 "Hello!"        to the socket with that id
    python -m wsgroups send chat "Hello!"          to the group "chat"
    python -m wsgroups send --room lobby "Hello!"  to the room "lobby"
    date | python -m wsgroups send chat -          TEXT comes from standard input

    From standard input a text loses the line break at its end. Behind `--` a TEXT may begin with a
    dash. Exit codes: 0 sent, 1 not delivered, 2 wrong usage, 3 no server.
    """  # noqa: D301 - click looks for the character itself
    receiver, rest = _receiver(arguments, room, group, "the TEXT to send")
    if not rest:
        raise click.UsageError("there is no TEXT")
    if len(rest) > 1:
        raise click.UsageError(f'put the TEXT in quotes: "{" ".join(rest)}"')
    data = _data(rest[0], binary)
    with _connected(bus) as cluster:
        if isinstance(receiver, int):
            _tell(cluster.send(receiver, data), receiver, "delivered")
        else:
            _set(cluster, receiver).send(data)
            _tell_set(cluster, receiver, "sent")


@click.command(context_settings=_SETTINGS, options_metavar="[OPTIONS]")
@click.argument("arguments", metavar="[ID|GROUP]", nargs=-1)
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
    """Close a socket, by its ID, or all sockets of a GROUP or a room.

    \b
    python -m wsgroups close 123456
    python -m wsgroups close chat --code 1001 --reason "Back at noon."
    python -m wsgroups close --room lobby

    Exit codes: 0 closing, 1 there is no such socket, 2 wrong usage, 3 no server.
    """  # noqa: D301 - as above
    receiver, rest = _receiver(arguments, room, group, "")
    if rest:
        raise click.UsageError(f"one ID or GROUP at a time: what is {rest[0]!r}?")
    try:
        close_payload(code, reason)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with _connected(bus) as cluster:
        if isinstance(receiver, int):
            _tell(cluster.close(receiver, code, reason), receiver, "closing")
        else:
            _tell_set(cluster, receiver, "closing")
            _set(cluster, receiver).close(code, reason)


@click.command(context_settings=_SETTINGS)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@_BUS
def ls(as_json: bool, bus: str | None) -> None:
    """List the workers of a server, their groups and rooms, and how many sockets those have."""
    with _connected(bus) as cluster:
        workers = cluster.workers()
    if as_json:
        click.echo(
            json.dumps([{**asdict(each), "since": each.since.isoformat()} for each in workers])
        )
        return
    if not workers:
        click.echo("no worker serves at present", err=True)
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
        return ("room", room), arguments
    if group is not None:
        return ("group", group), arguments
    if not arguments:
        raise click.UsageError(
            "to whom? Give an ID or a GROUP, or --room NAME" + (f", and {what}" if what else "")
        )
    first, *rest = arguments
    try:
        receiver: Receiver = int(first)
    except ValueError:
        receiver = ("group", first)
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


def _set(cluster: BlockingCluster, receiver: tuple[str, str]) -> BlockingSet:
    kind, name = receiver
    return cluster.room(name) if kind == "room" else cluster.group(name)


# --- what is said ---------------------------------------------------------------------------


def _tell(result: SendResult, id: int, done: str) -> None:
    """Say what became of something for one socket; ends the command when it is nothing."""
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


def _tell_set(cluster: BlockingCluster, receiver: tuple[str, str], done: str) -> None:
    """Say how many sockets there are in a group or a room: nobody may be there."""
    kind, name = receiver
    workers = cluster.workers()
    counts = _sum(each.rooms if kind == "room" else each.groups for each in workers)
    count = counts.pop(name, 0)
    if count:
        click.echo(f"{done}: {kind} {_shown(name)}, {_number(count, 'socket')}")
    elif any(each.pid is None or each.left_out for each in workers):
        click.echo(f"{done}: {kind} {_shown(name)}")
    else:
        others = [_shown(other) for other, members in counts.items() if members][:10]
        hint = f"; there are sockets in {', '.join(others)}" if others else ""
        click.echo(f"{done}, but no socket is in {kind} {_shown(name)} now{hint}", err=True)


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
