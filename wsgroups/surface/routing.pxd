"""Types for the compiled form of `routing.py`."""

cimport cython


cdef class Router:
    cdef dict _exact
    cdef dict _patterns

    @cython.locals(methods=dict, parameters=dict)
    cpdef tuple find(self, str path, object port)
