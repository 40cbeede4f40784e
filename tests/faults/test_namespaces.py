"""Two namespaces and a link between them that goes down: no FIN, no RST, nothing comes any more."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from tests.faults.half_open_client import COUNT
from tests.faults.service import ROOT, Service, wait_until

SERVER, CLIENT = "192.0.2.1", "192.0.2.2"  # of the block for documentation (RFC 5737)
UNSHARED = ["unshare", "--net"]


def link(pid: int, *arguments: str) -> None:
    """Run `ip` in the namespace of a process."""
    subprocess.run(["nsenter", "--net", "--target", str(pid), "ip", *arguments], check=True)


@contextlib.contextmanager
def client() -> Iterator[subprocess.Popen[str]]:
    """The clients, in a namespace of their own, which goes with them."""
    command = [*UNSHARED, sys.executable, "-m", "tests.faults.half_open_client", SERVER]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_peers_behind_a_link_that_went_down_are_given_up() -> None:
    options = {
        "tells": True,
        "policy": {"ping_interval": 0.5, "ping_timeout": 0.5, "close_timeout": 0.5},
        "server": {"host": "0.0.0.0"},
    }
    with Service(options, prefix=UNSHARED) as service, client() as clients:
        assert clients.stdin is not None
        assert clients.stdout is not None
        port = service.port
        idle = service.descriptors()
        assert clients.stdout.readline() == "made\n"
        ours, theirs = str(service.pid), str(clients.pid)
        ends = ("ours", "netns", ours, "type", "veth", "peer", "theirs", "netns", theirs)
        subprocess.run(["ip", "link", "add", *ends], check=True)
        for pid, name, address in (
            (service.pid, "ours", SERVER),
            (clients.pid, "theirs", CLIENT),
        ):
            link(pid, "address", "add", f"{address}/24", "dev", name)
            link(pid, "link", "set", name, "up")
        clients.stdin.write(f"{port}\n")
        clients.stdin.flush()
        assert clients.stdout.readline() == "open\n"
        assert service.descriptors() == idle + COUNT
        assert "gone" not in service.output
        link(clients.pid, "link", "set", "theirs", "down")
        wait_until(lambda: service.output.count("gone with 1011") == COUNT, patience=3)
        wait_until(lambda: service.descriptors() == idle, patience=2)
        assert clients.poll() is None, "it was there all the time"
