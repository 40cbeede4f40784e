"""The socket and the sets of sockets as applications see them."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t

from wsgroups.connection.connection cimport Connection
from wsgroups.connection.members cimport Members
from wsgroups.connection.outbox cimport Block
from wsgroups.connection.stream cimport Driver


cdef class WebSocket:
    cdef Connection connection      # None until a live one is found
    cdef int64_t key                # the id, or -1 when it is no id
    cdef object other               # what was given when it is no id; of an orphan what is known
    cdef object __weakref__

    cdef Connection live(self)
    cdef bint is_orphan(self)


cpdef open_socket(Connection connection, int64_t id)


cdef class SocketSet:
    cdef readonly Members members
    cdef bint is_own                # nobody else has the members

    cdef int send_block(self, Block* block, excluded) except -1
    cdef int send_quickly(self, Block* block, excluded, Driver here, list others) except -1
    cdef Driver driver_here(self)
    cdef int post_broadcast(self, Driver driver, Block* block, list connections) except -1
