"""The engine that plays the cases: its command lines and its report."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from conformance.outcome import Outcome, Results
from conformance.program import ProgramError

NAME = "kosoku"
AT_A_TIME = 4


def name_and_version() -> str:
    """Return what is installed.

    Raises:
        ProgramError: nothing is.
    """
    try:
        return f"{NAME} {version(NAME)}"
    except PackageNotFoundError:
        raise ProgramError(f"{NAME} is not installed: make autobahn") from None


def against_server(url: str, groups: Iterable[int], reports: Path) -> list[str]:
    """Return the command that plays the cases with a server."""
    return [*_command("fuzzingclient", groups, reports), "-p", str(AT_A_TIME), url]


def against_clients(groups: Iterable[int], reports: Path) -> list[str]:
    """Return the command that waits for clients on a free port."""
    return [*_command("fuzzingserver", groups, reports), "127.0.0.1:0"]


def _command(mode: str, groups: Iterable[int], reports: Path) -> list[str]:
    installed = Path(sys.executable).with_name(NAME)
    selection = [part for number in groups for part in ("-i", f"{number}.*")]
    return [str(installed), "-m", mode, "-o", str(reports), *selection]


def read_report(reports: Path) -> Results:
    """Return the outcome of each case from the report of one peer.

    Raises:
        ProgramError: there is none.
    """
    try:
        (cases,) = json.loads((reports / "index.json").read_text()).values()
    except (OSError, ValueError) as error:
        raise ProgramError(f"the engine wrote no report: {error}") from None
    return {
        case: Outcome(found["behavior"], found["behaviorClose"]) for case, found in cases.items()
    }
