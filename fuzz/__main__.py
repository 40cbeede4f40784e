"""`python -m fuzz`: the codec, then the handshake."""

import faulthandler
import sys

import click
from rich.console import Console

from fuzz import differential, handshake


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="how long to run, for both")
@click.option("--seed", default=1, show_default=True, help="the same seed gives the same cases")
def main(seconds: float, seed: int) -> None:
    """Run both fuzzers, each for half of the time."""
    faulthandler.enable()
    console = Console()
    are_clean = [fuzz(seconds / 2, seed, console) for fuzz in (differential.fuzz, handshake.fuzz)]
    sys.exit(0 if all(are_clean) else 1)


main()
