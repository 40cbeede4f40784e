"""The library of `shim.c` for a server process, and what it is told to do."""

from __future__ import annotations

import contextlib
import mmap
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path


class _Field:
    """One number of `struct control`."""

    def __init__(self, index: int) -> None:
        self._offset = 8 * index

    def __get__(self, control: Control, _: object) -> int:
        (value,) = struct.unpack_from("q", control.memory, self._offset)
        return int(value)

    def __set__(self, control: Control, value: int) -> None:
        struct.pack_into("q", control.memory, self._offset, value)


class Control:
    """What the library is told, and what it tells."""

    countdown = _Field(0)
    failed = _Field(1)
    ours_only = _Field(2)
    clock = _Field(3)
    size = _Field(4)

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory


class Shim:
    """Compiles the library.

    Args:
        folder: where it and the file go that it is told by.

    Attributes:
        environment: of a process that is to have it.
    """

    def __init__(self, folder: Path) -> None:
        library, self._file = folder / "shim.so", folder / "control"
        source = Path(__file__).with_name("shim.c")
        flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["gcc", *flags, "-o", library, source, "-ldl"], check=True)
        self._file.write_bytes(bytes(4096))
        self.environment = {"LD_PRELOAD": str(library), "FAULTS_CONTROL": str(self._file)}

    @contextlib.contextmanager
    def control(self) -> Iterator[Control]:
        """What the processes with the library are told by."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 4096) as memory:
            yield Control(memory)
