"""Clocks and memory of another process, from /proc, and which core a process may use."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICK = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """The server has one core to itself; the load generator and this process share the other."""

    server: int
    load: int


def choose_cores() -> Cores:
    """Return the last and the first core this process may use, which may be the same one."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(server=allowed[-1], load=allowed[0])


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep the calling thread, and the processes it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit() -> None:
    """Allow this process and its children as many open files as the system lets them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(frozen=True, slots=True)
class CpuClock:
    """CPU seconds a process has used, by two accounts."""

    scheduler: float  # all threads alive, to the nanosecond
    ticks: float  # utime + stime of all threads that ever were, to 10 ms

    def since(self, before: "CpuClock") -> "CpuClock":
        """Return what was used between `before` and this reading."""
        return CpuClock(self.scheduler - before.scheduler, self.ticks - before.ticks)

    @property
    def seconds(self) -> float:
        """The better account: a thread that ended took its scheduler time along."""
        if self.scheduler <= 0 or self.ticks - self.scheduler > 0.1 * self.ticks + 3 * TICK:
            return self.ticks
        return self.scheduler


def read_cpu(pid: int) -> CpuClock:
    """Read both accounts of a process."""
    return CpuClock(_scheduler_seconds(pid), _tick_seconds(pid))


def _scheduler_seconds(pid: int) -> float:
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended between the listing and the reading
    return total / 1e9


def _tick_seconds(pid: int) -> float:
    # The command name, in parentheses, may contain anything; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process that are in memory."""

    resident: int
    private: int


def read_memory(pid: int) -> Memory:
    """Read what is resident, and what of it belongs to the process alone."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        sizes[name] = int(value) * 1024
    return Memory(sizes["Rss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"])


def read_busy(core: int) -> float:
    """Return the seconds a core has been busy since boot, time stolen by the host included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(t) for t in ticks[:8])
            return (user + nice + system + irq + softirq + steal) * TICK
    raise LookupError(f"no core {core}")
