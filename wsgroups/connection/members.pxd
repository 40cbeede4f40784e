"""A set of objects as a dense array, for walking, with a hash index, for leaving in O(1)."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t


cdef class Witness:
    cdef list entries         # (label, id, has come), in order
    cdef object wake

    cdef void append(self, tuple entry, object loop) noexcept


cdef class Members:
    cdef PyObject** items     # borrowed: whoever adds an object discards it before it dies
    cdef uint32_t count, capacity
    cdef uint32_t* table      # open addressing; position in `items` + 1, or 0
    cdef uint32_t mask
    cdef PyObject* owner      # the set of the surface that these are the members of, or NULL
    cdef object keeper        # the owner, while there are members that keep it alive
    cdef public object channel  # what other workers call the set, or None: it is ours alone
    cdef public Witness witness  # who notes who comes and who leaves, or None
    cdef public object label  # what the set is called there

    cdef bint add(self, PyObject* item) except -1
    cdef bint discard(self, PyObject* item) noexcept
    cdef bint has(self, PyObject* item) noexcept
    cdef void changed(self) noexcept
    cdef tuple entry(self, int64_t id, bint has_come)
    cdef int reserve(self, uint32_t capacity) except -1
