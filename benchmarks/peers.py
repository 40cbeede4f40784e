"""Who is measured."""

import hashlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .layout import NODE_MODULES, SERVERS, VENV_PYTHON
from .scenarios import Scenario

SUBJECT = "wsgroups"
SUBJECT_ON_ASYNCIO = "wsgroups-asyncio"
SUBJECT_ON_TRANSPORTS = "wsgroups-transports"


@dataclass(frozen=True, slots=True)
class Peer:
    """A server program: `command`, the port, `options`, then the words of the scenario."""

    name: str
    label: str
    command: tuple[str, ...]
    options: tuple[str, ...] = ()
    echo_only: bool = False
    deflates: bool = True  # it knows permessage-deflate

    def takes_part(self, scenario: Scenario) -> bool:
        """Whether this peer is measured in `scenario`."""
        if scenario.deflate and not self.deflates:
            return False
        return scenario.is_echo or not self.echo_only

    def command_line(self, port: int, words: Iterable[str]) -> list[str]:
        """Return what to execute."""
        return [*self.command, str(port), *self.options, *words]


def _bun() -> str:
    """Return the binary itself: the launcher in .bin works only after an install script ran."""
    found = sorted(NODE_MODULES.glob("@oven/bun-*/bin/bun"))
    return str(found[0] if found else NODE_MODULES / ".bin" / "bun")


def _script(name: str) -> str:
    return str(SERVERS / name)


def _in_venv(name: str, label: str, deflates: bool = True) -> Peer:
    command = (str(VENV_PYTHON), _script(f"{name}_server.py"))
    return Peer(name, label, command, deflates=deflates)


def all_peers() -> list[Peer]:
    """Return every peer, wsgroups first."""
    own = (sys.executable, _script("wsgroups_server.py"))
    return [
        Peer(SUBJECT, "wsgroups", own, ("--loop", "uvloop", "--driver", "epoll")),
        Peer(
            SUBJECT_ON_ASYNCIO,
            "wsgroups, asyncio",
            own,
            ("--loop", "asyncio", "--driver", "epoll"),
            echo_only=True,
        ),
        Peer(
            SUBJECT_ON_TRANSPORTS,
            "wsgroups, transports",
            own,
            ("--loop", "uvloop", "--driver", "transports"),
            echo_only=True,
        ),
        Peer("bun", "Bun", (_bun(), _script("bun_server.js"))),
        Peer("ws", "ws on Node", ("node", _script("ws_server.cjs"))),
        _in_venv("socketify", "socketify", deflates=False),  # answers no offer of it here
        _in_venv("picows", "picows", deflates=False),
        _in_venv("aiohttp", "aiohttp"),
        _in_venv("uvicorn", "uvicorn"),
        _in_venv("websockets", "websockets"),
    ]


def select_peers(names: Iterable[str]) -> list[Peer]:
    """Return wsgroups and the peers with these names, all when there is none."""
    wanted = {*names}
    peers = all_peers()
    unknown = wanted - {peer.name for peer in peers}
    if unknown:
        raise ValueError(f"no peer is called {', '.join(sorted(unknown))}")
    return [peer for peer in peers if not wanted or peer.name in wanted | {SUBJECT}]


def versions(peers: Iterable[Peer]) -> dict[str, str]:
    """Return the version of each peer, "unknown" where it cannot be told."""
    return {peer.name: _version(peer) or "unknown" for peer in peers}


def _version(peer: Peer) -> str | None:
    if peer.name.startswith(SUBJECT):
        return _own_version()
    if peer.name in ("bun", "ws"):
        return _npm_version(peer.name)
    code = f"import importlib.metadata as m; print(m.version({peer.name!r}))"
    return _output(str(VENV_PYTHON), "-c", code)


def _own_version() -> str | None:
    try:
        return importlib.metadata.version(SUBJECT)
    except importlib.metadata.PackageNotFoundError:
        return None


def own_build() -> str:
    """Return a digest of wsgroups as it is installed now, to notice when it is rebuilt."""
    spec = importlib.util.find_spec(SUBJECT)
    places = spec.submodule_search_locations if spec else None
    total = hashlib.sha256()
    for place in places or ():
        files = [*Path(place).rglob("*.so"), *Path(place).rglob("*.py")]
        for path in sorted(files):
            total.update(path.read_bytes())
    return total.hexdigest()[:12]


def _npm_version(name: str) -> str | None:
    manifest = Path(NODE_MODULES, name, "package.json")
    if not manifest.exists():
        return None
    version = str(json.loads(manifest.read_text())["version"])
    return f"{version} on Node {_output('node', '--version')}" if name == "ws" else version


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
