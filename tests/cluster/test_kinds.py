"""Which bus a URL means, and what is said of one that means none."""

import re
import sys
from pathlib import Path

import pytest

from tests.cluster.recording import Recorder
from tests.support import soon
from wsgroups.cluster.bus import visitor_address
from wsgroups.cluster.hub import Hub
from wsgroups.cluster.kinds import hub_of, open_bus
from wsgroups.cluster.session import display


@pytest.mark.parametrize("slashes", ["", "//"])
async def test_a_unix_url_leads_to_the_hub(tmp_path: Path, slashes: str) -> None:
    hub, path = Hub(), tmp_path / "hub.sock"
    await hub.start(str(path))
    url = f"unix:{slashes}{path}"
    assert hub_of(url) == str(path)
    a, b = open_bus(url, 1, 10), open_bus(url, visitor_address())
    from_a = Recorder()
    await soon(a.start(from_a))
    await soon(b.start(Recorder()))
    assert b.peers.known == {1: 10}
    b.send(1, b"hello")
    await soon(b.sync())
    await soon(a.sync())
    assert from_a.got == [(None, b"hello")]
    await a.stop()
    await b.stop()
    await hub.stop()


@pytest.mark.parametrize("url", ["", "unix", "/run/hub.sock", "http://localhost", "UNIX:/a"])
def test_a_url_of_no_kind_is_answered_with_what_is_possible(url: str) -> None:
    with pytest.raises(ValueError, match="write it like unix:/run/"):
        open_bus(url, 1)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("unix:", "unix:/run/app/hub.sock"),
        ("unix://run/x.sock", "unix:/run/x.sock"),
        ("unix:/a\0b", "unix:/run/app/hub.sock"),
    ],
)
def test_a_unix_url_without_a_path_is_refused(url: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"names no path; write {meant}$"):
        open_bus(url, 1)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nats://", "'nats://' names no host; write it like nats://host:4222"),
        ("nats:host", "'nats:host' names no host; write it like nats://host:4222"),
        ("redis:///0", "'redis:///0' names no host; write it like redis://host:6379"),
        ("nats://a:1,,b:2", "names no host"),
        ("redis://[::1", "names no host"),
        ("nats://a:abc", "'nats://a': the port of 'a' must be a number, 1 to 65535"),
        ("redis://127.0.0.1:abc", "the port of '127.0.0.1' must be a number"),
        ("redis://a:0", "the port of 'a' must be a number"),
        ("nats://a:70000", "the port of 'a' must be a number"),
        ("nats://a:1,b:x", "'nats://a:1,b': the port of 'b' must be a number"),
        ("redis://a:1,b:2", "the port of 'a' must be a number"),
    ],
)
def test_a_url_of_a_broker_is_checked_before_it_is_used(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        open_bus(url, 1)


@pytest.mark.parametrize(
    "url",
    [
        *("nats://a:1,b:2", "tls://u:p@a,u:p@b:2", "nats://[::1]:4222", "nats://a:4222/"),
        *("redis://a", "rediss://u:p@a:1/0", "valkey://:p,q@a:1", "redis://u:%2F%3F%23%40@a"),
    ],
)
def test_what_leads_to_a_broker_is_taken(url: str) -> None:
    open_bus(url, 1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://me:sec?ret@a:1", "'nats://...' cannot be read"),
        ("redis://me:sec/ret@a", "'redis://...' cannot be read: in a user or password write / as"),
        ("redis://me:sec#ret@a", "'redis://...' cannot be read"),
        ("redis://me:sec[ret@a", "'redis://a' cannot be read"),
        ("redis://me:sec\u2100ret@a", "'redis://a' cannot be read"),
        ("redis://me:secret", "'redis://me'"),
        ("nats://me:sec,ret@a", "'nats://a'"),
        ("me:secret@a", "'me:...' is no bus"),
        ("secret@a", "'...' is no bus"),
        ("natss://me:secret@a:1", "'natss://a:1' is no bus"),
    ],
)
def test_no_part_of_a_password_is_shown(url: str, shown: str) -> None:
    with pytest.raises(ValueError, match=re.escape(shown)) as wrong:
        open_bus(url, 1)
    assert "sec" not in str(wrong.value)
    assert "ret" not in str(wrong.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://u:pw@a:1,u:pw@b:2", "nats://a:1,b:2"),
        ("nats://u:pw@a:1,b:2?app=x", "nats://a:1,b:2"),
        ("nats://u:12,34@a:1", "nats://a:1"),
        ("redis://u:p,w@a:1/3", "redis://a:1/3"),
        ("redis://token@[::1]:1", "redis://[::1]:1"),
        ("unix:/a@b?c", "unix:/a@b?c"),
    ],
)
def test_a_url_is_shown_without_its_users(url: str, shown: str) -> None:
    assert display(url) == shown


@pytest.mark.parametrize(
    ("url", "missing", "said"),
    [
        ("nats://a", "nats.aio.client", "'nats-py' is not installed, which nats:// needs"),
        ("redis://a", "redis.asyncio", "'redis' is not installed, which redis:// needs"),
    ],
)
def test_a_package_that_is_missing_is_named(
    url: str, missing: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"wsgroups.cluster.{url.partition(':')[0]}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ValueError, match=said):
        open_bus(url, 1)
