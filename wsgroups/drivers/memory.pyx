"""A driver without descriptors or a loop: bytes are fed and taken by hand.

It drives connections in tests exactly as the other drivers do, with a clock that only moves when
told to.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.contextvars cimport PyContextVar_Set
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from wsgroups.connection.connection cimport Connection
from wsgroups.connection.outbox cimport iovec
from wsgroups.connection.stream cimport (
    STREAM_CLOSED,
    STREAM_LINGERING,
    STREAM_OPEN,
    TICKS_PER_SECOND,
    Driver,
    Stream,
)

import errno

from wsgroups.connection.stream import current_socket

cdef enum:
    VECTORS = 64


cdef class Wire:
    """What is between one connection and its peer."""

    cdef bytearray sent
    cdef object window         # bytes that are still taken, or None for any number
    cdef bint fin

    def __init__(self):
        self.sent = bytearray()


@cython.final
cdef class MemoryDriver(Driver):
    """Serves connections from memory, in the thread that made it."""

    cdef dict wires
    cdef bint waiting
    cdef public object on_work     # called, in any thread, when `run` gets something to do

    def __cinit__(self, loop=None):
        self.wires = {}
        self.tick = 1

    def __del__(self):
        self.abort_all()
        self.forget_deferred()

    def close(self):
        """Drop every connection; their disconnect handlers have begun then."""
        in_turn = self.in_turn
        self.abort_all()
        self.settle_for_good(in_turn)

    # --- the peer's side --------------------------------------------------------------------

    def connect(self, accepted):
        """Return a new connection; `accepted(connection)` gives it its first phase."""
        cdef Connection connection = Connection()
        connection.fd = 0
        self.wires[id(connection)] = Wire()
        self.attach(connection)
        self.begin_turn()
        try:
            accepted(connection)
            self.flush(connection)
        except BaseException as error:
            self.crashed(connection, error)
        self.end_turn(0)
        return connection

    def feed(self, Connection connection not None, bytes data not None):
        """Let `data` arrive, as one receive or several when the connection asks for parts.

        Raises:
            RuntimeError: while the connection holds input of before; `run` lets it go on.
        """
        cdef bytearray own = bytearray(data)
        cdef char* next = own
        cdef char* target
        cdef Py_ssize_t left = len(own), size
        if connection.holding:
            raise RuntimeError("the connection has input to handle yet: call run() first")
        self.begin_turn()
        self.corked = <PyObject*> connection
        try:
            while left and connection.ending == STREAM_OPEN:
                size = left
                target = connection.target(&size)
                if target == NULL:
                    connection.received(next, left)
                    left = 0
                else:
                    size = min(size, left)
                    memcpy(target, next, size)
                    connection.landed(size)
                    next += size
                    left -= size
            if left and connection.ending != STREAM_CLOSED:
                connection.discard(left)
            if connection.ending != STREAM_CLOSED and not connection.blocked:
                self.flush(connection)
        except BaseException as error:
            self.crashed(connection, error)
        finally:
            self.corked = NULL
            self.cork_size = 0
        self.end_turn(0)

    def take(self, Connection connection not None):
        """Return what was sent since the last call."""
        cdef Wire wire = self.wires[id(connection)]
        sent = bytes(wire.sent)
        wire.sent.clear()
        return sent

    def end_input(self, Connection connection not None):
        """Let the peer's FIN arrive."""
        self.begin_turn()
        if connection.ending == STREAM_OPEN:
            connection.ended()
        else:
            connection.abort(0)
        self.end_turn(0)

    def reset(self, Connection connection not None):
        """Let the peer's RST arrive."""
        self.begin_turn()
        connection.lost(errno.ECONNRESET)
        self.end_turn(0)

    def set_window(self, Connection connection not None, window):
        """Take so many bytes more before sends block; None takes any number."""
        cdef Wire wire = self.wires[id(connection)]
        wire.window = window
        self.begin_turn()
        if connection.blocked and connection.ending < STREAM_LINGERING:
            self.flush(connection)
        self.end_turn(0)

    def advance(self, double seconds):
        """Move the clock on, tick by tick."""
        cdef Py_ssize_t _tick
        for _tick in range(round(seconds * TICKS_PER_SECOND)):
            self.tick += 1
            self._sweep()

    def run(self):
        """Do what turns have left for later, until nothing is."""
        while self.waiting:
            self.waiting = False
            self._resume()

    def run_once(self):
        """Do one turn of what is left for later; True when there was something."""
        was_waiting, self.waiting = self.waiting, False
        if was_waiting:
            self._resume()
        return was_waiting

    def is_closed(self, Connection connection not None):
        """True when the connection has closed its descriptor."""
        return connection.ending == STREAM_CLOSED

    def is_reading(self, Connection connection not None):
        """True when the connection takes input now."""
        return not connection.paused and not connection.holding

    def has_sent_fin(self, Connection connection not None):
        """True when the connection has shut down its sending side."""
        cdef Wire wire = self.wires[id(connection)]
        return wire.fin

    # --- what a driver implements -----------------------------------------------------------

    cdef int enter(self, object socket) except -1:
        # Its turns run in the context of whoever calls.
        if socket is not self.current or not self.in_turn:
            PyContextVar_Set(current_socket, socket)
            if self.in_turn:
                self.current = socket
        return 0

    cdef int64_t clock(self) noexcept:
        return <int64_t> self.tick * (1000000000 // TICKS_PER_SECOND)

    cdef int schedule(self) except -1:
        return self.wake()

    cdef int schedule_sweep(self) except -1:
        return 0

    cdef int resume(self) except -1:
        self.begin_turn()
        self.resume_requeued(0)
        self.end_turn(0)
        return 0

    cdef int flush(self, Stream stream) except -1:
        cdef iovec vectors[VECTORS]
        cdef Wire wire = self.wires[id(stream)]
        cdef int used, i
        cdef Py_ssize_t taken, size
        while stream.ending < STREAM_LINGERING:
            used = stream.gather(vectors, VECTORS)
            if used == 0:
                return stream.flushed()
            taken = 0
            for i in range(used):
                size = vectors[i].iov_len
                if wire.window is not None:
                    size = min(size, <Py_ssize_t> wire.window)
                    wire.window -= size
                wire.sent += PyBytes_FromStringAndSize(<char*> vectors[i].iov_base, size)
                taken += size
                if size < <Py_ssize_t> vectors[i].iov_len:
                    stream.sent(taken)
                    return stream.block()
            stream.sent(taken)
        return 0

    cdef int update_interest(self, Stream stream) except -1:
        if self.on_work is not None:
            self.on_work()  # whoever feeds may go on
        return 0

    cdef int shut_down(self, Stream stream) except -1:
        cdef Wire wire = self.wires[id(stream)]
        wire.fin = True
        return 0

    cdef int release(self, Stream stream) except -1:
        stream.fd = -1
        return 0

    cdef int wake(self) except -1:
        if not self.waiting:
            self.waiting = True
            if self.on_work is not None:
                self.on_work()
        return 0
