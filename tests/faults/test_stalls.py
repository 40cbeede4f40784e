"""A process that stands still, a loop that is blocked, clocks that jump: nobody is disconnected."""

import re
import time
from pathlib import Path

import pytest

import wsgroups
from tests.faults.service import Clients, Peer, Service
from tests.faults.shim import Shim
from tests.support import PONG, frame

# A peer that says nothing is given up after a second.
QUICK = {"ping_interval": 0.5, "ping_timeout": 0.5}
LOOPS = ["asyncio", "uvloop"]
PACKAGE = Path(wsgroups.__file__).parent


@pytest.mark.parametrize("loop", LOOPS)
def test_a_process_that_was_stopped_disconnects_nobody_who_answers(loop: str) -> None:
    with Service({"loop": loop, "policy": QUICK}) as service, Clients(service.port) as clients:
        living = clients.open_many(50)
        clients.until(lambda: all(peer.pings for peer in living))
        dead = clients.open_many(10, answers_pings=False, answers_close=False)
        service.stop_for(2.5)
        clients.until(lambda: all(peer.code for peer in dead), patience=5)
        assert {peer.code for peer in dead} == {1011}
        clients.ask_all(living)
        before = [peer.pings for peer in living]
        clients.until(lambda: all(p.pings > n for p, n in zip(living, before, strict=True)))
        clients.ask_all(living)
        assert service.stats()["members"]["room"] == 50


@pytest.mark.parametrize("loop", LOOPS)
def test_a_handler_that_blocks_the_loop_costs_nobody_the_connection(loop: str) -> None:
    with Service({"loop": loop, "policy": QUICK}) as service, Clients(service.port) as clients:
        peers = clients.open_many(50)
        blocker = clients.open()
        clients.until(lambda: all(peer.pings for peer in peers))
        blocker.send("block 2.3")
        late = [clients.begin() for _ in range(10)]
        for peer in peers:
            for number in range(20):
                peer.send(str(number))
        clients.until(lambda: all(peer.count == 20 or not peer.is_open for peer in peers))
        assert all(peer.is_open for peer in peers)
        assert [peer.messages for peer in peers] == [[b"%d" % n for n in range(20)]] * 50
        clients.until(lambda: all(peer.status == 101 for peer in late))
        for peer in peers:
            peer.pings = 0
        clients.until(lambda: all(peer.pings for peer in peers))
        clients.ask_all([*peers, *late, blocker])


# In a stall of any length, answers to pings may be there in time and not be read before somebody
# looks at the clock.


def answer(peers: list[Peer]) -> None:
    """Answer the ping that each has, and all later ones."""
    for peer in peers:
        peer.send_bytes(frame(PONG))
        peer.answers_pings = True


def unanswered(clients: Clients) -> list[Peer]:
    """Return clients that have just got a ping."""
    peers = clients.open_many(30, answers_pings=False)
    clients.until(lambda: all(peer.pings for peer in peers))
    assert all(peer.is_open for peer in peers)
    return peers


@pytest.mark.parametrize("loop", LOOPS)
def test_an_answer_that_came_while_the_process_was_stopped_counts(loop: str) -> None:
    with Service({"loop": loop, "policy": QUICK}) as service, Clients(service.port) as clients:
        peers = unanswered(clients)
        with service.stopped():
            answer(peers)
            time.sleep(1.2)
        clients.ask_all(peers)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_answer_that_came_while_a_handler_blocked_the_loop_counts(loop: str) -> None:
    with Service({"loop": loop, "policy": QUICK}) as service, Clients(service.port) as clients:
        blocker = clients.open()
        peers = unanswered(clients)
        blocker.send("block 1.2")
        service.wait_for("(blocks)")
        answer(peers)
        clients.ask_all(peers)


# --- clocks -----------------------------------------------------------------------------------

HOUR, YEAR = 3600, 365 * 86400


def test_a_wall_clock_that_jumps_disturbs_nobody(tmp_path: Path) -> None:
    shim = Shim(tmp_path)
    with (
        shim.control() as control,
        Service({"policy": QUICK}, environment=shim.environment) as service,
        Clients(service.port) as clients,
    ):
        peers = clients.open_many(30)
        real = service.stats()["time"]
        for jump in (1, -1, HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 0):
            control.clock = jump
            assert abs(service.stats()["time"] - real - jump) < 60
            before = service.cpu()
            for peer in peers:
                peer.pings = 0
            clients.ask_all(peers)
            clients.until(lambda: all(peer.pings for peer in peers))
            assert service.cpu() - before < 0.3, "no storm of timers"
            newcomer = clients.open()
            clients.ask(newcomer)
            clients.close(newcomer)
        assert all(peer.is_open for peer in peers)


# The only places that may know what time of day it is: ids begin with it, responses name it.
_WALL_CLOCK = {
    "wsgroups/ids.py": "time.time_ns",
    "wsgroups/connection/wire.py": "time.time(",
    "wsgroups/surface/session.py": "datetime.now(",  # told to the application, and not used
}
_READS_IT = re.compile(
    r"\btime\.time(?:_ns)?\b\(?|CLOCK_REALTIME|gettimeofday|datetime\.(?:utc)?now\(|localtime"
)


def test_only_ids_and_the_date_header_look_at_the_wall_clock() -> None:
    found = {}
    for file in sorted(PACKAGE.rglob("*.p*")):
        if file.suffix in (".py", ".pyx", ".pxd"):
            for reading in _READS_IT.findall(file.read_text()):
                found[str(file.relative_to(PACKAGE.parent))] = reading
    assert found == _WALL_CLOCK
