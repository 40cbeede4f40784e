"""Types for the compiled form of `request.py`."""

from libc.stdint cimport int64_t

from wsgroups.connection.handshake cimport encode_switch, requested_subprotocols
from wsgroups.connection.head cimport RequestHead
from wsgroups.connection.http cimport HttpPhase
from wsgroups.ids cimport IdSequence
from wsgroups.surface.websocket cimport open_socket

cdef IdSequence sequence


cdef class Request:
    cdef object _head
    cdef HttpPhase _phase
    cdef bytes _peer
    cdef object _certificate
    cdef object _endpoint
    cdef int64_t _id                # -1 until somebody asks
    cdef str _uri
    cdef public object path_params
    cdef readonly bint websocket_upgrade

    cdef RequestHead _parsed(self)
    cpdef get_websocket_id(self)
    cpdef require_upgrade(self)


cdef list _cookie_headers(object cookies)
cdef list _checked_headers(object headers)
