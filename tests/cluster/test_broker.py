"""Brokers that go away: what is lost is counted, what is not lost comes once and in order."""

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.cluster.brokers import BROKERS, Broker, Nats
from tests.cluster.conftest import Join
from tests.cluster.recording import Recorder
from tests.support import PATIENCE, soon, turns, until
from wsgroups.cluster import broker as broker_module
from wsgroups.cluster import keeper as keeper_module
from wsgroups.cluster import neighbours as neighbours_module
from wsgroups.cluster import session as session_module
from wsgroups.cluster.broker import BrokerBus
from wsgroups.cluster.bus import OUTBOX_LIMIT, AddressTakenError, visitor_address
from wsgroups.cluster.counting import Following
from wsgroups.cluster.kinds import open_bus, session_of
from wsgroups.cluster.letters import Kind, Letter, Presence, decode, encode, encode_presence
from wsgroups.cluster.session import Session

AWAY = float(os.environ.get("OUTAGE_SECONDS", "1"))
RESTARTS = 20


async def connected(*buses: BrokerBus) -> None:
    await until(lambda: all(bus.is_connected for bus in buses))


def numbers(recorder: Recorder, channel: bytes | None) -> list[int]:
    return [int(data) for name, data in recorder.got if name == channel]


async def test_what_a_restart_loses_is_told_exactly(broker: Broker, join: Join) -> None:
    """20 times: killed in the middle of messages by address and on a channel."""
    a, _from_a = await join(1)
    b, from_b = await join(2)
    b.subscribe(b"c")
    await soon(b.sync())
    sent = 0
    a.publish(b"c", b"0")  # a channel's count is known from the first message on that comes
    await soon(a.sync())

    async def talk() -> None:
        nonlocal sent
        while True:
            sent += 1
            a.send(2, b"%d" % sent)
            a.publish(b"c", b"%d" % sent)
            if sent % 50 == 0:
                await asyncio.sleep(0.001)

    talking = asyncio.ensure_future(talk())
    for _ in range(RESTARTS):
        before = sent
        await until(lambda before=before: sent > before + 500)
        await broker.restart()
        await connected(a, b)
    talking.cancel()
    # What was lost last is told by tails.
    await until(lambda: len(from_b.got) + from_b.lost == 2 * sent + 1)
    for channel in (None, b"c"):
        got = numbers(from_b, channel)
        assert got == sorted(set(got)), "twice, or in another order"
        assert len(got) > 0.2 * sent
    await until(lambda: a.backlog == 0)


async def test_while_it_is_away_the_newest_wait_and_all_lost_are_told(
    broker: Broker, join: Join
) -> None:
    a, from_a = await join(1)
    b, from_b = await join(2)
    c, from_c = await join(3)
    for bus in (b, c):
        bus.subscribe(b"c")
        await soon(bus.sync())
    a.send(2, b"0")
    a.publish(b"c", b"0")
    await soon(a.sync())
    await until(lambda: len(from_b.got) == 2 and len(from_c.got) == 1)
    broker.kill()
    await until(lambda: not a.is_connected)
    padding, sent = b"%1000d", 20_000
    for i in range(1, sent + 1):
        a.send(2, padding % i)
        a.publish(b"c", padding % i)
        if i % 1000 == 0:
            await asyncio.sleep(0)
    assert a.backlog == 0  # it is no use to wait
    assert a._writer.size <= OUTBOX_LIMIT
    assert a.peers.known.keys() == {2, 3}  # as far as anybody knows
    await asyncio.sleep(AWAY)
    await broker.restart()
    await connected(a, b, c)
    for recorder, total in ((from_b, 2 * sent + 2), (from_c, sent + 1)):
        await until(lambda r=recorder, total=total: len(r.got) + r.lost == total)
        got = numbers(recorder, b"c")
        assert got == sorted(set(got))
        assert recorder.lost > 0
    await until(lambda: from_a.lost == a.dropped > 0)


def test_the_times_add_up_to_what_is_promised() -> None:
    """A broker that answers nothing is noticed within 10 seconds, one that is back within 2."""
    assert 1.2 * keeper_module.BEAT + session_module._ANSWER_WITHIN + 1.0 < 10.0
    assert 1.25 * keeper_module._LONGEST_DELAY + 0.5 < 2.0


async def test_a_broker_that_answers_nothing_is_noticed(
    broker: Broker, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "BEAT", 0.2)
    monkeypatch.setattr(session_module, "_ANSWER_WITHIN", 0.6)
    a, _ = await join(1)
    broker.freeze()
    await until(lambda: not a.is_connected)
    broker.thaw()
    await connected(a)


async def test_it_is_noticed_in_the_middle_of_a_large_message_too(
    broker: Broker, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "BEAT", 0.2)
    monkeypatch.setattr(session_module, "_ANSWER_WITHIN", 0.6)
    a, _ = await join(1)
    b, from_b = await join(2)
    await until(lambda: a.peers.known)
    broker.freeze()
    a.send(2, bytes(16 << 20))  # more than lies between us and the broker
    await until(lambda: not a.is_connected and not b.is_connected)
    broker.thaw()
    await connected(a, b)
    a.send(2, b"1")
    await until(lambda: (None, b"1") in from_b.got)


async def test_a_start_that_is_cancelled_leaves_nothing(broker: Broker) -> None:
    bus = open_bus(broker.url, 1)
    assert isinstance(bus, BrokerBus)
    bus._patience = PATIENCE
    starting = asyncio.ensure_future(bus.start(Recorder()))
    await until(lambda: bus.is_connected)
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    assert not bus.is_connected
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_blocked_loop_is_no_broker_that_is_away(
    broker: Broker, join: Join, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper_module, "BEAT", 0.1)
    monkeypatch.setattr(session_module, "_ANSWER_WITHIN", 0.3)
    monkeypatch.setattr(neighbours_module, "GONE_AFTER", 0.5)
    a, _from_a = await join(1)
    _b, from_b = await join(2)
    await until(lambda: a.peers.known.keys() == {2})
    for _ in range(3):
        time.sleep(0.9)
        await asyncio.sleep(0.4)
    a.send(2, b"1")
    await soon(a.sync())
    await until(lambda: from_b.got == [(None, b"1")])
    assert a.peers.known.keys() == {2}
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_who_says_nothing_any_more_is_gone_and_may_come_back(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "BEAT", 0.1)
    monkeypatch.setattr(neighbours_module, "GONE_AFTER", 0.5)
    a, _from_a = await join(1, 10)
    b, from_b = await join(2, 20)
    a.send(2, b"1")
    await until(lambda: from_b.got == [(None, b"1")])
    session = b._writer.session
    assert session is not None
    # Its connection ends, and it does not come back for a while.
    opened = b._keeper._open_session
    gate = asyncio.Event()

    async def later(*args: object) -> object:
        await gate.wait()
        return await opened(*args)  # type: ignore[arg-type]

    b._keeper._open_session = later  # type: ignore[assignment]
    await session.close()
    await until(lambda: a.peers.known == {})
    a.send(2, b"2")
    await soon(a.sync())
    gate.set()
    await until(lambda: a.peers.known == {2: 20})
    await until(lambda: from_b.lost == 1)
    a.send(2, b"3")
    await until(lambda: from_b.got == [(None, b"1"), (None, b"3")])


async def test_who_was_away_for_long_is_told_what_was_published_meanwhile(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "BEAT", 0.1)
    monkeypatch.setattr(neighbours_module, "GONE_AFTER", 0.5)
    monkeypatch.setattr(broker_module, "_LOOK_BACK", 0.1)
    a, _from_a = await join(1, 10)
    b, from_b = await join(2, 20)
    b.subscribe(b"c")
    await soon(b.sync())
    a.publish(b"c", b"1")
    await until(lambda: from_b.got == [(b"c", b"1")])
    assert b._writer.session is not None
    opened, gate = b._keeper._open_session, asyncio.Event()

    async def later(*args: object) -> object:
        await gate.wait()
        return await opened(*args)  # type: ignore[arg-type]

    b._keeper._open_session = later  # type: ignore[assignment]
    await b._writer.session.close()
    await until(lambda: a.peers.known == {})
    a.publish(b"c", b"2")
    await soon(a.sync())
    await asyncio.sleep(0.3)
    gate.set()
    await until(lambda: from_b.lost == 1)


async def test_nothing_that_has_waited_is_lost_for_what_tells_of_losses(
    broker: Broker, join: Join
) -> None:
    a, _ = await join(1)
    b, from_b = await join(2)
    for number in range(200):
        a.publish(b"%d" % number, b"")
    await soon(a.sync())
    await until(lambda: a.peers.known and b.peers.known)
    broker.kill()
    await until(lambda: not a.is_connected and not b.is_connected)
    a._writer._outbox._limit = 50 * 1000
    for _ in range(50):
        a.send(2, bytes(1000 - 64))
    assert a.dropped == 0
    assert a._writer.size == a._writer._outbox._limit
    await broker.restart()
    await connected(a, b)
    await until(lambda: len(from_b.got) == 50)
    assert a.dropped == 0
    assert from_b.lost == 0


async def test_a_sync_that_is_given_up_leaves_nothing(
    broker: Broker, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "BEAT", 100.0)
    a, from_a = await join(1)
    await soon(a.sync())
    tasks = asyncio.all_tasks()
    broker.freeze()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(a.sync(), 0.05)
    await turns()
    assert asyncio.all_tasks() == tasks
    broker.thaw()
    await soon(a.sync())
    assert a.is_connected
    assert from_a.lost == 0


async def test_a_successor_at_an_address_counts_anew(join: Join) -> None:
    a, _ = await join(1)
    b, _ = await join(2, 10)
    for i in range(5):
        a.send(2, b"%d" % i)
    await soon(a.sync())
    await b.stop()
    await until(lambda: a.peers.known == {})
    _c, from_c = await join(2, 20)
    await until(lambda: a.peers.known == {2: 20})
    a.send(2, b"new")
    await until(lambda: from_c.got == [(None, b"new")])
    assert from_c.lost == 0


async def test_the_older_of_two_at_one_address_keeps_it(
    join: Join, error_log: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when two halves of a network meet again: each was alone, now they hear one another."""
    a, _ = await join(1, 10)
    taken: list[int] = []
    monkeypatch.setattr(BrokerBus, "_defend", lambda self, letter: None)
    b, _ = await join(1, 20)
    b._on_taken = lambda: taken.append(b.since)
    a._on_taken = lambda: taken.append(a.since)
    monkeypatch.undo()
    b._tell_of_us(Kind.HELLO, b._everybody)
    await until(lambda: taken)
    assert taken == [20]
    await asyncio.sleep(0.05)
    assert taken == [20]
    assert "the other was first" in error_log[0].getMessage()


async def test_who_comes_back_while_its_address_is_claimed_keeps_it(
    broker: Broker, join: Join
) -> None:
    a, _ = await join(1, 10)
    assert a._writer.session is not None
    opened, gate = a._keeper._open_session, asyncio.Event()

    async def later(*args: object) -> object:
        await gate.wait()
        return await opened(*args)  # type: ignore[arg-type]

    a._keeper._open_session = later  # type: ignore[assignment]
    await a._writer.session.close()
    await until(lambda: not a.is_connected)
    b = claimant(broker, 20)
    claiming = asyncio.ensure_future(b.start(Recorder()))
    await until(lambda: b.is_connected)
    await soon(b.sync())
    gate.set()
    with pytest.raises(AddressTakenError):
        await soon(claiming)
    await connected(a)


async def test_of_two_who_claim_an_address_one_gets_it_whoever_was_heard(broker: Broker) -> None:
    """The one with the older clock comes when the other has said already what it wants."""
    younger, older = claimant(broker, 20), claimant(broker, 10)
    claiming = [asyncio.ensure_future(younger.start(Recorder()))]
    await until(lambda: younger.is_connected)
    await soon(younger.sync())
    claiming.append(asyncio.ensure_future(older.start(Recorder())))
    with pytest.raises(AddressTakenError):
        await soon(claiming[0])
    assert not claiming[1].done()
    claiming[1].cancel()
    await asyncio.wait(claiming)


async def test_two_at_one_address_find_out_by_their_signs_of_life(
    join: Join, error_log: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when two parts of a cluster of brokers meet again: nobody has lost a connection."""
    monkeypatch.setattr(keeper_module, "BEAT", 0.1)
    taken: list[int] = []
    with monkeypatch.context() as deaf:
        deaf.setattr(BrokerBus, "_defend", lambda self, letter: None)
        for since in (10, 20):
            bus, _ = await join(1, since)
            bus._on_taken = lambda since=since: taken.append(since)
    await until(lambda: taken)
    assert taken == [20]
    assert "the other was first" in error_log[0].getMessage()


def claimant(broker: Broker, since: int) -> BrokerBus:
    """Somebody who waits long for others to say that address 1 is theirs."""
    bus = open_bus(broker.url, 1, since)
    assert isinstance(bus, BrokerBus)
    bus._patience = PATIENCE
    return bus


async def test_nobody_there_is_an_error_that_says_so() -> None:
    for url in ("nats://127.0.0.1:1", "redis://user:secret@127.0.0.1:1"):
        bus = open_bus(url, 1)
        with pytest.raises(OSError, match=r"no (NATS|Redis) server at \w+://127.0.0.1:1: ") as info:
            await soon(bus.start(Recorder()))
        assert "secret" not in str(info.value)
        assert "Timeout" not in str(info.value)  # it says no at once, and is asked again soon


async def test_a_user_who_may_not_do_what_is_needed_is_named(
    tmp_path: Path, error_log: list[logging.LogRecord]
) -> None:
    """Without this, nothing would arrive and nobody would know why."""
    config = tmp_path / "nats.conf"
    config.write_text(
        "authorization { users = [ { user: me, password: secret, permissions: {"
        'publish: ">", subscribe: { deny: "wsgroups.on.>" } } } ] }'
    )
    with Nats("-c", str(config)) as broker:
        bus = open_bus(broker.url.replace("//", "//me:secret@"), 1)
        await soon(bus.start(Recorder()))
        bus.subscribe(b"c")
        await until(lambda: error_log)
        await bus.stop()
    assert "may not do what wsgroups needs" in error_log[0].getMessage()
    assert "wsgroups.on." in error_log[0].getMessage()
    assert "secret" not in error_log[0].getMessage()


async def test_two_applications_on_one_broker_do_not_meet(broker: Broker) -> None:
    a, b = open_bus(f"{broker.url}?app=one", 1), open_bus(f"{broker.url}?app=two", 1)
    recorder = Recorder()
    await soon(a.start(Recorder()))
    await soon(b.start(recorder))
    b.subscribe(b"c")
    await soon(b.sync())
    a.publish(b"c", b"x")
    await soon(a.sync())
    await soon(b.sync())
    assert recorder.got == []
    await a.stop()
    await b.stop()


@pytest.mark.parametrize("query", ["?apps=x", "?app=a.b", "?app=", "?app=a*"])
def test_what_stands_behind_the_question_mark_is_checked(query: str) -> None:
    with pytest.raises(ValueError, match="app"):
        open_bus(f"nats://127.0.0.1:4222{query}", 1)


async def test_what_is_none_of_ours_is_logged_and_hurts_nobody(
    broker: Broker, join: Join, error_log: list[logging.LogRecord]
) -> None:
    a, from_a = await join(1)
    session = await a._keeper._open_session(a._keeper._url, lambda subject, payload: None)
    for junk in (b"", b"x", bytes(25), b"\xff" * 40, bytes([3]) + b"\1" * 30):
        await session.publish([(a._everybody, junk), (a._own, junk)])
    await session.sync()
    await soon(a.sync())
    await session.close()
    assert from_a.got == []
    assert error_log
    a.send(1, b"still here")
    await until(lambda: from_a.got == [(None, b"still here")])


async def test_whatever_ends_the_reading_ends_the_connection(
    broker: Broker, error_log: list[logging.LogRecord]
) -> None:
    def fail(subject: bytes, payload: bytes) -> None:
        raise RuntimeError("a slip")

    session = await session_of(broker.url)(broker.url, fail)
    await session.subscribe([b"%d" % number for number in range(2500)])
    await soon(session.sync())
    other = await session_of(broker.url)(broker.url, fail)
    await other.publish([(b"2499", b"x")])
    await soon(session.lost)
    assert error_log
    await session.close()
    await other.close()


@pytest.mark.parametrize("scheme", ["nats", "redis"])
@pytest.mark.parametrize("answer", [b":x\r\n", b"INFO [\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_what_answers_may_be_something_else(scheme: str, answer: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    with pytest.raises(OSError, match=r"no (NATS|Redis) server at"):
        await soon(open_bus(f"{scheme}://{host}:{port}", 1).start(Recorder()))
    server.close()
    await server.wait_closed()


# --- what is kept ---------------------------------------------------------------------------


async def test_scripts_that_come_and_go_leave_nothing(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgroups.cluster.counting._MOST_PASSING", 6)
    a, from_a = await join(1)
    a.subscribe(b"c")
    await soon(a.sync())
    for number in range(10):
        visitor, _ = await join(visitor_address())
        await until(lambda visitor=visitor: visitor.peers.known.keys() == {1})
        visitor.send(1, b"x")
        visitor.publish(b"c", b"y")
        await soon(visitor.stop())
        await until(lambda number=number: len(from_a.got) == 2 * number + 2)
    assert sum(map(len, a._following._followed.values())) <= 6
    assert a.neighbours.heard == {}


async def test_rooms_that_come_and_go_while_it_is_away_leave_nothing(
    broker: Broker, join: Join
) -> None:
    a, _ = await join(1)
    b, from_b = await join(2)
    for channel in (b"kept", b"left"):
        b.subscribe(channel)
    await soon(b.sync())
    broker.kill()
    await until(lambda: not a.is_connected and not b.is_connected)
    for number in range(1000):
        b.subscribe(b"%d" % number)
        b.unsubscribe(b"%d" % number)
        b.unsubscribe(b"kept")
        b.subscribe(b"kept")
    b.unsubscribe(b"left")
    b.subscribe(b"new")
    assert len(b._interest) == 2
    await broker.restart()
    await connected(a, b)
    await soon(b.sync())
    for channel in (b"left", b"7", b"kept", b"new"):
        a.publish(channel, b"x")
    await until(lambda: from_b.got == [(b"kept", b"x"), (b"new", b"x")])


async def test_addresses_that_nobody_has_are_not_kept(
    broker: Broker, join: Join, error_log: list[logging.LogRecord]
) -> None:
    a, _ = await join(1)
    session = await a._keeper._open_session(a._keeper._url, lambda subject, payload: None)
    body = encode_presence(Presence(1, False))
    for address in (1 << 16, 1 << 29, (1 << 30) + 1024, (1 << 31) - 1):
        for kind in (Kind.HELLO, Kind.BEAT, Kind.MESSAGE):
            letter = Letter(kind, address, 1, a.incarnation, 1, 0, 1, body)
            (payload,) = encode(letter, session.largest)
            await session.publish([(a._own, payload)])
    await session.sync()
    await soon(a.sync())
    await session.close()
    assert a.neighbours.heard == {}
    assert a._following._followed == {}
    assert error_log


def test_large_messages_of_somebody_who_does_not_know_us_arrive_each() -> None:
    """Nothing of theirs is counted; all have the number 0."""
    following = Following(1)
    for data in (b"one" * 100, b"two" * 100):
        letters = map(decode, encode(Letter(Kind.MESSAGE, 5, 9, 0, 0, 0, 1, data), 100))
        assert [following.take(None, letter) for letter in letters][-1] == (data, 0)


def test_parts_of_messages_that_never_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsgroups.cluster.counting.LARGEST_MESSAGE", 1000)
    monkeypatch.setattr("wsgroups.cluster.counting._MOST_IN_PARTS", 3000)
    following, part = Following(1), bytes(100)

    def take(sender: int, number: int, index: int, parts: int) -> tuple[bytes | None, int]:
        return following.take(
            b"c", Letter(Kind.MESSAGE, sender, sender, 1, number, index, parts, part)
        )

    for sender in range(50):
        for index in range(sender + 2):
            take(sender, 1, index, 0xFFFF)
        assert following._in_parts == sum(following._open.values()) <= 3000
    # One that was given up is told as lost, and what comes then arrives.
    assert take(49, 2, 0, 1) == (part, 1)
    following.forget_channel(b"c")
    assert following._in_parts == 0


def test_who_passes_by_often_is_not_taken_for_one_whose_messages_are_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wsgroups.cluster.counting._MOST_PASSING", 4)
    following = Following(1)

    def take(sender: int, number: int) -> int:
        letter = Letter(Kind.MESSAGE, sender, sender, 1, number, 0, 1, b"x")
        return following.take(None, letter, is_passing=True)[1]

    for number in range(1, 20):
        assert take(0, number) == 0
        assert take(number, 1) == 0
    for sender in range(50, 60):
        assert take(sender, 1) == 0
    assert take(0, 500) == 0  # forgotten: nobody knows how many there were
    assert take(0, 502) == 1
    assert len(following._passing) <= 4
    # One that has turned out to be a worker stays.
    worker = Letter(Kind.MESSAGE, 9, 9, 1, 1, 0, 1, b"x")
    assert following.take(None, worker, is_passing=True) == (b"x", 0)
    for number in range(2, 10):
        assert following.take(None, worker._replace(number=number)) == (b"x", 0)
        assert take(100 + number, 1) == 0
    assert following.take(None, worker._replace(number=10)) == (b"x", 0)


def test_who_comes_back_after_long_is_followed_from_where_it_was() -> None:
    following = Following(1)

    def take(channel: bytes | None, number: int) -> int:
        return following.take(channel, Letter(Kind.MESSAGE, 5, 5, 1, number, 0, 1, b"x"))[1]

    for number in range(1, 500):
        assert take(None, number) == take(b"c", number) == 0
    following.forget_sender(5)
    assert take(None, 500) == take(b"c", 500) == 0
    assert take(None, 510) == take(b"c", 510) == 9


async def test_who_may_not_publish_is_told_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, and afterwards as often as it is tried, which is less and less."""
    with BROKERS["redis"]() as broker:
        client = redis.Redis(port=broker.port)

        def allow(*commands: str) -> None:
            client.execute_command(  # type: ignore[no-untyped-call]
                "ACL", "SETUSER", "u", "on", ">p", "~*", "&*", *commands
            )

        allow("+@all")
        url = f"redis://u:p@127.0.0.1:{broker.port}"
        bus = open_bus(url, 1)
        await soon(bus.start(Recorder()))
        allow("-publish")
        with pytest.raises(OSError, match=r"takes us, but does not answer \(.*no permissions"):
            await soon(open_bus(url, 2).start(Recorder()))
        caplog.clear()
        await asyncio.sleep(3)
        lost = [r.getMessage() for r in caplog.records if "is lost" in r.getMessage()]
        assert 2 <= len(lost) <= 10
        assert "no permissions" in lost[-1]
        allow("+publish")
        await until(lambda: bus.is_connected)
        await soon(bus.sync())
        await bus.stop()
        client.close()


async def test_an_address_is_not_taken_where_nobody_can_object(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_session = session_of(broker.url)

    async def open_and_lose(*arguments: Any) -> Session:
        session = await open_session(*arguments)
        broker.kill()
        return session

    bus = BrokerBus(broker.url, open_and_lose, 1)
    with pytest.raises(OSError, match="takes us, but does not answer"):
        await soon(bus.start(Recorder()))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_no_password_goes_to_a_server_without_tls_that_is_to_have_it() -> None:
    heard = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        writer.write(b'INFO {"server_id":"x","version":"2.10.0","max_payload":1048576}\r\n')
        heard += await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bus = open_bus(f"tls://user:topsecret@127.0.0.1:{port}", 1)
    with pytest.raises(OSError, match=r"offers no TLS; write nats:// if that is meant"):
        await soon(bus.start(Recorder()))
    server.close()
    await turns()
    assert b"topsecret" not in heard
