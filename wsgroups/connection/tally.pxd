"""What a socket did, for the log."""

from libc.stdint cimport uint64_t

cdef enum Trace:
    TRACE_NOTHING = 0
    TRACE_SUBTLE = 1      # sockets that open and close, and what went over them
    TRACE_VERBOSE = 2     # every message as well

cdef int trace            # a Trace, for the whole process


cdef class Tally:
    cdef uint64_t messages_in, bytes_in, messages_out, bytes_out

    cdef void sent(self, Py_ssize_t size) noexcept


cdef str preview(object payload)
