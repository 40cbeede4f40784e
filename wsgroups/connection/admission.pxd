"""Who is connected to a server, and who may still come."""

from libc.stdint cimport uint32_t

from wsgroups.connection.connection cimport Connection, Host


cdef class Admission(Host):
    cdef uint32_t max_connections, max_handshakes, max_per_address, possible
    cdef readonly uint32_t connections    # admitted and not gone
    cdef readonly uint32_t handshakes     # of them, those whose first request is not complete
    cdef object proxies
    cdef dict addresses                   # how many connections each address has

    cdef bint count_for(self, Connection connection, bytes key) except -1
    cdef int forget_address(self, Connection connection) except -1
