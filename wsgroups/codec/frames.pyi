from typing import Literal, TypeAlias, final

FrameEvent: TypeAlias = (
    tuple[Literal["text"], str]
    | tuple[Literal["binary", "ping", "pong", "deflated text", "deflated binary"], bytes]
    | tuple[Literal["close", "fail"], tuple[int, str]]
)

@final
class Decoder:
    def __new__(
        cls,
        *,
        expect_mask: bool = True,
        max_message_size: int = ...,
        max_fragments: int = 4096,
    ) -> Decoder: ...
    def allow_deflate(self) -> None: ...
    def feed(self, data: bytes) -> list[FrameEvent]: ...
    def receive(self, data: bytes) -> list[FrameEvent]: ...

def encode_frame(
    opcode: int,
    payload: bytes,
    *,
    final: bool = True,
    mask: bytes | None = None,
    deflated: bool = False,
) -> bytes: ...
def utf8_error_offset(data: bytes) -> int | None: ...
