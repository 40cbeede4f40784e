"""Goes through the rounds: in each, every scenario, and in each of those every server in turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .measure import Measurement, Settings, measure
from .peers import Peer
from .proc import Cores
from .scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run does."""

    scenarios: Sequence[Scenario]
    peers: Sequence[Peer]
    rounds: int
    settings: Settings
    cores: Cores

    def steps(self) -> Iterator[tuple[int, Scenario, Peer]]:
        """Yield the measurements in order; the first server of a round is another each time."""
        for round_ in range(self.rounds):
            for number, scenario in enumerate(self.scenarios):
                taking_part = [peer for peer in self.peers if peer.takes_part(scenario)]
                for peer in _rotated(taking_part, round_ + number):
                    yield round_, scenario, peer


def _rotated(peers: list[Peer], by: int) -> list[Peer]:
    start = by % len(peers) if peers else 0
    return peers[start:] + peers[:start]


def carry_out(plan: Plan, console: Console) -> list[Measurement]:
    """Do all measurements; failures are shown at once and are in the result.

    An interrupt ends the run early and returns what there is.
    """
    steps = [*plan.steps()]
    done: list[Measurement] = []
    with _progress(console) as progress:
        task = progress.add_task("", total=len(steps))
        try:
            for round_, scenario, peer in steps:
                progress.update(task, description=_doing(plan, round_, scenario, peer))
                progress.refresh()
                one = measure(peer, scenario, round_, plan.settings, plan.cores)
                done.append(one)
                if one.error is not None:
                    console.print(f"[red]{peer.name}, {scenario.name}:[/] {one.error}")
                progress.advance(task)
        except KeyboardInterrupt:
            console.print("[yellow]interrupted; reporting what was measured[/]")
        progress.refresh()
    return done


def _progress(console: Console) -> Progress:
    """Return a display that draws only when told to: a refresh thread would use the load's core."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
    )


def _doing(plan: Plan, round_: int, scenario: Scenario, peer: Peer) -> str:
    return f"round {round_ + 1}/{plan.rounds}  {scenario.name}  {peer.name}"
