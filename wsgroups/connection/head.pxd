"""Types for the compiled form of `head.py`."""

cimport cython

cdef unsigned char _COMMA


@cython.final
cdef class RequestHead:
    cdef readonly str method
    cdef readonly str target
    cdef readonly int version
    cdef readonly bytes raw
    cdef readonly dict headers
    cdef readonly list connection
    cdef readonly object content_length
    cdef public bint keep_alive
    cdef readonly Py_ssize_t body_size
    cdef readonly bint is_complete
    cdef list _body
    cdef bint _in_head
    cdef object _parser

    cpdef feed(self, bytes data)
    cpdef on_body(self, bytes data)
    cpdef on_header(self, bytes name, bytes value)
    cpdef list get(self, bytes name)

    @cython.locals(values=list, value=bytes, token=bytes)
    cpdef list tokens(self, bytes name)

    cdef bytes _host(self)
    cdef object _body_length(self)


@cython.locals(line=bytes, parts=list, method=bytes, target=bytes, protocol=bytes)
cdef tuple _request_line(bytes raw)


cdef str _origin_form(bytes target, bytes host)
