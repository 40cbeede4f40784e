from collections.abc import Callable
from logging import Logger

logger: Logger

class Members:
    channel: bytes | None
    def __len__(self) -> int: ...

def watch(function: Callable[[bytes], None] | None) -> None: ...
