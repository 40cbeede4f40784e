"""The portable driver: asyncio's transports move the bytes, on any loop and any system.

Each connection has a transport of the loop's and a `Link`, the protocol of it, which hands what
comes to the stream. There is no batch over several sockets: a turn is one event, and what it has
left for other sockets is done in one turn for all events of the loop's iteration.

What is to be sent stays in the stream's own queue, where limits and policies see it. The transport
gets it in pieces and only as long as it has nothing left over: with a high-water mark of 0 it says
so at once, and says when it has sent the rest. That rest is the stream's `handed`. While it has
none, small pieces are sent past it where its socket is an ordinary one.
"""

import asyncio
import os
import socket
import warnings

cimport cython
from cpython.buffer cimport PyBUF_WRITE
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.contextvars cimport PyContext_Enter, PyContext_Exit
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, ECONNRESET, EINTR, errno as c_errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from wsgroups.connection.connection cimport Connection
from wsgroups.connection.outbox cimport block_bytes, blocks_freed, count_memory, iovec
from wsgroups.connection.stream cimport (
    STREAM_CLOSED,
    STREAM_OPEN,
    Driver,
    Stream,
    has_queued,
    most_block_bytes,
)

from wsgroups.connection.address import SOCKADDR_SIZE, pack_address

cdef extern from *:
    """
    #ifdef _WIN32
    /* A socket of the proactor is the transport's alone. */
    #define WSGROUPS_SENDS 0
    static inline Py_ssize_t wsgroups_send(int fd, const void* data, size_t size) { return -1; }
    #else
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0  /* the interpreter ignores SIGPIPE */
    #endif
    #define WSGROUPS_SENDS 1
    static inline Py_ssize_t wsgroups_send(int fd, const void* data, size_t size) {
        return send(fd, data, size, MSG_NOSIGNAL);
    }
    #endif
    """
    bint SENDS "WSGROUPS_SENDS"
    Py_ssize_t send "wsgroups_send"(int fd, const void* data, size_t size) nogil

cdef enum:
    RECEIVE_SIZE = 65536       # the one buffer all sockets are received into
    RECEIVE_AT_ONCE = 262144   # into a message's own buffer; then the others have their turn
    PIECE = 65536              # what a transport gets at once; a full cork fits
    SCARCE_PIECE = 4096        # the same while queues take half of what they may
    VECTORS = 64
    TURN_NS = 4000000          # then asyncio has its turn
    FLUSH_NS = 2000000         # a slice of a fan-out
    ACCEPTED_AT_ONCE = 16      # connections; then asyncio has its turn
    LATE = 2                   # ticks between sweeps that say that the loop was held up

cdef object AF_UNIX = getattr(socket, "AF_UNIX", None)  # not on Windows

cdef class Listener
cdef class TransportDriver(Driver)


cdef class Link:
    """The protocol of one connection's transport. Called by the loop; raises nothing into it."""

    cdef TransportDriver driver
    cdef Listener listener
    cdef object transport          # None before it is connected and after it is let go of
    cdef Stream stream             # likewise
    cdef bint is_full              # the transport holds bytes that the kernel has not taken
    cdef int fd                    # of its socket; -1 where only the transport may send
    cdef bint is_reading
    cdef bint at_end               # the peer's FIN has come

    def __cinit__(self, TransportDriver driver not None, Listener listener not None):
        self.driver = driver
        self.listener = listener
        self.is_reading = True
        self.fd = -1

    def connection_made(self, transport):
        """A connection was accepted."""
        self.transport = transport
        self.driver.begin()
        try:
            self.driver.welcome(self)
        finally:
            self.driver.end()

    def get_buffer(self, Py_ssize_t hint):
        """Return what the next bytes are received into: at once, and `buffer_updated` follows."""
        cdef Stream stream = self.stream
        cdef Py_ssize_t size = RECEIVE_AT_ONCE
        cdef char* target = NULL
        self.driver.lent = None  # nothing came the last time
        if stream is not None and stream.ending == STREAM_OPEN:
            target = stream.target(&size)
        self.driver.is_direct = target != NULL
        if target == NULL:
            return self.driver.room
        return PyMemoryView_FromMemory(target, min(size, RECEIVE_AT_ONCE), PyBUF_WRITE)

    def buffer_updated(self, Py_ssize_t size):
        """Bytes came."""
        if self.stream is not None:
            self.driver.begin()
            try:
                self.driver.serve(self, size)
            finally:
                self.driver.end()

    def eof_received(self):
        """FIN came; True keeps our own side open."""
        self.at_end = True
        if self.stream is not None:
            self.driver.begin()
            try:
                self.driver.serve(self, 0)
            finally:
                self.driver.end()
        return True

    def connection_lost(self, error):
        """The connection broke, or was closed by us."""
        self.transport = None
        if self.stream is not None:
            self.driver.begin()
            try:
                self.driver.break_off(self.stream, getattr(error, "errno", None) or 0)
            finally:
                self.driver.end()

    def pause_writing(self):
        """The transport could not send all that it was given. Called by its `write`."""
        self.is_full = True

    def resume_writing(self):
        """The transport has sent the rest."""
        cdef Stream stream = self.stream
        self.is_full = False
        if stream is not None:
            self.driver.set_handed(stream, 0)
            stream.last_seen = stream.last_taken = self.driver.tick
            # Not here: a transport of asyncio's must not be closed or ended within this call.
            self.driver.mark_dirty(stream)


class BufferedLink(Link, asyncio.BufferedProtocol):
    """A Link that asyncio takes for what it is; no instance has more than a Link has."""

    __slots__ = ()


@cython.final
cdef class Listener:
    """One listening socket, and what makes a connection of each accepted one."""

    cdef TransportDriver driver
    cdef object accepted
    cdef object sock
    cdef object server             # asyncio's, or None when it is closed
    cdef bint is_tcp

    def __call__(self):
        """Return the protocol of a connection that is being accepted."""
        return BufferedLink(self.driver, self)

    def close(self):
        """Accept nothing further, and close the socket."""
        server, self.server = self.server, None
        if server is None:
            return
        self.driver.listeners.discard(self)
        # A server of asyncio's that is closed forgets those it has accepted and not handed over:
        # their sockets stay open until they are found to be garbage. This one gets no others.
        try:
            is_stopped = self.driver.loop.remove_reader(self.sock)
        except NotImplementedError:  # the loop of Windows has no readers
            is_stopped = False
        if not is_stopped:
            server.close()
        self.sock.close()


@cython.final
cdef class TransportDriver(Driver):
    """Serves all sockets of one loop.

    Args:
        loop: the running loop, of whatever kind; call from its thread.
    """

    cdef object __weakref__
    cdef set listeners
    cdef bint is_down              # closed, or let go of
    cdef bint is_forked            # the transports are another process's
    cdef bint is_orphan            # their loop is closed, or about to be garbage
    cdef bytearray room            # what is received into
    cdef bint is_direct            # the bytes under way go to the stream's own target instead
    cdef list ends                 # links whose FIN is to be told once more
    cdef uint32_t caught_up        # tick of the last sweep
    # What was sent last, as one piece: the members of a group are sent the same.
    cdef bytes piece
    cdef iovec[VECTORS] joined
    cdef int joined_count
    cdef uint64_t joined_after     # `blocks_freed` at the time

    def __cinit__(self, loop):
        self.slice = FLUSH_NS
        self.listeners = set()
        self.ends = []
        self.room = bytearray(RECEIVE_SIZE)

    def abandon(self):
        """Let go of all connections in a process that a fork has made: they are its parent's.

        The loop shares its selector with the parent's, so nothing is taken out of it. The
        descriptors are closed all the same, or the sockets would stay open for the peers when the
        parent closes them; their numbers stay taken, because the transports still know them.
        """
        cdef Stream stream
        self.is_forked = True
        null = os.open(os.devnull, os.O_RDWR)
        try:
            for stream in self.streams:
                transport = (<Link> stream.link).transport
                sock = None if transport is None else transport.get_extra_info("socket")
                if sock is not None and sock.fileno() >= 0:
                    os.dup2(null, sock.fileno(), inheritable=False)
        finally:
            os.close(null)
            self.let_go()

    cdef int let_go(self) except -1:
        """Drop the connections without a word to handlers; they leave their sets."""
        self.is_down = True
        self.watchers.clear()
        self.abort_all()
        self.listeners.clear()
        self.ends.clear()
        self.forget_deferred()
        return 0

    cdef int orphaned(self) except -1:
        self.is_orphan = True
        self.let_go()
        warnings.warn("a loop was closed before the wsgroups servers in it", ResourceWarning)
        return 0

    def __del__(self):
        if not self.is_down:
            self.is_orphan = True
            self.let_go()
            warnings.warn("a wsgroups driver was never closed", ResourceWarning, source=self)

    def close(self):
        """Drop every connection and stop listening; in the loop's thread."""
        if self.is_down:
            return
        self.is_down = True
        for listener in list(self.listeners):
            listener.close()
        if self.sweeper is not None:
            self.sweeper.cancel()
        in_turn = self.in_turn
        self.abort_all()
        self.settle_for_good(in_turn)

    @property
    def is_closed(self):
        """True after `close`."""
        return self.is_down

    # --- listening --------------------------------------------------------------------------

    async def listen(self, sock, accepted, *, backlog):
        """Accept connections on a listening, non-blocking socket.

        Args:
            sock: becomes the listener's, which closes it.
            accepted: called with each new connection; gives it its first phase.
            backlog: connections the kernel keeps waiting.

        Returns:
            The listener, with `close()`.
        """
        cdef Listener listener = Listener()
        listener.driver = self
        listener.accepted = accepted
        listener.sock = sock
        listener.is_tcp = sock.family != AF_UNIX
        create = self.loop.create_server if listener.is_tcp else self.loop.create_unix_server
        # What asyncio calls the backlog is also how often it tries to accept at once. It goes on
        # trying, and logging, when there are no descriptors; so it is told little.
        listener.server = await create(
            listener, sock=sock, backlog=ACCEPTED_AT_ONCE, start_serving=False
        )
        self.listeners.add(listener)
        try:
            await listener.server.start_serving()
            sock.listen(backlog)
        except BaseException:
            listener.close()
            raise
        return listener

    cdef int welcome(self, Link link) except -1:
        cdef Connection connection
        cdef bytes address
        if self.is_down or link.listener.server is None:
            return self.turn_away(link)  # it was on its way while the listener was closed
        try:
            address = self.address_of(link)
            if address is None:
                return self.turn_away(link)  # broken already, before anybody saw who it was
            link.transport.set_write_buffer_limits(high=0)
            if SENDS:
                link.fd = link.transport.get_extra_info("socket").fileno()
            connection = Connection()
            self.attach(connection)
        except BaseException as error:  # there is no memory: the others are served all the same
            self.turn_away(link)
            return self.complain(error)
        connection.link = link
        link.stream = connection
        memcpy(connection.address, PyBytes_AS_STRING(address), sizeof(connection.address))
        try:
            link.listener.accepted(connection)
            self.flush(connection)
        except BaseException as error:
            self.crashed(connection, error)
        return 0

    cdef bytes address_of(self, Link link):
        """The peer's address as `format_address` takes it; None for one that has none left."""
        if not link.listener.is_tcp:
            return bytes(SOCKADDR_SIZE)
        peer = link.transport.get_extra_info("peername")
        if not peer:
            return None
        return pack_address(peer[0].partition("%")[0], peer[1])  # without an IPv6 zone

    cdef int turn_away(self, Link link) except -1:
        transport, link.transport = link.transport, None
        transport.abort()
        return 0

    # --- a turn -----------------------------------------------------------------------------

    cdef int begin(self) except -1:
        """Begin to handle one event, in the context that all are handled in."""
        PyContext_Enter(self.context)
        self.begin_turn()
        return 0

    cdef int end(self) except -1:
        """The event is over. What is left comes behind the other events of this iteration.

        So does what must end the program: those are served before. The context variable keeps its
        value, which every handler sets and only the next turn must not find.
        """
        self.in_turn = False
        PyContext_Exit(self.context)
        if (
            self.dirty or self.first_deferred is not None or self.mailbox or self.requeued
            or self.problem is not None or (self.sweeper is None and self.count)
        ):
            self.schedule()
        return 0

    cdef int resume(self) except -1:
        if self.in_turn or self.is_down:
            return 0
        self.begin_turn()
        try:
            if self.requeued:
                self.resume_requeued(TURN_NS)
            if self.ends:
                self.tell_ends()
        finally:
            self.end_turn(self.slice)
        return 0

    cdef bint catch_up(self) except -1:
        """The loop reads, some loops after their timers: so after a stall the next sweep judges."""
        cdef bint was_late = self.tick - self.caught_up > LATE
        self.caught_up = self.tick
        return not was_late

    cdef int serve(self, Link link, Py_ssize_t size) except -1:
        """Hand so many bytes to the stream, or FIN for 0; let it answer into the cork; send."""
        cdef Stream stream = link.stream
        self.corked = <PyObject*> stream
        self.cork_size = 0
        try:
            if size:
                self.hand_over(stream, size)
            elif stream.ending != STREAM_OPEN:
                stream.ended_too()
            else:
                stream.ended()
            if stream.ending != STREAM_CLOSED and (
                self.cork_size or has_queued(stream) or stream.ending != STREAM_OPEN
            ) and not stream.blocked:
                self.flush(stream)
        except BaseException as error:
            self.crashed(stream, error)
        finally:
            self.corked = NULL
            self.cork_size = 0
        return 0

    cdef int hand_over(self, Stream stream, Py_ssize_t size) except -1:
        """Give the stream what was received."""
        if stream.ending != STREAM_OPEN:
            return stream.discard(size)
        if self.is_direct:
            return stream.landed(size)
        return stream.received(PyByteArray_AS_STRING(self.room), size)

    cdef int tell_ends(self) except -1:
        """Tell those of the peer's FIN who only paused when it came and read on now."""
        cdef Link link
        cdef list batch = self.ends
        self.ends = []
        for link in batch:
            if link.stream is not None and not link.stream.paused and not link.stream.holding:
                self.serve(link, 0)
        return 0

    cdef int break_off(self, Stream stream, int error) except -1:
        try:
            stream.lost(error)
        except BaseException as second:
            self.crashed(stream, second)
        return 0

    # --- what streams ask for ---------------------------------------------------------------

    cdef int flush(self, Stream stream) except -1:
        cdef iovec vectors[VECTORS]
        cdef Link link
        cdef bytes piece
        cdef int used
        cdef Py_ssize_t done
        # In a turn the loop runs, so the descriptor is the transport's yet. What the transport is
        # empty of may be sent past it, which takes a fifth off the cost of a small message.
        cdef bint is_direct = self.in_turn and not self.is_down
        while stream.link is not None:
            link = <Link> stream.link
            if link.is_full:
                return stream.block()
            used = stream.gather(vectors, VECTORS)
            if used == 0:
                return stream.flushed()
            if is_direct and used == 1 and link.fd >= 0:
                done = send(link.fd, vectors[0].iov_base, vectors[0].iov_len)
                if done < 0 and c_errno == EINTR:
                    continue
                if done < 0 and c_errno != EAGAIN:
                    return stream.lost(c_errno)
                is_direct = done == <Py_ssize_t> vectors[0].iov_len
                if done > 0:
                    stream.sent(done)
                continue
            piece = self.join(vectors, used)
            link.transport.write(piece)
            if link.transport.is_closing():
                return stream.lost(ECONNRESET)  # which is told to us later only
            stream.sent(len(piece))
            if link.is_full:
                self.set_handed(stream, link.transport.get_write_buffer_size())
        return 0

    cdef bytes join(self, iovec* vectors, int used):
        """Return what the vectors describe, up to a piece; transports may keep it as it is.

        The members of a group are sent the same blocks: theirs are together already. A piece is a
        copy. Of what many wait for, and what is in memory once, it would make one for each of
        them, and those who have begun to read would be given up for want of memory.
        """
        cdef size_t done = 0, size = 0, part
        cdef size_t most = PIECE if block_bytes <= most_block_bytes // 2 else SCARCE_PIECE
        cdef bytes piece
        cdef char* next
        cdef int i
        if (
            used == self.joined_count and self.joined_after == blocks_freed
            and self.cork_size == 0 and memcmp(vectors, self.joined, used * sizeof(iovec)) == 0
            and <size_t> len(self.piece) <= most
        ):
            return self.piece
        for i in range(used):
            size += vectors[i].iov_len
        size = min(size, most)
        piece = PyBytes_FromStringAndSize(NULL, size)
        next = PyBytes_AS_STRING(piece)
        for i in range(used):
            part = min(vectors[i].iov_len, size - done)
            memcpy(next + done, vectors[i].iov_base, part)
            done += part
        if self.cork_size:  # what lies in the cork changes
            self.joined_count = 0
            return piece
        self.piece = piece
        self.joined_count = used
        self.joined_after = blocks_freed
        memcpy(self.joined, vectors, used * sizeof(iovec))
        return piece

    cdef int set_handed(self, Stream stream, Py_ssize_t size) except -1:
        """Say how much of what the stream has sent its transport still holds."""
        count_memory(size - stream.handed)
        stream.handed = size
        return 0

    cdef int update_interest(self, Stream stream) except -1:
        cdef Link link = stream.link
        cdef bint wanted = not stream.paused and not stream.holding
        if link is None:
            return 0
        if link.at_end:
            if wanted:
                self.ends.append(link)
                self.schedule()
        elif wanted != link.is_reading:
            link.is_reading = wanted
            if wanted:
                link.transport.resume_reading()
            else:
                link.transport.pause_reading()
        return 0

    cdef int shut_down(self, Stream stream) except -1:
        try:
            (<Link> stream.link).transport.write_eof()
        except OSError:
            pass  # the connection has broken, and `connection_lost` is about to say so
        return 0

    cdef int release(self, Stream stream) except -1:
        cdef Link link = stream.link
        if link is None:
            return 0
        self.set_handed(stream, 0)
        stream.link = None
        link.stream = None
        transport, link.transport = link.transport, None
        if transport is None or self.is_forked:
            return 0
        if self.is_orphan:
            return self.hang_up(transport)
        transport.abort()
        return 0

    cdef int hang_up(self, object transport) except -1:
        """Have the peer see the end of a connection whose loop can close no transport any more.

        The descriptor is closed with the last reference to the transport.
        """
        try:
            sock = transport.get_extra_info("socket")
            if sock is not None:
                sock.shutdown(socket.SHUT_RDWR)
        except (OSError, TypeError):
            pass  # it has ended already; or it is uvloop's, which closes them all by itself
        return 0

    cdef int wake(self) except -1:
        try:
            self.loop.call_soon_threadsafe(self._resume, context=self.context)
        except RuntimeError:
            pass  # the loop was closed this moment; the next use of the driver notices
        return 0
