"""Where things are."""

from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVERS = HERE / "servers"
LOAD_SOURCES = HERE / "load"
RESULTS = HERE / "results"

# Generated, never committed.
BUILD = HERE / "build"
LOAD = BUILD / "load"
CERTIFICATE = BUILD / "cert.pem"  # and its key, also read by the servers
KEY = BUILD / "key.pem"
VENV = HERE / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
NODE_MODULES = HERE / "node_modules"
