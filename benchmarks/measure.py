"""One measurement: one server, one scenario, once."""

import time
from dataclasses import dataclass, replace

from .generator import Generator, LoadError, generating
from .payloads import payload_file
from .peers import Peer
from .proc import Cores, read_busy, read_cpu, read_memory
from .scenarios import Scenario
from .server import Server, ServerError, serving

PATIENCE = 60.0  # seconds on top of what the work should take
SETTLE = 1.0  # seconds before memory is read
QUIET = 0.08  # part of the time that others may use one of the two cores
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to measure, and how."""

    seconds: float
    warmup: float
    quick: bool
    spin: bool  # the load generator polls instead of sleeping


@dataclass(frozen=True, slots=True)
class Measurement:
    """What came out. `value` is µs of server CPU per message, or resident bytes per socket."""

    peer: str
    scenario: str
    round: int
    value: float | None = None
    messages: int = 0
    seconds: float = 0.0
    server_cpu_seconds: float = 0.0
    server_cpu_seconds_by_ticks: float = 0.0
    load_cpu_seconds: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    foreign: float = 0.0  # part of the time that other processes used a core, the worse of the two
    attempts: int = 1
    private_bytes: float | None = None
    error: str | None = None

    @property
    def disturbed(self) -> bool:
        """Whether other work on the machine came between."""
        return self.foreign > QUIET


def measure(
    peer: Peer, scenario: Scenario, round_: int, settings: Settings, cores: Cores
) -> Measurement:
    """Measure; a failure is a measurement with `error` and without `value`.

    When other work on the machine came between, measure again, and keep the quietest.
    """
    tries = [_attempt(peer, scenario, round_, settings, cores)]
    while len(tries) < (1 if settings.quick else ATTEMPTS) and tries[-1].disturbed:
        tries.append(_attempt(peer, scenario, round_, settings, cores))
    found = [one for one in tries if one.error is None] or tries
    return replace(min(found, key=lambda one: one.foreign), attempts=len(tries))


def _attempt(
    peer: Peer, scenario: Scenario, round_: int, settings: Settings, cores: Cores
) -> Measurement:
    try:
        with serving(peer, scenario.words, cores.server) as server:
            try:
                return _measure(server, scenario, round_, settings, cores)
            except LoadError:
                time.sleep(0.1)
                server.check()  # a dead server is the better explanation
                raise
    except (ServerError, LoadError) as error:
        return Measurement(peer.name, scenario.name, round_, error=str(error))


def _measure(
    server: Server, scenario: Scenario, round_: int, settings: Settings, cores: Cores
) -> Measurement:
    if scenario.is_memory:
        return _measure_memory(server, scenario, round_, settings, cores)
    return _measure_cpu(server, scenario, round_, settings, cores)


def _arguments(scenario: Scenario, settings: Settings) -> list[str]:
    quick = settings.quick and scenario.quick_arguments is not None
    chosen = scenario.quick_arguments if quick else scenario.arguments
    arguments = [*(chosen or ()), *(["--spin"] if settings.spin else [])]
    if scenario.json is not None:
        # What is published goes to the server as it is.
        deflate = scenario.deflate and scenario.is_echo
        arguments += ["--payload", str(payload_file(scenario.json, deflate))]
    return [*arguments, *(f"--{word}" for word in scenario.words)]


def _measure_cpu(
    server: Server, scenario: Scenario, round_: int, settings: Settings, cores: Cores
) -> Measurement:
    length = ["--seconds", str(settings.seconds), "--warmup", str(settings.warmup)]
    arguments = [*_arguments(scenario, settings), *length]
    with generating(cores.load, scenario.mode, server.port, arguments) as load:
        load.await_ready(settings.warmup + PATIENCE)
        busy = _busy(cores)
        before = read_cpu(server.pid)
        result = load.work(settings.seconds + PATIENCE)
        used = read_cpu(server.pid).since(before)
        own = used.seconds, result.cpu_seconds
        others = [
            after - since - mine for after, since, mine in zip(_busy(cores), busy, own, strict=True)
        ]
    return Measurement(
        peer=server.peer.name,
        scenario=scenario.name,
        round=round_,
        value=used.seconds * 1e6 / result.messages,
        messages=result.messages,
        seconds=result.seconds,
        server_cpu_seconds=used.scheduler,
        server_cpu_seconds_by_ticks=used.ticks,
        load_cpu_seconds=result.cpu_seconds,
        p50_us=result.p50_us,
        p99_us=result.p99_us,
        foreign=max(0.0, *others) / result.seconds,
    )


def _busy(cores: Cores) -> tuple[float, float]:
    return read_busy(cores.server), read_busy(cores.load)


def _warm_up(server: Server, scenario: Scenario, cores: Cores) -> None:
    """Have the server load and allocate what it needs but once."""
    arguments = ["--count", "200", "--seconds", "10", *(f"--{word}" for word in scenario.words)]
    with generating(cores.load, "churn", server.port, arguments) as load:
        load.await_ready(PATIENCE)
        load.work(PATIENCE)


def _open_all(load: Generator) -> int:
    load.await_ready(PATIENCE)
    return load.work(2 * PATIENCE).messages


def _measure_memory(
    server: Server, scenario: Scenario, round_: int, settings: Settings, cores: Cores
) -> Measurement:
    _warm_up(server, scenario, cores)
    time.sleep(SETTLE)
    before = read_memory(server.pid)
    arguments = _arguments(scenario, settings)
    with generating(cores.load, scenario.mode, server.port, arguments) as load:
        sockets = _open_all(load)
        time.sleep(SETTLE)
        after = read_memory(server.pid)
    return Measurement(
        peer=server.peer.name,
        scenario=scenario.name,
        round=round_,
        value=(after.resident - before.resident) / sockets,
        private_bytes=(after.private - before.private) / sockets,
        messages=sockets,
    )
