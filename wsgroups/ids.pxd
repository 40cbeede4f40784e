"""Types for the compiled form of `ids.py`."""


cdef class IdSequence:
    cdef long long _route
    cdef long long _last
    cdef long long _limit
    cdef long long _begun
    cdef object _boot_ns
    cdef object _elapsed_ns
    cdef object _sleep
    cdef object _lock

    cdef long long _clock(self) except -1
    cpdef long long next(self) except -1
