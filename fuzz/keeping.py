"""Where findings go, and the case that a crash would leave behind."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).parent
FINDINGS = HERE / "findings"
RUNNING = FINDINGS / "running.json"

PROGRESS = 30.0  # seconds between lines


class Writable(Protocol):
    """A case of either fuzzer."""

    def dumps(self) -> str:
        """Return it as JSON."""


@contextmanager
def recorder() -> Iterator[Callable[[Writable], None]]:
    """Keep the running case in a file, which is left when the process crashes."""
    FINDINGS.mkdir(exist_ok=True)
    size = 1 << 21
    with RUNNING.open("w+b") as file:
        file.truncate(size)
        with mmap.mmap(file.fileno(), size) as memory:
            last = size

            def record(case: Writable) -> None:
                nonlocal last
                line = case.dumps().encode()
                memory[: max(len(line), last)] = line.ljust(last)
                last = len(line)

            yield record
    RUNNING.unlink(missing_ok=True)
