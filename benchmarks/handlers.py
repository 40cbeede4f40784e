"""`python -m benchmarks.handlers [PYTHON ...]`: what an `async def` handler costs beside a `def`.

Each PYTHON is an interpreter that has wsgroups installed; this one when none is named. `make
test-all` leaves some in `.nox`. Writes `results/handlers.md`: server CPU a message, as `python -m
benchmarks` measures it, the median of the rounds.
"""

import statistics
import subprocess
import sys
from collections import defaultdict

from rich.console import Console

from .install import install_load
from .layout import RESULTS, SERVERS
from .machine import describe_machine
from .measure import Measurement, Settings, measure
from .peers import Peer
from .proc import choose_cores, on_core
from .scenarios import SCENARIOS

ROUNDS = 5
SETTINGS = Settings(seconds=1.5, warmup=0.5, quick=False, spin=False)
LOADS = [each for each in SCENARIOS if each.name in ("echo32-c100-k1", "echo32-c100-k16")]
KINDS = {
    "def": "`def`",
    "async": "`async def`",
    "task": "`async def`, a plain task for each burst",
    "suspends": "`async def` that waits for a turn of the loop",
}

Key = tuple[str, str, str]
"""Version, kind of handler and load."""


def version_of(python: str) -> str:
    """Return the version of an interpreter that has wsgroups, in full."""
    code = "import platform, wsgroups; print(platform.python_version())"
    command = [python, "-P", "-c", code]  # -P: what it has installed, not what lies here
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        raise SystemExit(f"{python} has no wsgroups: {told.stderr.strip().splitlines()[-1]}")
    return told.stdout.strip()


def kinds_on(version: str) -> list[str]:
    """Return the kinds that differ: before 3.12 every task waits for the loop."""
    minor = int(version.split(".")[1])
    return [kind for kind in KINDS if minor >= 12 or kind != "async"]


def measure_all(pythons: dict[str, str]) -> dict[Key, float]:
    """Measure in rounds, each with everything once; return µs a message."""
    found: dict[Key, list[float]] = defaultdict(list)
    cores = choose_cores()
    with on_core(cores.load):
        for round_ in range(ROUNDS):
            for version, python in pythons.items():
                for kind in kinds_on(version):
                    script = str(SERVERS / "handlers_server.py")
                    peer = Peer(f"{version} {kind}", kind, (python, script), (kind,))
                    for load in LOADS:
                        result = measure(peer, load, round_, SETTINGS, cores)
                        found[version, kind, load.name].append(_value(result))
    return {key: statistics.median(values) for key, values in found.items()}


def _value(result: Measurement) -> float:
    if result.value is None:
        raise SystemExit(f"{result.peer}, {result.scenario}: {result.error}")
    return result.value


def markdown(figures: dict[Key, float]) -> str:
    """Return the table."""
    versions = list(dict.fromkeys(version for version, *_ in figures))
    heads = [f"{version}, {load.name[-3:].strip('-')}" for version in versions for load in LOADS]
    machine = {**describe_machine(), "python": ""}
    lines = [
        "# Handlers",
        "",
        "Server CPU, µs a message: echo of 32 bytes over 100 connections, with 1 (k1) and 16 (k16)",
        f"messages in flight, on uvloop; the median of {ROUNDS} rounds, in brackets what it is",
        f"more than `def`. {', '.join(each for each in machine.values() if each)}.",
        "",
        f"| handler | {' | '.join(heads)} |",
        f"|---|{'---:|' * len(heads)}",
    ]
    for kind, label in KINDS.items():
        cells = [_cell(figures, version, kind, load.name) for version in versions for load in LOADS]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(figures: dict[Key, float], version: str, kind: str, load: str) -> str:
    value = figures.get((version, kind, load))
    if value is None:
        return "as a plain task"
    more = value - figures[version, "def", load]
    return f"{value:.2f}" if kind == "def" else f"{value:.2f} ({more:+.2f})"


if __name__ == "__main__":
    install_load(print)
    interpreters = {version_of(each): each for each in sys.argv[1:] or [sys.executable]}
    text = markdown(measure_all(interpreters))
    (RESULTS / "handlers.md").write_text(text)
    Console().print(text)
