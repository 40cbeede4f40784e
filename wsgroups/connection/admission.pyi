from wsgroups.connection.connection import Connection, Host
from wsgroups.connection.forwarding import Proxies

class Admission(Host):
    def __init__(
        self,
        server: object,
        *,
        max_connections: int = 0,
        max_handshakes: int = 0,
        max_per_address: int = 0,
        possible: int = 0xFFFFFFFF,
        proxies: Proxies | None = None,
    ) -> None: ...
    @property
    def connections(self) -> int: ...
    @property
    def handshakes(self) -> int: ...
    def admit(self, connection: Connection) -> str | None: ...
    def count_address(self, connection: Connection, key: bytes | None) -> bool: ...
