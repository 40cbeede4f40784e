"""Types for the compiled form of `endpoint.py`."""

cimport cython

from wsgroups.connection.handshake cimport check_upgrade
from wsgroups.connection.head cimport RequestHead
from wsgroups.connection.http cimport HttpPhase
from wsgroups.surface.request cimport Request
from wsgroups.surface.routing cimport Router


cdef class Endpoint:
    cdef object _app
    cdef Router _router
    cdef dict _groups
    cdef object _proxies
    cdef readonly str scheme
    cdef readonly object port
    cdef public bint is_closing
    cdef public object health_path
    cdef public object health

    cpdef handle(self, HttpPhase phase, RequestHead head)
    cpdef group_for(self, object name, HttpPhase phase, RequestHead head)
    cdef object _find_group(self, object name)

    @cython.locals(path=str, methods=dict, parameters=dict)
    cdef object _route(self, Request request)

    cdef _finish(self, HttpPhase phase, RequestHead head, Request request, object result)
    cdef _failed(self, HttpPhase phase, RequestHead head, Request request, object error)
    cdef _respond(self, HttpPhase phase, RequestHead head, object response)
    cdef _count_client(self, HttpPhase phase, RequestHead head)
    cdef _check_origin(self, HttpPhase phase, RequestHead head, object allowed)


cdef object _call(object route, Request request)
