"""TLS between driver and connection (RFC 8446, RFC 5246), by the interpreter's own OpenSSL.

Bytes come and go through two `ssl.MemoryBIO`, so it works with every driver. What a peer can do
here is bounded: so many steps a turn, small pieces on both ways, and no memory for TLS before the
first byte has come.
"""

import ssl

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from wsgroups.connection.connection cimport Connection
from wsgroups.connection.outbox cimport iovec, outbox_write_bytes
from wsgroups.connection.stream cimport (
    HOLDING_FRAMES,
    HOLDING_SEALED,
    STREAM_CLOSED,
    STREAM_FINISHING,
    STREAM_OPEN,
    Driver,
    Filter,
    Stream,
    is_over,
)

cdef extern from "Python.h":
    int PyBUF_READ, PyBUF_WRITE
    object PyMemoryView_FromMemory(char* data, Py_ssize_t size, int flags)

cdef enum:
    RECORD = 16384             # the most plain bytes of one record (RFC 8446 section 5.1)
    PIECE = 8192               # written to a BIO at once: it keeps the memory that it has once used
    STEPS_A_TURN = 32          # 256 KiB at the most, then the other sockets have their turn
    RECORDS_AT_ONCE = 8        # sealed before any of it is sent; not less than what the cork holds
    ANSWERS_AT_MOST = 131072   # sealed for a peer that takes nothing, before it is read again
    VECTORS = 64

cdef enum TlsState:
    TLS_NEW = 0
    TLS_SHAKING = 1
    TLS_OPEN = 2
    TLS_ENDED = 3              # the peer's close_notify has come: what is behind it does not count
    TLS_BROKEN = 4

cdef object WantRead = ssl.SSLWantReadError
cdef object ZeroReturn = ssl.SSLZeroReturnError


@cython.final
cdef class TlsFilter(Filter):
    """The server's end of TLS on one connection.

    Args:
        connection: gets this as its filter.
        context: an `ssl.SSLContext` for servers.
    """

    def __init__(self, Connection connection not None, context):
        self.context = context
        connection.filter = self

    def peer_certificate(self):
        """Return the certificate that the peer has shown and that was verified, or None."""
        return None if self.tls is None else self.tls.getpeercert() or None

    cdef int begin(self, Stream stream) except -1:
        """The first byte has come."""
        cdef Driver driver = stream.driver
        if driver.plain == NULL:
            driver.plain = <char*> malloc(RECORD)
            if driver.plain == NULL:
                raise MemoryError
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.context = None
        self.state = TLS_SHAKING
        self.wants = True
        return 0

    # --- input ------------------------------------------------------------------------------

    cdef int received(self, Stream stream, char* data, Py_ssize_t size) except -1:
        if self.state == TLS_NEW:
            self.begin(stream)
        stream.last_seen = stream.driver.tick
        if self.held is not None:  # from a driver that cannot stop at once
            self.held = self.held[self.held_from:] + data[:size]
            self.held_from = 0
            return 0
        return self.undo(stream, data, size)

    cdef int resume(self, Stream stream) except -1:
        # The input may outlive `self.held`, which an end lets go of.
        cdef bytes held = self.held
        if self.stops(stream):
            return 0
        return self.undo(
            stream,
            PyBytes_AS_STRING(held) + self.held_from,
            PyBytes_GET_SIZE(held) - self.held_from,
        )

    cdef int undo(self, Stream stream, char* data, Py_ssize_t size) except -1:
        """Give the stream what these bytes say, up to a turn's worth, and hold the rest."""
        cdef int left = STEPS_A_TURN
        cdef Py_ssize_t piece
        cdef int64_t until = 0
        while self.state < TLS_ENDED and stream.ending == STREAM_OPEN:
            if self.wants and size == 0:
                break
            if left == 0 or self.stops(stream):
                return self.hold(stream, data, size)
            if self.wants:
                piece = min(size, PIECE)
                self.incoming.write(PyMemoryView_FromMemory(data, piece, PyBUF_READ))
                data += piece
                size -= piece
            left -= 1
            self.step(stream)
            # A record may have little in it and be much work: each key update is 10 us.
            if is_over(stream.driver.slice, &until):
                left = 0
        self.held = None
        stream.holding &= ~HOLDING_SEALED
        return 0

    cdef bint stops(self, Stream stream) noexcept:
        """True while the stream takes no more, or the peer takes none of our answers."""
        return (
            stream.paused
            or stream.holding & HOLDING_FRAMES
            or (stream.blocked and self.sealed.size > ANSWERS_AT_MOST)
        )

    cdef int hold(self, Stream stream, char* data, Py_ssize_t size) except -1:
        """Keep the rest; it goes on in the next turn, or when the stream takes more."""
        if self.held is None:
            self.held = PyBytes_FromStringAndSize(data, size)
            self.held_from = 0
        else:
            self.held_from = data - PyBytes_AS_STRING(self.held)
        stream.holding |= HOLDING_SEALED
        if not self.stops(stream):
            stream.driver.requeue(stream)
        return 0

    cdef int step(self, Stream stream) except -1:
        """Go on with the handshake, or read once."""
        return self.shake(stream) if self.state == TLS_SHAKING else self.read(stream)

    cdef int shake(self, Stream stream) except -1:
        try:
            self.tls.do_handshake()
        except WantRead:
            self.wants = True
        except (OSError, ValueError) as error:
            return self.break_off(stream, error)
        else:
            self.state = TLS_OPEN
            self.wants = self.incoming.pending == 0
        return self.collect()

    cdef int read(self, Stream stream) except -1:
        """Read one record, straight to where the stream wants it."""
        cdef Py_ssize_t got, size = RECORD
        cdef char* target = stream.take_target(&size)
        cdef char* place = stream.driver.plain if target == NULL else target
        if target == NULL:
            size = RECORD
        try:
            got = self.tls.read(size, PyMemoryView_FromMemory(place, size, PyBUF_WRITE))
            self.wants = self.incoming.pending == 0 and self.tls.pending() == 0
        except WantRead:
            self.wants = True
            return self.collect()
        except ZeroReturn:
            got = 0
        except (OSError, ValueError) as error:
            return self.break_off(stream, error)
        finally:
            stream.driver.lent = None
        self.collect()
        if stream.ending != STREAM_OPEN:  # ended by what ran while TLS was reading
            return 0
        if got == 0:
            self.state = TLS_ENDED
            return stream.take_end()
        return stream.landed(got) if target != NULL else stream.take(place, got)

    cdef int ended(self, Stream stream) except -1:
        """FIN; without a close_notify before it, what the peer meant to send may be cut short.

        That is for the layers above to see: a WebSocket has its Close frame, HTTP its lengths.
        """
        return 0 if self.state == TLS_ENDED else stream.take_end()

    cdef int break_off(self, Stream stream, object error) except -1:
        """The peer broke the rules, or has told us that we did: the alert for it goes out."""
        self.state = TLS_BROKEN
        self.collect()
        return stream.failed("TLS: " + str(getattr(error, "reason", None) or error))

    # --- output -----------------------------------------------------------------------------

    cdef int collect(self) except -1:
        """Take what TLS has to send."""
        if self.outgoing.pending:
            outbox_write_bytes(&self.sealed, self.outgoing.read())
        return 0

    cdef int seal(self, Stream stream) except -1:
        cdef iovec[VECTORS] vectors
        cdef int used, _record
        if self.state not in (TLS_OPEN, TLS_ENDED) or self.has_ended or self.is_sealing:
            return 0
        for _record in range(RECORDS_AT_ONCE):
            used = stream.gather_plain(vectors, VECTORS)
            if used == 0:
                return self.end() if stream.ending == STREAM_FINISHING else 0
            self.is_sealing = True
            try:
                size = self.tls.write(self.record(vectors, used))
            except WantRead:  # in the middle of a renegotiation that the context allows
                return 0
            except (OSError, ValueError) as error:
                return self.break_off(stream, error)
            finally:
                self.is_sealing = False
            if stream.ending == STREAM_CLOSED:  # by what ran while TLS was writing
                return 0
            stream.sent_plain(size)
            self.collect()
        return 0

    cdef bytes record(self, iovec* vectors, int used):
        """Return what goes into the next record: small parts together, or some of a large one."""
        # Copied, because the collector may run while TLS writes, and with it what ends this socket
        # or sends on others.
        cdef Py_ssize_t size = 0, part
        cdef bytes record
        cdef char* place
        cdef int i
        for i in range(used):
            size += <Py_ssize_t> vectors[i].iov_len
        record = PyBytes_FromStringAndSize(NULL, min(size, PIECE))
        place = PyBytes_AS_STRING(record)
        size = PyBytes_GET_SIZE(record)
        for i in range(used):
            part = min(<Py_ssize_t> vectors[i].iov_len, size)
            memcpy(place, vectors[i].iov_base, part)
            place += part
            size -= part
            if size == 0:
                break
        return record

    cdef int end(self) except -1:
        """Say that nothing follows (RFC 8446 section 6.1); the peer's own word is not awaited."""
        self.has_ended = True
        try:
            self.tls.unwrap()
        except (OSError, ValueError):
            pass
        return self.collect()
