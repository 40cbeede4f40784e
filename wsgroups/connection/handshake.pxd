"""Types for the compiled form of `handshake.py`."""

from wsgroups.connection.head cimport RequestHead

cdef bytes _GUID
cdef bytes _KEY
cdef bytes _VERSION
cdef str _INCOMPLETE
cdef str _SWITCH

cpdef bytes check_upgrade(RequestHead head)
cpdef str accept_key(bytes key)
cpdef tuple requested_subprotocols(RequestHead head)
cpdef bytes encode_switch(bytes key, object subprotocol, object headers)

cdef bint _is_key(bytes value)
