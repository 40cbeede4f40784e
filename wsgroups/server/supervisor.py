"""The process that keeps the workers: starts them, replaces them, and carries their messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from wsgroups.cluster.hub import Hub
from wsgroups.cluster.kinds import hub_of
from wsgroups.cluster.leases import private_directory, remove_directory
from wsgroups.cluster.node import NodeLease, lease_node
from wsgroups.ids import sequence
from wsgroups.policy import ServerConfig
from wsgroups.server.listening import Listening, open_for_workers, open_unix_socket
from wsgroups.server.notifying import notify
from wsgroups.server.seconds import SECOND, Seconds
from wsgroups.server.slots import Slot, Worker, describe_exit
from wsgroups.server.worker import HURRY, READY, Orders

logger = logging.getLogger("wsgroups")

_SHORT_LIFE = 10.0  # seconds; a worker that ends sooner makes its successor wait
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 30.0  # seconds, doubled from the one to the other
_FAILING = 5  # workers in a row that ended soon
_LEASE_AGAIN = 1.0  # from one attempt to have another node number to the next
_BEYOND_DRAIN = 5.0  # seconds that a worker may take to stop beside its drain
# A worker has a minute until it serves. Applications that take long to import have more: as long as
# the slowest one took until now, so many times for each worker, since all may start at once. The
# first one, which shows that, has any time.
_START_PATIENCE = 60.0  # seconds
_SLOWER = 3


class Supervisor:
    """Keeps `config.workers` workers until it is told to stop.

    Args:
        config: what they serve.
        command: what starts a process that becomes a worker.
        on_start: called with the address once all have started.
    """

    def __init__(
        self, config: ServerConfig, command: list[str], on_start: Callable[[str], None] | None
    ) -> None:
        self._config = config
        self._command = command
        self._on_start = on_start
        self._slots: list[Slot] = []
        self._workers: dict[int, Worker] = {}  # by process id, those that drain as well
        self._directory = ""
        self._hub_path = ""
        self._broker: str | None = None
        self._node: NodeLease | None = None
        self._relocating: asyncio.Task[None] | None = None
        self._hub = Hub(self._noted, self._left)
        self._lifeline = -1
        self._stopping = asyncio.Event()
        self._rolling: asyncio.Task[None] | None = None
        self._roll_again = False
        self._has_served = False
        self._slowest_start = 0.0  # seconds
        self._crashes = 0
        self._ended = asyncio.Event()

    async def run(self) -> int:
        """Serve until SIGINT or SIGTERM; returns the exit code.

        Raises:
            OSError: when the address, or the hub's, cannot be had.
            ValueError: when `bus` is none.
        """
        loop = asyncio.get_running_loop()
        self._slots = [Slot(listening) for listening in open_for_workers(self._config)]
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._close_listening)
            for number, action in self._signals().items():
                loop.add_signal_handler(number, action)
                stack.callback(loop.remove_signal_handler, number)
            self._directory = private_directory()
            stack.callback(remove_directory, self._directory)
            self._lifeline, keep = os.pipe()
            stack.callback(os.close, keep)
            stack.callback(os.close, self._lifeline)
            keeping = self._open_hub()
            stack.callback(keeping.close)
            await self._hub.start(keeping.sockets[0])
            self._tell_health()
            stack.push_async_callback(self._hub.stop)
            stack.push_async_callback(self._leave_node)
            if self._broker is not None:
                await self._take_number()
            stack.push_async_callback(self._end_all)
            stack.callback(Seconds(self._second_passed).stop)
            return await self._keep()

    def _open_hub(self) -> Listening:
        """Return the hub's socket: where scripts look for it, or where only workers do."""
        bus = self._config.bus
        path = hub_of(bus) if bus is not None else None
        if path is None:
            self._broker = bus
        # In full, because workers may change their working directory.
        self._hub_path = os.path.abspath(path or os.path.join(self._directory, "hub"))
        return open_unix_socket(self._hub_path, 0o600)

    async def _take_number(self) -> None:
        """Lease a node number, unless we are to stop before we have it."""
        leasing = asyncio.ensure_future(self._lease_node(self._config.node))
        await first_of(asyncio.wait([leasing]), self._stopping.wait())
        if not leasing.done():
            leasing.cancel()
            await asyncio.wait([leasing])
        if not leasing.cancelled():
            self._node = leasing.result()

    async def _lease_node(self, wanted: int | None) -> NodeLease:
        assert self._broker is not None
        return await lease_node(self._broker, sequence.now, self._relocate, wanted)

    async def _leave_node(self) -> None:
        if self._relocating is not None:
            self._relocating.cancel()
            await asyncio.wait([self._relocating])
        if self._node is not None:
            await self._node.close()

    def _relocate(self) -> None:
        """Take another number: this one is a node's that we had not heard of for a while."""
        if self._relocating is None or self._relocating.done():
            self._relocating = asyncio.ensure_future(self._take_another_number())

    async def _take_another_number(self) -> None:
        if self._node is not None:
            await self._node.close()  # and kept until there is another: 0 is everybody's
        while True:
            try:
                self._node = await self._lease_node(None)
                break
            except OSError as error:
                logger.error("no other node number yet: %s", error)
                await asyncio.sleep(_LEASE_AGAIN)
        logger.error("this node has number %d now; its workers are replaced", self._node.number)
        self._roll()

    def _signals(self) -> dict[int, Callable[[], None]]:
        return {
            signal.SIGINT: self._stop,
            signal.SIGTERM: self._stop,
            signal.SIGHUP: self._roll,
        }

    async def _keep(self) -> int:
        """Start the workers, the first one alone: what it cannot do, none can."""
        if self._stopping.is_set():
            return 0
        first = self._slots[0].worker = self._spawn(self._slots[0])
        await self._until_settled(first)
        if first.code is not None and not self._stopping.is_set():
            return first.code if first.code > 0 else 1
        self._has_served = True
        for slot in self._slots[1:]:
            if not self._stopping.is_set():
                self._start(slot)
        for worker in [slot.worker for slot in self._slots if slot.worker is not None]:
            await self._until_settled(worker)
        if not self._stopping.is_set():
            if self._on_start is not None and first.url is not None:
                self._on_start(first.url)
            notify("READY=1")
        await self._stopping.wait()
        notify("STOPPING=1")
        return 0

    # --- one worker -------------------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        """Start a worker in a slot; when the system has none, again later."""
        slot.restart = None
        try:
            slot.worker = self._spawn(slot)
        except OSError as error:
            when = self._start_later(slot)
            logger.error("%s; the next attempt is made %s", error.strerror, when)
            self._tell_health()

    def _start_later(self, slot: Slot) -> str:
        """Start a worker: at once, or later when the last ones have failed soon as well.

        Returns:
            str: when that is, for people.
        """
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0**slot.failures) if slot.failures else 0.0
        slot.failures += 1
        slot.restart = asyncio.get_running_loop().call_later(delay, self._start, slot)
        return f"in {delay:g} seconds" if delay else "now"

    def _spawn(self, slot: Slot) -> Worker:
        listeners = tuple(sock.fileno() for sock in slot.listening.sockets)
        node = self._node.number if self._node is not None else 0
        orders = Orders(
            self._directory, self._hub_path, node, self._broker, self._lifeline, listeners
        )
        worker = Worker(self._command, orders, self._on_end)
        self._workers[worker.pid] = worker
        if self._has_served:
            seconds = max(_START_PATIENCE, _SLOWER * len(self._slots) * self._slowest_start)
            worker.expect(f"serve {seconds:.0f} seconds after its start", seconds)
        return worker

    def _noted(self, pid: int, note: str) -> None:
        worker = self._workers.get(pid)
        if worker is not None and note.startswith(READY):
            loop = asyncio.get_running_loop()
            self._slowest_start = max(self._slowest_start, loop.time() - worker.began)
            worker.is_ready(note.removeprefix(READY))
            self._tell_health()
            loop.call_later(_SHORT_LIFE, self._forgive, worker)

    def _second_passed(self, in_time: bool) -> None:
        """Look who does not do what a worker is there for."""
        if self._stopping.is_set():
            return
        heard = self._hub.heard()
        for worker in self._workers.values():
            if in_time and worker.is_overdue(SECOND):
                self._kill(worker)
            if worker.url is not None and worker.silence.count(worker.pid in heard, in_time):
                self._fell_silent(worker)
        for slot in self._slots:
            if slot.kept is not None and not slot.kept.silence.is_long:
                self._take_back(slot, slot.kept)
            if slot.kept is None and slot.worker is not None and slot.worker.silence.is_long:
                self._stand_in(slot)

    def _fell_silent(self, worker: Worker) -> None:
        for slot in self._slots:
            if slot.worker is worker:
                answers = "another one answers those who connect"
                if slot.kept is not None:
                    answers = f"process {slot.kept.pid} does as well, and some who connect wait"
                logger.error(
                    "worker process %d stands still: it was stopped, or a handler blocks its loop; "
                    "until it goes on, %s. Move what blocks to a thread; if it never ends, kill "
                    "the process",
                    worker.pid,
                    answers,
                )
        self._tell_health()

    def _stand_in(self, slot: Slot) -> None:
        """Start another worker beside one that stands still, on the same listening sockets.

        There is one such for each slot at the most: worker numbers are few.
        """
        slot.kept, slot.worker = slot.worker, None
        self._start(slot)
        self._tell_health()

    def _take_back(self, slot: Slot, kept: Worker) -> None:
        """One that stood still goes on. Of two, the younger drains, which has fewer sockets."""
        other, slot.kept = slot.worker, None
        if other is not None and other.serves and other.began < kept.began:
            logger.warning("worker process %d goes on, and drains", kept.pid)
            self._retire(kept)
            return
        logger.warning("worker process %d goes on, and serves again", kept.pid)
        slot.cancel_restart()
        slot.worker = kept
        if other is not None and other.silence.is_long:
            slot.kept = other  # that stands still now
        elif other is not None:
            self._retire(other)
        self._tell_health()

    def _retire(self, worker: Worker) -> None:
        worker.retire(self._config.drain_timeout + _BEYOND_DRAIN)

    def _kill(self, worker: Worker) -> None:
        logger.error("worker process %d does not %s; it is killed", worker.pid, worker.task)
        worker.task = None
        worker.send_signal(signal.SIGKILL)

    def _left(self, address: int, since: int) -> None:
        """A worker is off the hub: other nodes would notice only after a while."""
        if self._node is not None:
            self._node.tell_ended(address, since)

    def _forgive(self, worker: Worker) -> None:
        """A worker has lived long enough for what was before it to be forgotten."""
        for slot in self._slots:
            if slot.worker is worker and slot.failures:
                slot.failures = 0
                self._tell_health()

    def _tell_health(self) -> None:
        """Tell all workers how the service is, for those who ask one of them."""
        ready = sum(slot.worker is not None and slot.worker.serves for slot in self._slots)
        status = "ok" if ready == len(self._slots) else "degraded"
        if any(slot.failures >= _FAILING for slot in self._slots):
            status = "failing"
        health = {"status": status, "workers": len(self._slots), "ready": ready}
        self._hub.announce(json.dumps({**health, "crashes": self._crashes}))

    async def _until_settled(self, worker: Worker) -> None:
        """Wait until a worker serves or has ended, or all are to stop."""
        await first_of(worker.changed.wait(), self._stopping.wait())

    def _on_end(self, worker: Worker) -> None:
        del self._workers[worker.pid]
        self._hub.drop(worker.pid)
        self._ended.set()
        for slot in self._slots:
            if slot.worker is worker:
                slot.worker = None
                self._replace_dead(slot, worker)
            elif slot.kept is worker:
                slot.kept = None
                logger.error(
                    "worker process %d, which stood still, ended %s",
                    worker.pid,
                    describe_exit(worker.code or 0),
                )

    def _replace_dead(self, slot: Slot, worker: Worker) -> None:
        """Start a successor."""
        if self._stopping.is_set() or not self._has_served:
            return
        self._crashes += 1
        logger.error(
            "worker process %d ended %s; another one is started %s",
            worker.pid,
            describe_exit(worker.code or 0),
            self._start_later(slot),
        )
        self._tell_health()

    # --- all of them ------------------------------------------------------------------------

    def _stop(self) -> None:
        """Drain; the second time, hurry."""
        number = HURRY if self._stopping.is_set() else signal.SIGTERM
        self._stopping.set()
        for slot in self._slots:
            slot.cancel_restart()
        for worker in self._workers.values():
            worker.send_signal(number)

    def _roll(self) -> None:
        """Replace every worker, one after the other."""
        if self._rolling is not None and not self._rolling.done():
            self._roll_again = True
        elif self._has_served and not self._stopping.is_set():
            self._rolling = asyncio.ensure_future(self._replace_all())

    async def _replace_all(self) -> None:
        self._roll_again = True
        while self._roll_again and not self._stopping.is_set():
            self._roll_again = False
            logger.info("replacing all workers")
            retired: list[Worker] = []
            for slot in self._slots:
                if not await self._replace(slot, retired):
                    break
            else:
                logger.info("all workers are replaced; the old ones drain")
            # Their numbers are free again before the next round needs some.
            while any(worker.code is None for worker in retired):
                self._ended.clear()
                await self._ended.wait()

    async def _replace(self, slot: Slot, retired: list[Worker]) -> bool:
        """Put a new worker beside the current one, and let that drain once the new one serves."""
        try:
            worker = self._spawn(slot)
        except OSError as error:
            logger.error("%s; the old ones go on until SIGHUP is sent again", error.strerror)
            return False
        await self._until_settled(worker)
        if self._stopping.is_set():
            return False
        if worker.code is not None:
            logger.error(
                "the new worker ended %s; the old ones go on until SIGHUP is sent again",
                describe_exit(worker.code),
            )
            return False
        slot.cancel_restart()
        old, slot.worker, slot.failures = slot.worker, worker, 0
        self._tell_health()
        for each in (old, slot.kept):
            if each is not None:
                retired.append(each)
                self._retire(each)
        slot.kept = None
        return True

    async def _end_all(self) -> None:
        """Wait for the workers to drain, and end those that do not."""
        if self._rolling is not None:
            self._rolling.cancel()
            await asyncio.wait([self._rolling])
        if not self._stopping.is_set():
            self._stop()
        try:
            async with asyncio.timeout(self._config.drain_timeout + _BEYOND_DRAIN):
                await self._until_none_is_left()
        except TimeoutError:
            for worker in self._workers.values():
                worker.expect("stop", 0)
                self._kill(worker)
            await self._until_none_is_left()

    async def _until_none_is_left(self) -> None:
        while self._workers:
            self._ended.clear()
            await self._ended.wait()

    def _close_listening(self) -> None:
        for listening in {id(slot.listening): slot.listening for slot in self._slots}.values():
            listening.close()


async def supervise(config: ServerConfig, on_start: Callable[[str], None] | None = None) -> int:
    """Serve with several workers, each of them this same command run once more.

    Args:
        config: with `workers` above 1, or with `bus`.
        on_start: called with the address once all workers have started.

    Returns:
        int: the exit code.

    Raises:
        OSError: when the address, or the hub's, cannot be had.
        ValueError: when `bus` is none.
    """
    command = [sys.executable, *sys.orig_argv[1:]]
    return await Supervisor(config, command, on_start).run()


async def first_of(*awaitables: Awaitable[object]) -> None:
    """Wait until one is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
