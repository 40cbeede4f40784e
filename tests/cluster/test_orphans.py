"""Disconnect handlers of sockets whose worker was killed, and presence: real workers."""

import os
import random
import re
import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.cluster.workers import Visitor, children, one_of_each, service
from tests.faults.service import Clients, Service, wait_until
from wsgroups.ids import SEQUENCE_BITS

WORKERS = 4
TARGET = "tests.cluster.guarded"


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where supervisors make their directories, for these tests alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def begun(workers: int = WORKERS) -> Service:
    return service(workers, target=TARGET)


class Gone:
    """What the workers have written down of closed sockets: (process, group, status, code)."""

    def __init__(self, running: Service) -> None:
        found = re.findall(r"^gone (\d+) (\d+) (\w+) (\w+) (\d+)$", running.output, re.MULTILINE)
        self.times = Counter(int(id) for id, *_ in found)
        self.of = {int(id): (int(pid), *rest) for id, pid, *rest in found}


def visit(clients: Clients, group: str, count: int) -> list[Visitor]:
    """Return so many visitors, wherever they come to."""
    peers = clients.open_many(count, f"/ws/{group}")
    clients.until(lambda: all(peer.messages for peer in peers))
    return settled(clients, [Visitor(clients, group, peer) for peer in peers])


def settled(clients: Clients, visitors: list[Visitor]) -> list[Visitor]:
    """Wait until their guardians are told of them, which is two turns of the loop after they came.

    A worker that is killed before takes its newest sockets with it.
    """
    for _ in range(3):
        clients.ask_all([visitor.peer for visitor in visitors])
    for visitor in visitors:
        visitor.peer.messages.clear()
    return visitors


def by_worker(visitors: Iterable[Visitor]) -> dict[int, list[Visitor]]:
    """Sort visitors by the process that they have come to."""
    found: dict[int, list[Visitor]] = {}
    for visitor in visitors:
        found.setdefault(visitor.pid, []).append(visitor)
    return found


def until_gone(running: Service, clients: Clients, visitors: Iterable[Visitor]) -> None:
    ids = {visitor.id for visitor in visitors}
    clients.until(lambda: ids <= Gone(running).times.keys())


def stop(running: Service, clients: Clients) -> None:
    """End the service as is usual, and wait until all sockets are closed."""
    running.send_signal(signal.SIGTERM)
    clients.until(lambda: not running.is_running)
    assert running.wait() == 0


# --- orphans --------------------------------------------------------------------------------


def test_each_socket_of_a_killed_worker_has_one_disconnect_in_another() -> None:
    with begun() as running, Clients(running.port) as clients:
        guarded = visit(clients, "guarded", 300)
        later = visit(clients, "later", 100)
        plain = visit(clients, "plain", 100)
        everybody = [*guarded, *later, *plain]
        workers = by_worker(everybody)
        assert len(workers) == WORKERS
        closed = guarded[::10]
        for visitor in closed:
            clients.close(visitor.peer)
        until_gone(running, clients, closed)
        for visitor in everybody:
            if visitor not in closed:
                visitor.peer.send("under load")
        victim = guarded[1].pid
        os.kill(victim, signal.SIGKILL)
        lost = [v for v in (*guarded, *later) if v.pid == victim and v not in closed]
        assert len(lost) > 20
        until_gone(running, clients, lost)
        gone = Gone(running)
        for visitor in lost:
            pid, group, status, code = gone.of[visitor.id]
            assert pid in workers.keys() - {victim}
            assert group in ("guarded", "later")
            assert (status, code) == ("CLOSED", "1006")
        assert len({gone.of[visitor.id][0] for visitor in lost}) == 1
        stop(running, clients)
        times = Gone(running).times
        expected = [v for v in everybody if v not in plain or v.pid != victim]
        assert times == Counter(visitor.id for visitor in expected)


def test_when_the_guardian_is_killed_first_the_next_one_acts() -> None:
    with begun() as running, Clients(running.port) as clients:
        visitors = visit(clients, "guarded", 200)
        workers = by_worker(visitors)
        pids = {v[0].worker: pid for pid, v in workers.items()}
        assert sorted(pids) == [0, 1, 2, 3]
        first, guardian = pids[1], pids[2]  # the next one guards
        os.kill(guardian, signal.SIGKILL)
        until_gone(running, clients, workers[guardian])
        os.kill(first, signal.SIGKILL)
        until_gone(running, clients, workers[first])
        stop(running, clients)
        gone = Gone(running)
        assert gone.times == Counter(visitor.id for visitor in visitors)
        assert {gone.of[v.id][3] for v in (*workers[first], *workers[guardian])} == {"1006"}
        others = workers.keys() - {first, guardian}
        assert {gone.of[v.id][3] for pid in others for v in workers[pid]} == {"1001"}


def until_replaced(running: Service, pid: int) -> None:
    """Wait until another worker has been started in the place of one."""

    def is_replaced() -> bool:
        there = children(running.pid)
        return pid not in there and len(there) == WORKERS

    wait_until(is_replaced)


def test_killed_again_and_again_while_sockets_come_and_go_none_has_two() -> None:
    with begun() as running, Clients(running.port) as clients:
        chance = random.Random(3)
        everybody: list[Visitor] = []
        sure: set[int] = set()  # were open when their worker was killed, or closed before
        for _ in range(6):
            visitors = visit(clients, "guarded", 60)
            everybody += visitors
            leaving = set(chance.sample(range(len(visitors)), 20))
            victim = chance.choice(sorted(children(running.pid)))
            for number in leaving:
                visitors[number].peer.send_bytes(b"\x88\x80\0\0\0\0")  # an empty Close frame
            os.kill(victim, signal.SIGKILL)
            staying = [v for n, v in enumerate(visitors) if n not in leaving and v.pid == victim]
            until_gone(running, clients, staying)
            sure |= {visitor.id for visitor in staying}
            until_replaced(running, victim)
        stop(running, clients)
        times = Gone(running).times
        assert set(times.values()) == {1}
        assert sure <= times.keys() <= {visitor.id for visitor in everybody}
        # Only those that closed in the very moment of the kill may be missing.
        assert len(times) > len(everybody) - 40


def test_workers_that_stop_or_are_replaced_leave_no_orphans() -> None:
    with begun(3) as running, Clients(running.port) as clients:
        before = children(running.pid)
        visitors = visit(clients, "guarded", 90)
        workers = by_worker(visitors)
        running.send_signal(signal.SIGHUP)
        until_gone(running, clients, visitors)
        wait_until(lambda: not before & children(running.pid))
        newcomers = visit(clients, "guarded", 30)
        stop(running, clients)
        gone = Gone(running)
        assert gone.times == Counter(visitor.id for visitor in (*visitors, *newcomers))
        for pid, members in workers.items():
            assert {gone.of[v.id] for v in members} == {(pid, "guarded", "CLOSED", "1001")}


def test_what_an_orphans_handler_raises_goes_to_the_error_handler() -> None:
    with begun(2) as running, Clients(running.port) as clients:
        first, second = settled(clients, one_of_each(clients, "failing", 2))
        os.kill(first.pid, signal.SIGKILL)
        line = f"failed {first.id} {second.pid} failing CLOSED 1006 a slip"
        clients.until(lambda: line in running.output)
        stop(running, clients)
        assert "group 'failing': 1 socket is lost with its worker" in running.output
        assert running.output.count(f"socket {first.id} of group 'failing': handler failed") == 1
        assert running.output.count(f"failed {first.id} ") == 1
        assert running.output.count(f"failed {second.id} {second.pid} failing CLOSED 1001") == 1


def test_when_the_supervisor_is_killed_each_worker_speaks_for_its_own_sockets() -> None:
    with begun(3) as running, Clients(running.port) as clients:
        visitors = visit(clients, "guarded", 60)
        pids = children(running.pid)
        running.send_signal(signal.SIGKILL)
        clients.until(lambda: all(visitor.peer.ended for visitor in visitors))
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        gone = Gone(running)
        assert gone.times == Counter(visitor.id for visitor in visitors)
        assert all(gone.of[v.id][0] == v.pid for v in visitors)


# --- presence -------------------------------------------------------------------------------


def events(running: Service, id: int) -> dict[int, list[str]]:
    """Return what each process has written down of a socket, in order."""
    found: dict[int, list[str]] = {}
    for pid, rest in re.findall(rf"^presence (\d+) {id} (.*)$", running.output, re.MULTILINE):
        found.setdefault(int(pid), []).append(rest)
    return found


def until_heard(running: Service, clients: Clients, id: int, count: int) -> None:
    """Wait until three processes have heard of so much of a socket."""
    clients.until(lambda: [len(e) for e in events(running, id).values()] == [count] * 3)


def test_every_worker_hears_of_everybody() -> None:
    with begun(3) as running, Clients(running.port) as clients:
        members = one_of_each(clients, "lobby", 3)
        pids = {member.pid for member in members}
        for member in members:
            member.peer.send("+chess:1 +go:1 -chess:1")
            until_heard(running, clients, member.id, 3)
            clients.close(member.peer)
            until_heard(running, clients, member.id, 4)
            heard = events(running, member.id)
            assert heard.keys() == pids
            for pid, lines in heard.items():
                here = pid == member.pid
                in_group = [line for line in lines if "lobby" in line]
                in_room = [line for line in lines if "chess" in line]
                assert in_group == [f"join lobby None {here}", f"leave lobby None {here}"]
                assert in_room == [f"join None chess:1 {here}", f"leave None chess:1 {here}"]
        stop(running, clients)
        for member in members:
            assert [len(lines) for lines in events(running, member.id).values()] == [4] * 3


def test_the_order_of_each_socket_is_kept_everywhere() -> None:
    chance = random.Random(11)
    with begun(3) as running, Clients(running.port) as clients:
        members = one_of_each(clients, "lobby", 3)
        expected: dict[int, list[str]] = {member.id: [] for member in members}
        for _ in range(60):
            for member in members:
                words = []
                for room in chance.sample([f"chess:{n}" for n in range(5)], 3):
                    words += [f"+{room}", f"-{room}"] if chance.random() < 0.8 else []
                    expected[member.id] += [f"{k} None {room}" for k in ("join", "leave")] * bool(
                        words and words[-1] == f"-{room}"
                    )
                member.peer.send(" ".join(words))

        def rooms(id: int) -> list[list[str]]:
            found = events(running, id)
            return [
                [line.rpartition(" ")[0] for line in lines if "chess" in line]
                for lines in found.values()
            ]

        assert all(len(wanted) > 100 for wanted in expected.values())
        clients.until(lambda: all(rooms(id) == [wanted] * 3 for id, wanted in expected.items()))


def test_the_members_of_a_killed_worker_leave() -> None:
    with begun(3) as running, Clients(running.port) as clients:
        members = settled(clients, one_of_each(clients, "lobby", 3))
        more = visit(clients, "lobby", 60)
        for member in (*members, *more):
            member.peer.messages.clear()
            member.peer.send("+chess:1 +chess:2 +go:1 -chess:2")
        clients.until(lambda: all(member.peer.messages for member in (*members, *more)))
        settled(clients, [*members, *more])
        victim = members[1].pid
        survivors = {member.pid for member in members} - {victim}
        lost = [member for member in (*members, *more) if member.pid == victim]
        os.kill(victim, signal.SIGKILL)
        wanted = ["leave None chess:1 False", "leave lobby None False"]

        def have_left() -> bool:
            heard = [events(running, member.id) for member in lost]
            return all(
                sorted(line for line in each.get(pid, []) if line in wanted) == wanted
                for each in heard
                for pid in survivors
            )

        clients.until(have_left)
        stop(running, clients)
        assert have_left()
        for member in lost:
            heard = events(running, member.id)
            assert all(len(heard[pid]) == 6 for pid in survivors)
        assert {id >> SEQUENCE_BITS for id in (m.id for m in lost)} == {members[1].worker}
