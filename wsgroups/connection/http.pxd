"""The HTTP phase of a connection."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from wsgroups.connection.connection cimport Connection, GroupCore, Phase
from wsgroups.connection.head cimport RequestHead


cdef class HttpLimits:
    cdef Py_ssize_t max_header_line, max_head_size, max_body_size
    cdef int max_headers
    cdef uint32_t handshake_ticks, keep_alive_ticks
    cdef object proxies


cdef class HttpPhase(Phase):
    cdef readonly Connection connection
    cdef readonly object endpoint
    cdef HttpLimits limits
    cdef bytearray buffer           # the head so far, or what came behind the request
    cdef Py_ssize_t scanned         # bytes of the head that were looked at
    cdef Py_ssize_t line            # where the line being looked at begins
    cdef int lines                  # complete lines so far
    cdef int blank                  # empty lines before the request line
    cdef uint8_t state
    cdef bint reused                # a request was answered on this connection before
    cdef bint ended_early           # the peer has sent FIN
    cdef bint sending               # the last response is not all with the kernel
    cdef RequestHead head
    cdef object tls                 # the context of the TLS that begins behind a proxy's header
    cdef Py_ssize_t body_left
    cdef Py_ssize_t chunked_size    # bytes of a chunked body, with what is around the chunks

    cpdef is_answered(self)
    cpdef upgrade(self, bytes response, GroupCore group, int64_t id, object socket)

    cdef void arm(self, uint32_t ticks) noexcept
    cdef bint is_waiting(self) noexcept
    cdef int read_on(self) except -1
    cdef int take_proxy_header(self) except -1
    cdef int begin_tls(self) except -1
    cdef int take_head(self) except -1
    cdef Py_ssize_t scan(self, const uint8_t* data, Py_ssize_t size) except -2
    cdef int begin(self, bytes raw) except -1
    cdef int take_body(self) except -1
    cdef int take_chunks(self) except -1
    cdef int handle(self) except -1
    cdef int next_request(self) except -1
    cdef int finish(self) except -1
