"""What is measured."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of work, as the load generator is told to do it."""

    name: str
    title: str
    unit: str  # what one "message" of this scenario is
    mode: str  # of the load generator
    arguments: tuple[str, ...] = ()
    quick_arguments: tuple[str, ...] | None = None  # in place of `arguments` in a quick run
    json: int | None = None  # bytes of JSON that a message is; None for the load's own filling
    deflate: bool = False  # messages are compressed, both ways
    tls: bool = False

    @property
    def words(self) -> list[str]:
        """What the server and the load are to do about it: "deflate", "tls"."""
        chosen = {"deflate": self.deflate, "tls": self.tls}
        return [word for word, is_chosen in chosen.items() if is_chosen]

    @property
    def is_memory(self) -> bool:
        """Whether resident memory is measured, not CPU."""
        return self.mode == "idle"

    @property
    def is_echo(self) -> bool:
        """Whether messages go back to where they came from."""
        return self.mode == "echo"


def _echo(name: str, title: str, connections: int, in_flight: int, size: int) -> Scenario:
    arguments = ("--connections", str(connections), "--in-flight", str(in_flight))
    return Scenario(name, title, "message", "echo", (*arguments, "--size", str(size)))


def _tls(name: str, title: str, mode: str, *arguments: str) -> Scenario:
    unit = "socket" if mode == "idle" else "message"
    return Scenario(f"tls-{name}", title, unit, mode, arguments, tls=True)


def _echo_json(title: str, deflate: bool) -> Scenario:
    arguments = ("--connections", "100", "--in-flight", "1")
    name = "echo1k-deflate" if deflate else "echo1k"
    return Scenario(name, title, "message", "echo", arguments, json=1024, deflate=deflate)


def _group_json(title: str, deflate: bool) -> Scenario:
    arguments = ("--connections", "500", "--messages", "1")
    name = "group1k-deflate" if deflate else "group1k"
    return Scenario(name, title, "delivery", "group", arguments, json=1024, deflate=deflate)


def _group(messages: int, title: str) -> Scenario:
    arguments = ("--connections", "500", "--messages", str(messages), "--size", "32")
    return Scenario(f"group{messages}", title, "delivery", "group", arguments)


SCENARIOS = (
    _echo("echo32-c1-k1", "echo 32 B, 1 connection, 1 in flight", 1, 1, 32),
    _echo("echo32-c1-k16", "echo 32 B, 1 connection, 16 in flight", 1, 16, 32),
    _echo("echo32-c100-k1", "echo 32 B, 100 connections, 1 in flight", 100, 1, 32),
    _echo("echo32-c100-k16", "echo 32 B, 100 connections, 16 in flight", 100, 16, 32),
    _echo("echo16k", "echo 16 KiB, 10 connections", 10, 1, 16 << 10),
    _echo("echo1m", "echo 1 MiB, 4 connections", 4, 1, 1 << 20),
    _group(1, "one message to 500 sockets"),
    _group(10, "ten messages to 500 sockets"),
    _echo_json("echo 1 KiB JSON, 100 connections", deflate=False),
    _echo_json("the same, deflated both ways", deflate=True),
    _group_json("1 KiB JSON to 500 sockets", deflate=False),
    _group_json("the same, deflated", deflate=True),
    Scenario("churn", "connect, upgrade, echo, close", "connection", "churn", ("--parallel", "50")),
    Scenario(
        "idle",
        "idle sockets, each echoed once",
        "socket",
        "idle",
        ("--connections", "10000"),
        ("--connections", "2000"),
    ),
    _tls("echo32", "TLS: echo 32 B, 100 connections, 1 in flight", "echo", "--connections", "100"),
    _tls(
        "echo16k",
        "TLS: echo 16 KiB, 10 connections",
        "echo",
        *("--connections", "10", "--size", "16384"),
    ),
    _tls("idle", "TLS: idle sockets, each echoed once", "idle", "--connections", "1000"),
)


def select_scenarios(names: Iterable[str]) -> list[Scenario]:
    """Return the scenarios called so, or whose names begin so; all when there are no `names`."""
    found = [scenario for name in names for scenario in _called(name)]
    return [scenario for scenario in SCENARIOS if scenario in found or not found]


def _called(name: str) -> list[Scenario]:
    exact = [scenario for scenario in SCENARIOS if scenario.name == name]
    found = exact or [scenario for scenario in SCENARIOS if scenario.name.startswith(name)]
    if not found:
        raise ValueError(f"no scenario begins with {name!r}")
    return found
