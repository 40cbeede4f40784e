"""The epoll driver: one readiness loop of our own inside the running asyncio loop (Linux).

All sockets are in one epoll instance, whose descriptor the asyncio loop watches. An idle socket
therefore costs no transport, protocol, task or buffer, and a batch of ready sockets costs one call
from the loop.

Sockets are registered once, edge-triggered, so that epoll does not ask each of them again after it
has been served. An edge is told once: whoever leaves input unread (a pause, a turn that is over)
sets `unread`, and the socket is armed anew as soon as it may read again. A short read is the end of
what has come, except when FIN came with it: EPOLLRDHUP then says to read on. Sockets that have
never been without room to write are not watched for it.
"""

import os
import warnings

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.contextvars cimport PyContext_Enter, PyContext_Exit
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, errno as c_errno
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from wsgroups.connection.connection cimport Connection
from wsgroups.connection.outbox cimport blocks_freed, iovec
from wsgroups.connection.stream cimport (
    STREAM_CLOSED,
    STREAM_OPEN,
    Driver,
    Stream,
    has_queued,
    now_ns,
)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP, EPOLLET
    int EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CLOEXEC
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int most, int timeout)

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_NONBLOCK, EFD_CLOEXEC
    int eventfd(unsigned int value, int flags)

cdef extern from "<sys/socket.h>" nogil:
    cdef struct msghdr:
        void* msg_name
        uint32_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        pass
    int MSG_NOSIGNAL, SHUT_WR, SOCK_NONBLOCK, SOCK_CLOEXEC
    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t send(int fd, const void* buffer, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int accept4(int fd, sockaddr* address, uint32_t* size, int flags)
    int shutdown(int fd, int how)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    ssize_t c_read "read"(int fd, void* buffer, size_t size)
    ssize_t c_write "write"(int fd, const void* buffer, size_t size)

cdef extern from *:
    """
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <sys/socket.h>
    /* Nagle would hold back small frames; the cork does what it is for. Accepted sockets inherit
       the option from the listening one; on a Unix socket it fails and means nothing. */
    static inline void wsgroups_no_delay(int fd) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    /* The errno that a connection has broken with, or 0. */
    static inline int wsgroups_pending_error(int fd) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        return error;
    }
    """
    void wsgroups_no_delay(int fd) nogil
    int pending_error "wsgroups_pending_error"(int fd) nogil

cdef enum:
    RECEIVE_SIZE = 524288      # the one buffer all sockets are received into
    RECEIVE_A_TURN = 262144    # bytes from one socket, then the others have their turn
    EVENTS = 512
    VECTORS = 64
    SCRATCH_SIZE = 16384
    ACCEPT_A_TURN = 64
    TURN_NS = 4000000          # then asyncio has its turn
    FLUSH_NS = 2000000         # a slice of a fan-out

cdef bytes NO_DESCRIPTORS = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)

cdef uint32_t INTEREST = EPOLLIN | EPOLLRDHUP | EPOLLET


cdef enum Tag:
    # The low bits of an event's pointer say what it points to.
    TAG_STREAM = 0
    TAG_LISTENER = 1
    TAG_WAKER = 2
    TAG_NOTHING = 3


@cython.final
cdef class Listener:
    """A listening descriptor and what makes a connection of each accepted one."""

    cdef EpollDriver driver
    cdef int fd
    cdef object accepted
    cdef bint is_closed            # not watched until the next sweep: nobody can be let in

    def close(self):
        """Accept nothing further; the descriptor stays its owner's."""
        self.driver.stop_listening(self)


@cython.final
cdef class EpollDriver(Driver):
    """Serves all sockets of one loop.

    Args:
        loop: the running loop, asyncio's or uvloop's; call from its thread.
    """

    cdef object __weakref__
    cdef int epoll, waker, reserve
    cdef char* buffer
    # Where small blocks are put together for one send, and which lie there.
    cdef char* scratch
    cdef iovec[VECTORS] joined
    cdef int joined_count
    cdef uint64_t joined_after     # `blocks_freed` at the time
    cdef epoll_event* events
    cdef int event_next, event_count
    cdef list closing              # streams released in this turn, which events may still name
    cdef dict listeners            # fd -> Listener

    def __cinit__(self, loop):
        self.epoll = self.waker = self.reserve = -1
        self.slice = FLUSH_NS
        self.closing = []
        self.listeners = {}
        self.buffer = <char*> malloc(RECEIVE_SIZE)
        self.events = <epoll_event*> malloc(EVENTS * sizeof(epoll_event))
        self.scratch = <char*> malloc(SCRATCH_SIZE)
        if self.buffer == NULL or self.scratch == NULL or self.events == NULL:
            raise MemoryError
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.waker = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        try:
            if self.epoll < 0 or self.waker < 0:
                raise OSError(c_errno, os.strerror(c_errno))
            self.reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self.register(EPOLL_CTL_ADD, self.waker, EPOLLIN, TAG_WAKER)
            loop.add_reader(self.epoll, self._ready)
        except BaseException:
            self.let_go()  # nobody has it who could close it
            raise

    def __dealloc__(self):
        if self.buffer != NULL:  # else the descriptors are 0 because nobody has set them
            if self.epoll >= 0:
                close(self.epoll)
            if self.waker >= 0:
                close(self.waker)
            if self.reserve >= 0:
                close(self.reserve)
        free(self.buffer)
        free(self.scratch)
        free(self.events)

    def abandon(self):
        """Let go of all connections without a word to handlers: the loop is gone."""
        self.watchers.clear()
        self.let_go()
        self.forget_deferred()

    cdef int orphaned(self) except -1:
        self.abandon()
        warnings.warn("a loop was closed before the wsgroups servers in it", ResourceWarning)
        return 0

    def __del__(self):
        if self.epoll >= 0 and self.buffer != NULL:
            self.abandon()
            warnings.warn("a wsgroups driver was never closed", ResourceWarning, source=self)

    def close(self):
        """Drop every connection and stop watching; in the loop's thread."""
        if self.epoll < 0:
            return
        self.loop.remove_reader(self.epoll)
        if self.sweeper is not None:
            self.sweeper.cancel()
        in_turn = self.in_turn
        self.let_go()
        self.settle_for_good(in_turn)

    cdef int let_go(self) except -1:
        """Close every descriptor; the connections leave their sets and the registry."""
        self.in_turn = True
        self.listeners.clear()
        # First of all, so that nothing is taken out of an epoll instance that a fork has shared.
        close(self.epoll)
        close(self.waker)
        if self.reserve >= 0:
            close(self.reserve)
        self.epoll = self.waker = self.reserve = -1
        self.event_next = self.event_count = 0
        return self.abort_all()

    @property
    def is_closed(self):
        """True after `close`."""
        return self.epoll < 0

    cdef int register(self, int operation, int fd, uint32_t events, uint64_t data) except -1:
        cdef epoll_event event
        event.events = events
        event.data.u64 = data
        if epoll_ctl(self.epoll, operation, fd, &event) < 0:
            raise OSError(c_errno, os.strerror(c_errno))
        return 0

    # --- listening --------------------------------------------------------------------------

    async def listen(self, sock, accepted, *, backlog):
        """Accept connections on a listening, non-blocking socket.

        Args:
            sock: stays the caller's, who closes the listener before it.
            accepted: called with each new connection; gives it its first phase.
            backlog: connections the kernel keeps waiting; as the socket has it.

        Returns:
            The listener, with `close()`.
        """
        cdef Listener listener = Listener()
        listener.driver = self
        listener.fd = sock.fileno()
        listener.accepted = accepted
        wsgroups_no_delay(listener.fd)
        self.watch(EPOLL_CTL_ADD, listener, EPOLLIN)
        self.listeners[listener.fd] = listener
        return listener

    cdef int watch(self, int operation, Listener listener, uint32_t events) except -1:
        cdef uint64_t data = <uintptr_t> <PyObject*> listener | TAG_LISTENER
        return self.register(operation, listener.fd, events, data)

    cdef int stop_listening(self, Listener listener) except -1:
        if self.listeners.get(listener.fd) is listener:
            del self.listeners[listener.fd]
            self.keep(listener)  # first of all: an event of this turn may still name it
            self.register(EPOLL_CTL_DEL, listener.fd, 0, 0)
        return 0

    cdef int accept(self, Listener listener) except -1:
        """Accept a batch; the rest is reported again."""
        cdef int fd, _turn
        cdef sockaddr_storage address
        cdef uint32_t size
        for _turn in range(ACCEPT_A_TURN):
            if self.listeners.get(listener.fd) is not listener:
                return 0
            size = sizeof(address)
            memset(&address, 0, 32)  # a Unix socket's is shorter than what is kept
            fd = accept4(listener.fd, <sockaddr*> &address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self.welcome(listener, fd, &address)
            elif c_errno == EMFILE or c_errno == ENFILE:
                return self.turn_away(listener)
            elif c_errno != EINTR and c_errno != ECONNABORTED:
                return 0
        return 0

    cdef int welcome(self, Listener listener, int fd, const sockaddr_storage* address) except -1:
        cdef Connection connection
        try:
            connection = Connection()
            self.attach(connection)
        except BaseException as error:  # there is no memory: the others are served all the same
            close(fd)
            return self.complain(error)
        connection.fd = fd
        memcpy(connection.address, address, sizeof(connection.address))
        try:
            self.register(EPOLL_CTL_ADD, fd, INTEREST, <uintptr_t> <PyObject*> connection)
            listener.accepted(connection)
            self.flush(connection)
        except BaseException as error:
            self.crashed(connection, error)
        return 0

    cdef int turn_away(self, Listener listener) except -1:
        """No descriptor is left: use the reserved one to take a client and let it go.

        Without it the client would stay in the queue and keep the listener ready for ever.
        When that one is lost as well, the listener is left alone until the next sweep.
        """
        cdef int fd
        if self.reserve >= 0:
            close(self.reserve)
            self.reserve = -1
        fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            send(fd, PyBytes_AS_STRING(NO_DESCRIPTORS), len(NO_DESCRIPTORS), MSG_NOSIGNAL)
            close(fd)
        elif c_errno == EMFILE or c_errno == ENFILE:
            listener.is_closed = self.unsettled = True
            self.watch(EPOLL_CTL_MOD, listener, 0)
        return self.take_reserve()

    cdef int take_reserve(self) except -1:
        try:
            self.reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass  # another part of the program was faster; whoever needs it next tries again
        return 0

    cdef int open_listeners(self) except -1:
        """Watch the listeners again that were left alone."""
        cdef Listener listener
        for listener in self.listeners.values():
            if listener.is_closed:
                listener.is_closed = False
                self.watch(EPOLL_CTL_MOD, listener, EPOLLIN)
        if self.reserve < 0:
            self.take_reserve()
        return 0

    # --- a turn -----------------------------------------------------------------------------

    def _ready(self):
        """The asyncio loop says that some of our descriptors are ready.

        It calls in a copy of the context that `add_reader` was called in.
        """
        if self.in_turn:
            return
        PyContext_Enter(self.context)
        try:
            self.turn(True)
        finally:
            PyContext_Exit(self.context)

    cdef int resume(self) except -1:
        return self.turn(False)

    cdef int turn(self, bint wait) except -1:
        cdef int64_t until
        if self.in_turn or self.epoll < 0:
            return 0
        until = self.begin_turn() + TURN_NS
        try:
            if self.requeued:
                self.resume_requeued(TURN_NS)
            self.serve_ready(wait, until)
        finally:
            self.end_turn(self.slice)
        return 0

    cdef bint catch_up(self) except -1:
        cdef int64_t until = now_ns() + TURN_NS
        cdef bint is_new
        if self.epoll >= 0:
            self.open_listeners()
        while self.epoll >= 0:
            # What was left of an earlier turn goes first, and says nothing of what came since.
            is_new = self.event_next == self.event_count
            self.serve_ready(True, until)
            if self.event_next < self.event_count:
                return False
            if is_new and self.event_count < EVENTS:
                return True
            if now_ns() > until:
                return False
        return True

    cdef int serve_ready(self, bint wait, int64_t until) except -1:
        """Serve what epoll reports, or what was left over of that before, up to a time."""
        if wait and self.event_next == self.event_count:
            self.event_next = 0
            self.event_count = epoll_wait(self.epoll, self.events, EVENTS, 0)
            if self.event_count < 0:
                self.event_count = 0
        self.serve_events(until)
        if self.event_next == self.event_count:
            self.closing.clear()
        else:
            # Those left over go first next time: the kernel would report the busy ones again.
            self.schedule()
        return 0

    cdef int serve_events(self, int64_t until) except -1:
        cdef uint64_t data
        cdef uint32_t events
        cdef Stream stream
        while self.event_next < self.event_count:
            data = self.events[self.event_next].data.u64
            events = self.events[self.event_next].events
            self.event_next += 1
            if data & 3 == TAG_STREAM:
                stream = <Stream> <PyObject*> <uintptr_t> data
                try:
                    self.serve(stream, events)
                except BaseException as error:
                    self.crashed(stream, error)
            elif data & 3 == TAG_LISTENER:
                self.accept(<Listener> <PyObject*> <uintptr_t> (data & ~<uint64_t> 3))
            elif data & 3 == TAG_WAKER:
                c_read(self.waker, &data, 8)
            if self.event_next & 7 == 0 and now_ns() > until:
                break
        return 0

    cdef int serve(self, Stream stream, uint32_t events) except -1:
        """Receive, let the stream answer into the cork, send."""
        if stream.ending == STREAM_CLOSED:
            return 0  # closed by a handler earlier in this batch
        self.corked = <PyObject*> stream
        self.cork_size = 0
        try:
            if events & EPOLLOUT and stream.blocked:
                stream.last_seen = self.tick  # the peer has taken bytes
                self.flush(stream)
            if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
                self.receive(stream, events)
            if stream.ending != STREAM_CLOSED and (
                self.cork_size or has_queued(stream) or stream.ending != STREAM_OPEN
            ) and not stream.blocked:
                self.flush(stream)
        finally:
            self.corked = NULL
            self.cork_size = 0
        return 0

    cdef int receive(self, Stream stream, uint32_t events) except -1:
        """Receive until the read was short or the socket has had its share of the turn."""
        cdef bint at_end = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) != 0
        cdef bint broken = events & (EPOLLHUP | EPOLLERR) != 0
        cdef Py_ssize_t size, got, total = 0
        cdef char* target
        cdef int error
        if broken and stream.holding and (error := pending_error(stream.fd)):
            return stream.lost(error)
        while stream.fd >= 0:
            if stream.holding or (stream.paused and not broken) or total >= RECEIVE_A_TURN:
                stream.unread = True
                return self.update_interest(stream)
            size = RECEIVE_SIZE
            target = stream.target(&size) if stream.ending == STREAM_OPEN else NULL
            got = recv(stream.fd, self.buffer if target == NULL else target, size, 0)
            if got > 0:
                total += got
                if stream.ending != STREAM_OPEN:
                    stream.discard(got)
                elif target == NULL:
                    stream.received(self.buffer, got)
                else:
                    stream.landed(got)
                if got < size and not at_end:
                    return 0
            elif got == 0:
                if stream.ending != STREAM_OPEN:
                    return stream.ended_too()
                stream.ended()
                stream.unread = True  # whoever only pauses now is told again when it reads on
                return 0
            elif c_errno == EAGAIN:
                self.lent = None
                return 0
            elif c_errno != EINTR:
                return stream.lost(c_errno)
        return 0

    # --- what streams ask for ---------------------------------------------------------------

    cdef int flush(self, Stream stream) except -1:
        cdef iovec vectors[VECTORS]
        cdef msghdr message
        cdef int used, i
        cdef Py_ssize_t total, done
        while stream.fd >= 0:
            used = stream.gather(vectors, VECTORS)
            if used == 0:
                return stream.flushed()
            total = 0
            for i in range(used):
                total += vectors[i].iov_len
            if used == 1:
                done = send(stream.fd, vectors[0].iov_base, total, MSG_NOSIGNAL)
            elif total <= SCRATCH_SIZE:
                self.join(vectors, used)
                done = send(stream.fd, self.scratch, total, MSG_NOSIGNAL)
            else:
                memset(&message, 0, sizeof(message))
                message.msg_iov = vectors
                message.msg_iovlen = used
                done = sendmsg(stream.fd, &message, MSG_NOSIGNAL)
            if done == total:
                stream.sent(done)
                continue
            if done >= 0:
                stream.sent(done)
                return stream.block()
            if c_errno == EAGAIN:
                stream.sent(0)
                return stream.block()
            if c_errno != EINTR:
                return stream.lost(c_errno)
        return 0

    cdef int join(self, const iovec* vectors, int used) noexcept:
        """Put small parts together, which is cheaper than having the kernel collect them.

        The members of a group are sent the same blocks: theirs are together already.
        """
        cdef size_t size = used * sizeof(iovec)
        cdef Py_ssize_t done = 0
        cdef int i
        if (
            used == self.joined_count and self.joined_after == blocks_freed
            and self.cork_size == 0 and memcmp(vectors, self.joined, size) == 0
        ):
            return 0
        for i in range(used):
            memcpy(self.scratch + done, vectors[i].iov_base, vectors[i].iov_len)
            done += vectors[i].iov_len
        # What lies in the cork changes.
        self.joined_count = 0 if self.cork_size else used
        self.joined_after = blocks_freed
        memcpy(self.joined, vectors, size)
        return 0

    cdef int update_interest(self, Stream stream) except -1:
        """Have input that was left unread reported once more, when it may be read again.

        Room to write is asked for when there is none for the first time: a socket that is new has
        room, and would be reported for that alone, before its request has come.
        """
        cdef bint is_readable = stream.unread and not stream.paused and not stream.holding
        cdef bint is_new = stream.blocked and not stream.is_room_told
        cdef uint32_t events = INTEREST
        if stream.fd < 0 or not (is_readable or is_new):
            return 0
        if is_readable:
            stream.unread = False
        stream.is_room_told |= stream.blocked
        if stream.is_room_told:
            events |= EPOLLOUT
        return self.register(EPOLL_CTL_MOD, stream.fd, events, <uintptr_t> <PyObject*> stream)

    cdef int shut_down(self, Stream stream) except -1:
        shutdown(stream.fd, SHUT_WR)
        return 0

    cdef int release(self, Stream stream) except -1:
        cdef epoll_event event  # not read, but kernels before 2.6.9 want one
        cdef int fd = stream.fd
        if fd < 0:
            return 0
        stream.fd = -1
        # Before the close: a duplicate of the descriptor elsewhere would keep it in the set.
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, fd, &event)
        close(fd)
        self.keep(stream)
        if not self.in_turn:
            self.schedule()
        return 0

    cdef int keep(self, object item) except -1:
        """Keep what is watched no more until no event can name it."""
        cdef int i
        try:
            self.closing.append(item)
        except MemoryError:  # then no event may name it
            for i in range(self.event_next, self.event_count):
                if self.events[i].data.u64 & ~<uint64_t> 3 == <uintptr_t> <PyObject*> item:
                    self.events[i].data.u64 = TAG_NOTHING
        return 0

    cdef int wake(self) except -1:
        cdef uint64_t one = 1
        c_write(self.waker, &one, 8)
        return 0
