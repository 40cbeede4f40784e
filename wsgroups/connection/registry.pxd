"""Every live socket of the process by its id."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t

cdef int registry_add(int64_t key, PyObject* item) except -1
cdef PyObject* registry_find(int64_t key) noexcept
cdef void registry_remove(int64_t key) noexcept
