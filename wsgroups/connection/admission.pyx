"""Who is connected to a server, and who may still come."""

cimport cython

from wsgroups.connection.address import address_key
from wsgroups.connection.connection cimport Connection, Host


@cython.final
cdef class Admission(Host):
    """Counts the connections of one server, all of them in one loop.

    Args:
        server: whose connections these are.
        max_connections: most of them; 0 for any number.
        max_handshakes: most whose first request is not complete; 0 for any number.
        max_per_address: most of one address, or of one IPv6 network of 64 bits; 0 for any number.
        possible: the most connections of all servers of the loop, as descriptors allow.
        proxies: the `Proxies` whose own addresses are not counted, or None.

    Attributes:
        connections: how many there are.
        handshakes: of how many the first request is not complete.
    """

    def __init__(
        self,
        server,
        *,
        uint32_t max_connections=0,
        uint32_t max_handshakes=0,
        uint32_t max_per_address=0,
        uint32_t possible=0xFFFFFFFF,
        proxies=None,
    ):
        self.server = server
        self.max_connections = max_connections
        self.max_handshakes = max_handshakes
        self.max_per_address = max_per_address
        self.possible = possible
        self.proxies = proxies
        self.addresses = {}

    def admit(self, Connection connection not None):
        """Count a new connection; returns why it is refused, or None when it may stay."""
        connection.host = self
        if self.max_connections and self.connections >= self.max_connections:
            return "The server is full."
        if connection.driver.count > self.possible:
            return "The server is full."
        if self.max_handshakes and self.handshakes >= self.max_handshakes:
            return "Too many clients are connecting."
        if self.max_per_address and (
            self.proxies is None or not self.proxies.trusts(connection.peer)
        ) and not self.count_for(
            connection, address_key(connection.peer)
        ):
            return "There are too many connections from this address."
        self.connections += 1
        self.handshakes += 1
        connection.is_admitted = connection.is_shaking = True
        return None

    def count_address(self, Connection connection not None, bytes key):
        """Count a connection for an address from now on; False when that has enough."""
        return self.count_for(connection, key)

    cdef bint count_for(self, Connection connection, bytes key) except -1:
        if self.max_per_address == 0 or key is None:
            return True
        if self.addresses.get(key, 0) >= self.max_per_address:
            return False
        self.forget_address(connection)
        self.addresses[key] = self.addresses.get(key, 0) + 1
        connection.more().address = key
        return True

    cdef int forget_address(self, Connection connection) except -1:
        if connection.extras is None or connection.extras.address is None:
            return 0
        key, connection.extras.address = connection.extras.address, None
        if self.addresses[key] == 1:
            del self.addresses[key]
        else:
            self.addresses[key] -= 1
        return 0

    cdef bint recount(self, Connection connection) except -1:
        return self.count_for(connection, address_key(connection.peer))

    cdef int shaken(self, Connection connection) except -1:
        if connection.is_shaking:
            connection.is_shaking = False
            self.handshakes -= 1
        return 0

    cdef int left(self, Connection connection) except -1:
        self.shaken(connection)
        if connection.is_admitted:
            connection.is_admitted = False
            self.connections -= 1
        return self.forget_address(connection)
