"""The canary, in a process of its own: `canary.py PORT`.

Measures its round trip five times a second and prints each as JSON; ends with its standard input.
"""

from __future__ import annotations

import json
import select
import signal
import sys
import time

from soak.wire import LostError, Socket

INTERVAL = 0.2  # seconds


def tell(**values: object) -> None:
    """Print one line."""
    print(json.dumps(values), flush=True)


def main(port: int) -> int:
    """Measure until told to stop; 1 when the connection was lost."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sock = Socket(port, "/canary")
        number, due = 0, time.monotonic()
        while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            message = f"canary {number}"
            began = time.perf_counter()
            answer = sock.ask(message)
            took = time.perf_counter() - began
            if answer != message:
                raise LostError(f"{answer!r} came for {message!r}")
            tell(seconds=took)
            number += 1
            due = max(due + INTERVAL, time.monotonic())
    except (LostError, OSError) as error:
        tell(lost=str(error))
        return 1
    sock.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
