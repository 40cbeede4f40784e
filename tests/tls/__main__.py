"""Fail many handshakes and show the server's memory: `python -m tests.tls [COUNT]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.certificates import Certificates
from tests.tls.test_memory import Target, fail

STEPS = 10


def main(count: int) -> None:
    """Warm up, then fail `count` handshakes."""
    with tempfile.TemporaryDirectory() as directory:
        target = Target(Certificates(Path(directory)))
        fail(target, 700)
        first = target.memory()
        for step in range(1, STEPS + 1):
            fail(target, count // STEPS)
            more = target.memory() - first
            done = step * (count // STEPS)
            print(
                f"{done:>7} handshakes failed: {more / 1024:+6.0f} KiB, {more / done:+.2f} B each"
            )
        target.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
