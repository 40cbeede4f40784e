"""Builds the compiled layers; everything else about the package is in pyproject.toml."""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = [
    "wsgroups.codec.frames",
    "wsgroups.connection.outbox",
    "wsgroups.connection.stream",
    "wsgroups.connection.registry",
    "wsgroups.connection.members",
    "wsgroups.connection.tally",
    "wsgroups.connection.connection",
    "wsgroups.connection.admission",
    "wsgroups.connection.tls",
    "wsgroups.connection.http",
    "wsgroups.drivers.memory",
    "wsgroups.drivers.transports",
    "wsgroups.surface.websocket",
]
if sys.platform == "linux":
    MODULES.append("wsgroups.drivers.epoll")
# Ordinary Python on the way of every handshake; compiled as it stands, it costs about half.
COMPILED_PYTHON = [
    "wsgroups.connection.handshake",
    "wsgroups.connection.head",
    "wsgroups.connection.wire",
    "wsgroups.ids",
    "wsgroups.surface.endpoint",
    "wsgroups.surface.request",
    "wsgroups.surface.routing",
]

# -fno-plt: most calls go to the interpreter, and straight through its table they are cheaper.
# -g0: an interpreter built with -g passes that on, and wheels would be five times as large.
compile_args = ["-O3", "-g0", "-fno-plt", "-fno-strict-aliasing", "-Wno-unused-function"]
link_args: list[str] = []
if sys.platform == "darwin":
    compile_args.remove("-fno-plt")  # clang there has no such thing
elif sys.platform == "win32":
    compile_args = ["/O2"]
if os.environ.get("WSGROUPS_SANITIZE"):
    # `make asan`: recover=none makes every report fail the run.
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    compile_args = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-strict-aliasing", *sanitize]
    link_args = sanitize

jobs = os.cpu_count() or 1

setup(
    options={"build_ext": {"parallel": jobs}},
    ext_modules=cythonize(
        [
            Extension(
                name,
                [name.replace(".", "/") + suffix],
                extra_compile_args=compile_args,
                extra_link_args=link_args,
            )
            for suffix, names in ((".pyx", MODULES), (".py", COMPILED_PYTHON))
            for name in names
        ],
        nthreads=jobs,
        compiler_directives={
            "language_level": "3",
            "binding": False,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "embedsignature": True,
            "annotation_typing": False,
            "auto_pickle": False,
        },
    ),
)
