"""Types for the compiled form of `routing.py`."""

cimport cython


cdef class Router:
    cdef dict _exact
    cdef dict _patterns

    @cython.locals(methods=dict, others=set)
    cpdef tuple find(self, str method, str path, object port)
