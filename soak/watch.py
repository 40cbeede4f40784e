"""A run: the processes, the samples, and what is left at the end."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import IO, Any

from benchmarks.proc import read_cpu, read_memory
from soak.child import Child
from soak.counters import RETURNING, Counters
from soak.record import Record, Sample, quantile
from soak.wire import LostError, Socket

# Before anything is counted, some come in a rush: what is made once for all is made then, and the
# memory for more sockets than will ever be open later, also after a moment when nothing moved.
RUSH = 4  # times the rate
RUSH_SECONDS = 3.0
SETTLE = 30.0  # seconds for the counters to go back
LOOK = 0.25  # seconds between looks at the processes and at the display


class BrokenOffError(Exception):
    """The run cannot go on; the message says why."""


class Watch:
    """One run, which is told to `record` as it goes.

    Args:
        record: with its plan.
        stop: set from outside to end the run early.
        show: called a few times a second.
    """

    def __init__(self, record: Record, stop: threading.Event, show: Callable[[], None]) -> None:
        self.record = record
        self._stop = stop
        self._show = show
        self._port = 0
        self._listening = threading.Event()
        self._recent: list[float] = []  # round trips since the last sample
        self._began = 0.0

    def run(self) -> None:
        """Do everything; what goes wrong is in the record."""
        with tempfile.TemporaryFile() as log, ExitStack() as ends:
            try:
                self._run(log, ends)
            except (BrokenOffError, LostError, OSError) as error:
                self.record.failure = f"{error} {_last_lines(log)}".strip()

    def _run(self, log: IO[bytes], ends: ExitStack) -> None:
        record, plan = self.record, self.record.plan
        server = Child("app", log=log, took=self._serves)
        ends.callback(server.finish)
        if not self._listening.wait(20):
            raise BrokenOffError("the server does not listen.")
        control = Socket(self._port, "/control")
        rush = RUSH * plan.rate
        visits = int(rush * RUSH_SECONDS)
        first = Child("churn", self._port, rush, visits, log=log, took=_ignore)
        ends.callback(first.finish)
        first.wait(60 + 10 * RUSH_SECONDS)
        record.before = self._settled(control, None)
        canary = Child("canary", self._port, log=log, took=self._answered)
        ends.callback(canary.finish)
        churn = Child("churn", self._port, plan.rate, log=log, took=self._counted)
        ends.callback(churn.finish)
        self._sample_all(control, [server, canary, churn])
        churn.finish()
        canary.finish()
        record.after = self._settled(control, record.before)
        control.close()

    # --- what the processes say -------------------------------------------------------------

    def _serves(self, line: dict[str, Any]) -> None:
        self._port = line["port"]
        self._listening.set()

    def _answered(self, line: dict[str, Any]) -> None:
        if "lost" in line:
            self.record.canary_lost = line["lost"]
            return
        self.record.pings += 1
        self._recent.append(line["seconds"])
        if self._began and time.monotonic() - self._began >= self.record.plan.warmup:
            self.record.round_trips.append(line["seconds"])

    def _counted(self, line: dict[str, Any]) -> None:
        record = self.record
        record.connections, record.established = line["started"], line["established"]
        record.endings, record.received = line["ended"], line["received"]
        record.errors, record.error = line["errors"], line["error"]

    # --- samples ----------------------------------------------------------------------------

    def _sample_all(self, control: Socket, children: list[Child]) -> None:
        plan = self.record.plan
        self._began = time.monotonic()
        due = plan.interval
        while (passed := time.monotonic() - self._began) < plan.seconds + LOOK:
            for child in children:
                if not child.is_running:
                    raise BrokenOffError(f"{child.module} has ended by itself.")
            if passed >= due:
                due += plan.interval
                self.record.samples.append(self._sample(control, children))
            self._show()
            if self._stop.wait(LOOK):
                self.record.stopped_early = True
                return

    def _sample(self, control: Socket, children: list[Child]) -> Sample:
        server, *load = children
        recent, self._recent = self._recent, []
        memory = read_memory(server.pid)
        return Sample(
            at=time.monotonic() - self._began,
            resident=memory.resident,
            private=memory.private,
            counters=_counters(control, "count"),
            p50=quantile(recent, 0.5),
            p99=quantile(recent, 0.99),
            connections=self.record.connections,
            errors=self.record.errors,
            server_cpu=read_cpu(server.pid).seconds,
            load_cpu=sum(read_cpu(child.pid).seconds for child in load),
        )

    def _settled(self, control: Socket, before: Counters | None) -> Counters:
        """Wait for the counters to be as before, or to stay; they are what is judged."""
        end = time.monotonic() + SETTLE
        last = None
        while True:
            found = _counters(control, "settle")
            now = [getattr(found, name) for name in RETURNING]
            if before is None:
                is_done = now == last and found.connections == found.members == 1
            else:
                is_done = now == [getattr(before, name) for name in RETURNING]
            if is_done or time.monotonic() >= end:
                # The objects of the last garbage are counted once it is gone.
                return replace(found, objects=_counters(control, "settle").objects)
            last = now
            self._show()
            time.sleep(LOOK)


def _counters(control: Socket, question: str) -> Counters:
    return Counters(**json.loads(control.ask(question)))


def _ignore(line: dict[str, Any]) -> None:
    """What comes before the run is not counted."""


def _last_lines(log: IO[bytes]) -> str:
    log.seek(0)
    return " / ".join(log.read().decode(errors="replace").strip().splitlines()[-3:])
