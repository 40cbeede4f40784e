from collections.abc import Callable
from logging import Logger
from typing import Any

logger: Logger

class Witness:
    def __init__(self, wake: Callable[[Any], None]) -> None: ...
    def note(self, label: bytes, id: int, has_come: bool, loop: Any) -> None: ...
    def take(self) -> list[tuple[bytes, int, bool]]: ...

class Members:
    channel: bytes | None
    witness: Witness | None
    label: bytes | None
    def __len__(self) -> int: ...

def watch(function: Callable[[bytes], None] | None) -> None: ...
