"""CPU and memory of a broker: what each message, subscription and connection adds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.proc import CpuClock, read_cpu, read_memory
from wsgroups.cluster.letters import HEAD_SIZE, Kind, Letter, encode

from .brokers import Broker
from .costs import LARGE, SMALL, BrokerCosts, Pace, Passing, Price, Sample
from .wires import ANSWER, Crowd, Wire, settle

Say = Callable[[str], None]

TOGETHER = 100  # messages on their way at a time
SUBSCRIBERS = 0, 1, 10, 100
RUNS = 5  # the least counts: what disturbs only adds
CONNECTIONS = 500
SUBSCRIPTIONS = 100_000
SUBJECT = f"wsgroups.on.{0:040x}"
PAGE = 4096


def measure_broker(
    name: str,
    broker: Broker,
    wire: Wire,
    clients: dict[str, Passing],
    paces: tuple[Pace, ...],
    interest: float,
    say: Say,
) -> BrokerCosts:
    """Return all costs of a broker that nobody has talked to yet.

    Args:
        name: and version.
        broker: the running one.
        wire: its protocol.
        clients: what its client costs, `together` and `alone`; their broker part is not looked at.
        paces: what was measured between these.
        interest: bytes of a subscription in the client.
        say: called with a line for each part.
    """
    base = float(read_memory(broker.pid).resident)
    say("memory of connections")
    connection = measure_connections(broker, wire)
    say("subscriptions")
    subscriptions = measure_subscriptions(broker, wire)
    samples = _sampled(broker, wire, say)
    return BrokerCosts(
        name,
        together=_passing(samples, "together", clients["together"]),
        alone=_passing(samples, "alone", clients["alone"]),
        paces=paces,
        **subscriptions,
        connection_bytes=connection,
        base_bytes=base,
        interest_bytes=interest,
        samples=samples,
    )


def make_letter(size: int) -> bytes:
    """Return a message between workers, of so many bytes with its head."""
    body = b"x" * (size - HEAD_SIZE)
    return encode(Letter(Kind.MESSAGE, 5, 7, 1, 1, 0, 1, body), LARGE)[0]


def in_new_process(work: Callable[..., float], *arguments: object) -> float:
    """Return what a function of a module returns in a process that has freed no memory yet."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def resident() -> int:
    """Return the bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


# --- messages -------------------------------------------------------------------------------


def _sampled(broker: Broker, wire: Wire, say: Say) -> tuple[Sample, ...]:
    found: list[Sample] = []
    for way, window in (("together", TOGETHER), ("alone", 1)):
        for size in (SMALL, LARGE):
            for count in SUBSCRIBERS:
                say(f"messages {way}, {size} bytes, {count} subscribers")
                runs = [measure_message(broker, wire, window, count, size) for _ in range(RUNS)]
                found.append(Sample(way, size, count, min(runs)))
    return tuple(found)


def _passing(samples: tuple[Sample, ...], way: str, client: Passing) -> Passing:
    """Divide what a message costs into what comes and what goes.

    What comes is what a message costs that nobody gets, or one at most; the rest of one that many
    get is theirs.
    """
    cpu = {(one.size, one.subscribers): one.cpu for one in samples if one.way == way}
    publish = [min(cpu[size, 0], cpu[size, 1]) for size in (SMALL, LARGE)]
    many = SUBSCRIBERS[-1]
    deliver = [
        (cpu[size, many] - coming) / many
        for size, coming in zip((SMALL, LARGE), publish, strict=True)
    ]
    return Passing(Price(*publish), Price(*deliver), client.send, client.receive)


def measure_message(broker: Broker, wire: Wire, window: int, subscribers: int, size: int) -> float:
    """Return the broker's CPU µs for a published message.

    Args:
        broker: the running one.
        wire: its protocol.
        window: messages on their way at a time.
        subscribers: who get each. Nobody: then the publisher asks for an answer, whose cost is in.
        size: bytes of the payload.
    """
    payload = b"x" * size
    batch = wire.publish(SUBJECT, payload) * window
    awaited = len(wire.delivered(SUBJECT, 1, payload)) * window * subscribers
    rounds = max(8, 20_000 // (window * (subscribers + 5)))
    with Crowd(broker, wire, subscribers) as crowd, Crowd(broker, wire, 1) as publisher:
        for sock in crowd.sockets:
            sock.sendall(wire.subscribe(SUBJECT, 1))
        crowd.settle()

        def play(count: int) -> None:
            for _ in range(count):
                if subscribers:
                    publisher.sockets[0].sendall(batch)
                    crowd.read(awaited)
                else:
                    settle(publisher.sockets[0], wire, batch)

        play(max(2, rounds // 10))
        spent = _cpu(broker, lambda: play(rounds))
    return spent * 1e6 / (rounds * window)


def _cpu(broker: Broker, work: Callable[[], None]) -> float:
    before: CpuClock = read_cpu(broker.pid)
    work()
    return read_cpu(broker.pid).since(before).seconds


# --- connections and subscriptions ------------------------------------------------------------


def measure_connections(broker: Broker, wire: Wire) -> float:
    """Return the broker's bytes for a connection that has subscribed and said something."""
    before = read_memory(broker.pid).resident
    with Crowd(broker, wire, CONNECTIONS) as crowd:
        crowd.settle()
        return (read_memory(broker.pid).resident - before) / CONNECTIONS


def measure_subscriptions(broker: Broker, wire: Wire) -> dict[str, float]:
    """Return CPU and memory of subscriptions, under the names that `BrokerCosts` has for them."""
    subjects = [f"wsgroups.on.{number:040x}" for number in range(SUBSCRIPTIONS)]
    asking = b"".join(wire.subscribe(each, at) for at, each in enumerate(subjects, 1))
    leaving = b"".join(wire.unsubscribe(each, at) for at, each in enumerate(subjects, 1))
    with Crowd(broker, wire, 3) as crowd:
        crowd.settle()
        at_first = read_memory(broker.pid).resident
        subscribe = _cpu(broker, lambda: _ask(crowd, 0, asking))
        with_subjects = read_memory(broker.pid).resident
        _ask(crowd, 1, asking)
        _ask(crowd, 2, asking)
        with_more = read_memory(broker.pid).resident
        unsubscribe = _cpu(broker, lambda: _ask(crowd, 2, leaving))
    return {
        "subscribe": subscribe * 1e6 / SUBSCRIPTIONS,
        "unsubscribe": unsubscribe * 1e6 / SUBSCRIPTIONS,
        "subject_bytes": (with_subjects - at_first) / SUBSCRIPTIONS,
        "subscription_bytes": (with_more - with_subjects) / (2 * SUBSCRIPTIONS),
    }


def _ask(crowd: Crowd, which: int, words: bytes) -> None:
    """Say much on one connection while its answers are read, until all of it is in force."""
    sock = crowd.sockets[which]
    rest, tail = memoryview(words + crowd.wire.question), b""
    sock.setblocking(False)
    try:
        while ANSWER not in tail.lower():
            with contextlib.suppress(BlockingIOError):
                if rest:
                    rest = rest[sock.send(rest[: 1 << 16]) :]
            with contextlib.suppress(BlockingIOError):
                tail = tail[-len(ANSWER) :] + sock.recv(1 << 18)
    finally:
        sock.setblocking(True)
