"""Which bus a URL means, and what is said of one that means none."""

from pathlib import Path

import pytest

from tests.cluster.recording import Recorder
from tests.support import soon
from wsgroups.cluster.bus import visitor_address
from wsgroups.cluster.hub import Hub
from wsgroups.cluster.kinds import hub_of, open_bus


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


@pytest.mark.parametrize("url", ["unix:", "unix://host/path", "unix:/a\0b"])
def test_a_unix_url_without_a_path_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="names no path"):
        open_bus(url, 1)
