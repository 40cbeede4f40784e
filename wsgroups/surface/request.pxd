"""Types for the compiled form of `request.py`."""

from wsgroups.connection.head cimport RequestHead


cdef class Request:
    cdef object _head
    cdef object _phase
    cdef bytes _peer
    cdef object _endpoint
    cdef object _id
    cdef readonly str method
    cdef readonly str uri
    cdef public dict path_params
    cdef readonly bint websocket_upgrade

    cdef RequestHead _parsed(self)
