import ssl
from typing import Any

from wsgroups.connection.connection import Connection
from wsgroups.connection.stream import Filter

class TlsFilter(Filter):
    def __init__(self, connection: Connection, context: ssl.SSLContext) -> None: ...
    def peer_certificate(self) -> dict[str, Any] | None: ...
