"""`python -m wsgroups app:handle`: the options of ServerConfig, and a few of its own.

`send`, `close` and `ls` stand in `sending`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import typing
from collections.abc import Callable
from dataclasses import Field, fields
from difflib import get_close_matches
from typing import Any

import click
from rich.console import Console
from rich.logging import RichHandler

from wsgroups.cluster.kinds import hub_of
from wsgroups.command.importer import load
from wsgroups.command.reload import run_with_reload
from wsgroups.command.sending import close, ls, send
from wsgroups.connection.tally import set_log_level
from wsgroups.errors import TargetError
from wsgroups.policy import ServerConfig
from wsgroups.server.running import (
    needs_supervisor,
    open_standard_descriptors,
    run,
    run_supervisor,
)
from wsgroups.server.server import Server
from wsgroups.server.worker import is_worker

_LEVELS = ["debug", "info", "warning", "error", "critical"]
_DETAILS = ["verbose", "subtle", "nothing"]


def _config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for each field of ServerConfig: the dataclass is the definition."""
    types = typing.get_type_hints(ServerConfig)
    for field in reversed(fields(ServerConfig)):
        if not field.metadata["in_command"]:
            continue
        command = _option(field, types[field.name])(command)
    return command


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return what makes a value of a flag's text, by the option's own function."""

    def text(given: str) -> Any:  # the name stands in the help
        try:
            return read(given)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return text


def _option(field: Field[Any], kind: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    name = "--" + field.name.replace("_", "-")
    if kind is bool:
        return click.option(name, is_flag=True, help=_help(field))
    if typing.get_origin(kind) is typing.Literal:
        accepted: Any = click.Choice(typing.get_args(kind))
    else:
        accepted = kind if kind in (int, float) else str
    if field.metadata["read"] is not None:
        accepted = _reader(field.metadata["read"])
    return click.option(
        name,
        type=accepted,
        multiple=field.default == (),
        default=field.default,
        help=_help(field),
        show_default=field.default not in (None, ()),
    )


def _help(field: Field[Any]) -> str:
    """What an option is, for a terminal: nobody can write None there."""
    text: str = field.metadata["help"]
    return text.replace("None:", "if not given:") + "."


def _as_flags(message: str) -> str:
    """Return a message about an option with its name as it is written in a terminal."""
    name, space, rest = message.partition(" ")
    if name not in {field.name for field in fields(ServerConfig)}:
        return message
    return f"--{name.replace('_', '-')}{space}{rest.replace(' a bus ', ' a --bus ')}"


class _WithCommands(click.Command):
    """The command that serves, and those that send to what it serves, by their names."""

    others: typing.ClassVar = {"send": send, "close": close, "ls": ls}

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Return what is to be done: `args[0]` may name another command."""
        first = args[0] if args else ""
        other = self.others.get(first)
        if other is not None:
            return other.make_context(f"{info_name} {first}", args[1:], parent, **extra)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            hint = self.meant(first)
            if not hint:
                raise
            raise click.UsageError(error.message.rstrip(".") + hint, error.ctx) from None

    @classmethod
    def meant(cls, word: str) -> str:
        """Return a hint when a word is nearly the name of another command."""
        near = get_close_matches(word, cls.others, n=1)
        return f"; do you mean the command {near[0]!r}?" if near else ""

    def invoke(self, ctx: click.Context) -> Any:
        """Do it."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


@click.command(
    cls=_WithCommands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="An application in a file send.py is send:handle.",
)
@click.argument("target", metavar="MODULE[:HANDLE]")
@_config_options
@click.option(
    "--log-level",
    type=click.Choice(_LEVELS + _DETAILS),
    default="info",
    show_default=True,
    help="What to log: of this level and above; or every message (verbose), every socket that "
    "opens and closes (subtle), or nothing.",
)
@click.option("--reload", is_flag=True, help="Start anew whenever a Python file here changes.")
@click.version_option(package_name="wsgroups")
def main(target: str, log_level: str, reload: bool, **config: Any) -> None:
    """Serve an application: the HANDLE in a MODULE. Or send to one that is served with --bus.

    \b
    python -m wsgroups app:handle --port 8080
    python -m wsgroups send --help   to send to a socket, a group or a room
    python -m wsgroups close --help  to close them
    python -m wsgroups ls --help     to list workers, groups and rooms
    """  # noqa: D301 - click looks for the character itself
    open_standard_descriptors()  # before the application opens anything
    _log_to_terminal(log_level)
    try:
        if reload:
            if config["fd"]:
                raise click.UsageError("--fd and --reload: only this process has inherited it")
            if config["workers"] != 1:
                raise click.UsageError("--workers and --reload: --reload starts one process")
            if config["bus"] is not None:
                raise click.UsageError("--bus and --reload: --reload starts one process")
            run_with_reload(sys.argv)
            return
        _check(config)
        if needs_supervisor(config):
            run_supervisor(config, _announce)
            return
        announce = None if is_worker() else _announce_server
        run(load(target), on_start=announce, **config)
    except TargetError as error:
        raise click.UsageError(f"{error}{_WithCommands.meant(target)}") from None
    except ValueError as error:
        raise click.UsageError(_as_flags(str(error))) from None
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from None


def _check(config: dict[str, Any]) -> None:
    """Raise ValueError for options that cannot work, before the application is loaded."""
    ServerConfig(**config)
    if config["bus"] is not None and not is_worker():
        try:
            hub_of(config["bus"])
        except ValueError as error:
            raise ValueError(f"--bus: {error}") from None


def _announce_server(server: Server) -> None:
    _announce(server.url)


def _announce(address: str) -> None:
    with contextlib.suppress(OSError):  # nobody may be there to read it
        url = click.style(address, bold=True)
        click.echo(f"wsgroups is listening on {url} (Ctrl-C stops it)", err=True)


def _log_to_terminal(level: str) -> None:
    console = Console(stderr=True)
    handler: logging.Handler = RichHandler(console=console, show_path=False, rich_tracebacks=True)
    formatter = logging.Formatter("%(message)s")
    if not console.is_terminal:
        handler = logging.StreamHandler()
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(formatter)
    logging.basicConfig(
        level=logging.INFO if level in _DETAILS else level.upper(), handlers=[handler]
    )
    if level in _DETAILS:
        set_log_level(level)
