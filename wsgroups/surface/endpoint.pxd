"""Types for the compiled form of `endpoint.py`."""

cdef class Endpoint:
    cdef object _app
    cdef readonly str scheme
    cdef readonly object port
    cdef public bint is_closing
