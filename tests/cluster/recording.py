"""A receiver that keeps what it gets."""


class Recorder:
    """Keeps messages in order, as (channel, message); the channel of what is sent is None.

    Attributes:
        got: what came.
        lost: how many it was told are lost.
        heard: who came (with True) and who left (False), in order.
    """

    def __init__(self) -> None:
        self.got: list[tuple[bytes | None, bytes]] = []
        self.lost = 0
        self.heard: list[tuple[int, bool]] = []

    def received(self, data: bytes) -> None:
        self.got.append((None, data))
        if data == b"raise":
            raise RuntimeError("a receiver's own mistake")

    def published(self, channel: bytes, data: bytes) -> None:
        self.got.append((channel, data))

    def gap(self, count: int) -> None:
        self.lost += count

    def came(self, address: int) -> None:
        self.heard.append((address, True))

    def left(self, address: int) -> None:
        self.heard.append((address, False))
