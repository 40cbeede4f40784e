"""Fetches the peers and compiles the load generator, each only when its inputs have changed."""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from .layout import (
    BUILD,
    CERTIFICATE,
    HERE,
    KEY,
    LOAD,
    LOAD_SOURCES,
    NODE_MODULES,
    VENV,
    VENV_PYTHON,
)


class InstallError(Exception):
    """A step failed; the text says which and how."""


def install(say: Callable[[str], None]) -> list[str]:
    """Do every step that is due; `say` is told of each. Returns the failures of peers.

    Raises InstallError when the load generator cannot be built: nothing works without it.
    """
    install_load(say)
    _step(CERTIFICATE, [], "making a certificate", _certify, say)
    failures = []
    for marker, inputs, title, action in (
        (VENV, [HERE / "requirements.txt"], "installing the Python peers", _install_python),
        (NODE_MODULES, [HERE / "package.json"], "installing the JavaScript peers", _install_npm),
    ):
        try:
            _step(marker, inputs, title, action, say)
        except InstallError as error:
            failures.append(str(error))
    return failures


def install_load(say: Callable[[str], None]) -> None:
    """Compile the load generator, if that is due.

    Raises InstallError when it cannot be built.
    """
    _step(LOAD, [*LOAD_SOURCES.glob("*.[ch]")], "compiling the load generator", _compile, say)


def _step(
    marker: Path,
    inputs: Iterable[Path],
    title: str,
    action: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    stamp = BUILD / f"{marker.name.lstrip('.')}.stamp"
    digest = _digest(inputs)
    if marker.exists() and stamp.exists() and stamp.read_text() == digest:
        return
    say(title)
    BUILD.mkdir(exist_ok=True)
    action()
    stamp.write_text(digest)


def _digest(inputs: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(inputs):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def _compile() -> None:
    sources = sorted(str(path) for path in LOAD_SOURCES.glob("*.c"))
    flags = ["-O3", "-flto", "-std=gnu11", "-Wall", "-Wextra"]
    _run(["gcc", *flags, "-o", str(LOAD), *sources, "-lm", "-lssl", "-lcrypto"])


def _certify() -> None:
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    names = ["-subj", "/CN=127.0.0.1", "-days", "3650", "-nodes"]
    _run([*new, *names, "-keyout", str(KEY), "-out", str(CERTIFICATE)])


def _install_python() -> None:
    if not VENV_PYTHON.exists():
        _run([sys.executable, "-m", "venv", str(VENV)])
    pip = [str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "-r", str(HERE / "requirements.txt")])


def _install_npm() -> None:
    options = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    _run(["npm", "install", *options])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise InstallError(f"{Path(command[0]).name} failed: " + " / ".join(lines))
