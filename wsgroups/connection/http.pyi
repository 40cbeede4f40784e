import ssl
from logging import Logger
from typing import Protocol

from wsgroups.connection.connection import Connection, GroupCore, Phase
from wsgroups.connection.forwarding import Proxies
from wsgroups.connection.head import RequestHead
from wsgroups.errors import HTTPError

logger: Logger

class _Endpoint(Protocol):
    def handle(self, phase: HttpPhase, head: RequestHead) -> None: ...

class HttpLimits:
    def __init__(
        self,
        *,
        max_header_line: int,
        max_head_size: int,
        max_body_size: int,
        max_headers: int,
        handshake_timeout: float | None,
        keep_alive_timeout: float | None,
        proxies: Proxies | None = None,
    ) -> None: ...

class HttpPhase(Phase):
    def __init__(
        self,
        connection: Connection,
        endpoint: _Endpoint,
        limits: HttpLimits,
        refusal: HTTPError | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None: ...
    @property
    def connection(self) -> Connection: ...
    @property
    def endpoint(self) -> _Endpoint: ...
    def is_answered(self) -> bool: ...
    def respond(self, response: bytes, keep_alive: bool) -> None: ...
    def refuse(self, error: HTTPError) -> None: ...
    def upgrade(self, response: bytes, group: GroupCore, id: int, socket: object) -> bool: ...
