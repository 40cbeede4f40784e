"""TLS between driver and connection."""

from wsgroups.connection.outbox cimport iovec
from wsgroups.connection.stream cimport Filter, Stream


cdef class TlsFilter(Filter):
    cdef object context            # until the first byte has come
    cdef object tls                # the ssl.SSLObject between the two
    cdef object incoming, outgoing
    cdef bytes held                # what has come and is not in `incoming` yet, from `held_from` on
    cdef Py_ssize_t held_from
    cdef int state                 # TlsState
    cdef bint wants                # `incoming` is empty: nothing happens without more bytes
    cdef bint has_ended            # our close_notify is sealed
    cdef bint is_sealing           # TLS is writing

    cdef int begin(self, Stream stream) except -1
    cdef int undo(self, Stream stream, char* data, Py_ssize_t size) except -1
    cdef bint stops(self, Stream stream) noexcept
    cdef int hold(self, Stream stream, char* data, Py_ssize_t size) except -1
    cdef int step(self, Stream stream) except -1
    cdef int shake(self, Stream stream) except -1
    cdef int read(self, Stream stream) except -1
    cdef int collect(self) except -1
    cdef int break_off(self, Stream stream, object error) except -1
    cdef bytes record(self, iovec* vectors, int used)
    cdef int end(self) except -1
