"""What is given to others, and the test set against it: `make wheel`, `test-wheel`, `test-all`.

The tests never see this directory: the sdist is unpacked elsewhere, its package is removed, and
what they import is the wheel that pip has installed.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
VERSIONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
COMPILED = ("codec/frames", "connection/connection", "drivers/epoll", "surface/websocket")

# The versions that pyenv has, whichever of them it would choose.
_PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
os.environ["PATH"] = os.pathsep.join(
    [*map(str, sorted(_PYENV.glob("versions/*/bin"))), os.environ["PATH"]]
)


def is_there(version: str) -> bool:
    """True when this machine has that Python."""
    try:
        ask = [f"python{version}", "-c", "import venv"]
        return subprocess.run(ask, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


PYTHONS = [version for version in VERSIONS if is_there(version)]
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"

nox.options.sessions = ["dist", "wheel"]


@nox.session(python=CURRENT)
def dist(session: nox.Session) -> None:
    """Make the sdist, from it a wheel, and look at both as a registry and a linker would."""
    shutil.rmtree(DIST, ignore_errors=True)
    session.install("build", "twine", "auditwheel")
    session.run("python", "-m", "build", "--outdir", str(DIST))  # the wheel is made of the sdist
    sdist, wheel = only("*.tar.gz"), only("*.whl")
    session.run("twine", "check", "--strict", str(sdist), str(wheel))
    examine(session, wheel)
    if sys.platform == "linux":
        said = session.run("auditwheel", "show", str(wheel), silent=True) or ""
        session.log(" ".join(said.split()))
        libraries = set(re.findall(r"\blib[\w+-]+\.so[.\d]*", said)) | set(
            re.findall(r"\bld-[\w-]+\.so[.\d]*", said)
        )
        others = {name for name in libraries if not re.match(r"lib(c|m|pthread)\.so|ld-", name)}
        if others:
            session.error(f"the wheel links to {sorted(others)}")


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Install the wheel where nothing else is, and run every test there; arguments go to pytest."""
    found = wheel_for(session)
    session.install(f"wsgroups[test,bench] @ {found.as_uri()}")
    clean = {"PYTHONPATH": ""}
    session.run("python", "-m", "pip", "check", env=clean)
    check = (
        "import sysconfig, wsgroups.drivers.epoll as compiled;"
        "assert compiled.__file__.startswith(sysconfig.get_path('platlib')), compiled.__file__"
    )
    with tempfile.TemporaryDirectory() as empty:
        session.chdir(unpacked(only("*.tar.gz"), Path(empty)))
        session.run("python", "-c", check, env=clean)
        session.run("python", "-m", "pytest", *(session.posargs or ["-n", "auto"]), env=clean)


def only(pattern: str) -> Path:
    """Return the one file in dist/ that has such a name."""
    found = list(DIST.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"dist/ has {len(found)} files {pattern}; run `make wheel` first")
    return found[0]


def wheel_for(session: nox.Session) -> Path:
    """Return the wheel for the session's Python, made of the sdist if need be."""
    assert isinstance(session.python, str)
    pattern = f"*-cp{session.python.replace('.', '')}-*.whl"
    if not list(DIST.glob(pattern)):
        sdist = str(only("*.tar.gz"))
        # Built apart, by pip: the session's environment stays as empty as it is.
        session.run("python", "-m", "pip", "wheel", "--no-deps", "-w", str(DIST), sdist)
    return only(pattern)


def unpacked(sdist: Path, where: Path) -> Path:
    """Unpack the tests and what they need, without the package; return the directory."""
    with tarfile.open(sdist) as archive:
        archive.extractall(where, filter="data")
    (directory,) = where.iterdir()
    shutil.rmtree(directory / "wsgroups")
    (directory / "setup.py").unlink()
    return directory


def examine(session: nox.Session, wheel: Path) -> None:
    """Say how large it is, and fail when something is missing or should not be there."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        code = sum(each.file_size for each in archive.infolist() if each.filename[-3:] == ".so")
    session.log(f"{wheel.name}: {wheel.stat().st_size:,} bytes; compiled modules: {code:,}")
    strangers = [
        name
        for name in names
        if not re.match(r"wsgroups(-[\w.]+\.dist-info)?/", name) or name.endswith((".c", ".html"))
    ]
    missing = [
        name
        for module in COMPILED
        for name in (f"wsgroups/{module}.pyx", f"wsgroups/{module}.pyi")
        if name not in names
    ] + [name for name in ("wsgroups/py.typed",) if name not in names]
    bare = [
        module
        for module in COMPILED
        if not any(re.match(rf"wsgroups/{module}\.\S+\.(so|pyd)$", name) for name in names)
    ]
    if strangers or missing or bare:
        session.error(f"should not be there: {strangers}; missing: {missing + bare}")
