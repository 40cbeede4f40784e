"""Attacks: `python -m tests.attacks`; with `--store` the figures go to docs/attacks.md."""

import sys

import pytest


def main() -> int:
    """Run the tests; the exit status is pytest's."""
    status = pytest.main(["tests/attacks", "-k", "not test_page"])
    # Not before: pytest wants to be the first to import what it looks into.
    from tests.attacks.page import PAGE, in_words, render
    from tests.attacks.target import RESULTS

    if status == pytest.ExitCode.OK and "--store" in sys.argv[1:]:
        PAGE.write_text(render(in_words(RESULTS)))
        print(f"written: {PAGE.relative_to(PAGE.parents[1])}")
    return status


if __name__ == "__main__":
    sys.exit(main())
