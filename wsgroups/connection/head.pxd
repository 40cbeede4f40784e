"""Types for the compiled form of `head.py`."""

cdef class RequestHead:
    cdef readonly str method
    cdef readonly str target
    cdef readonly int version
    cdef readonly bytes raw
    cdef readonly dict headers
    cdef readonly object content_length
    cdef public bint keep_alive
    cdef readonly Py_ssize_t body_size
    cdef readonly bint is_complete
    cdef list _body
    cdef bint _in_head
    cdef object _parser

    cpdef list get(self, bytes name)
    cpdef list tokens(self, bytes name)
    cdef bytes _host(self)
    cdef object _body_length(self)
