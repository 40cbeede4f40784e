"""The seam between drivers and connections: `Driver` moves bytes, `Stream` owns them.

A driver knows file descriptors, readiness and bytes, nothing of WebSocket. It serves one stream at
a time; whatever a stream does to others meanwhile (sends, closes) is collected and done when the
turn ends. Everything here runs in the loop's thread but `Driver.post` and `is_here`.
"""

import contextvars
import logging
import sys

cimport cython
from cpython.contextvars cimport PyContextVar_Set
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from wsgroups.connection.outbox cimport (
    Block,
    block_bytes,
    iovec,
    outbox_clear,
    outbox_gather,
    outbox_push,
    outbox_sent,
    outbox_unshift,
    outbox_write,
)

cdef extern from *:
    """
    #ifdef _WIN32
    #include <windows.h>
    static int64_t wsgroups_now_ns(void) {
        LARGE_INTEGER count, a_second;
        QueryPerformanceCounter(&count);
        QueryPerformanceFrequency(&a_second);
        /* In two steps: the whole count in nanoseconds would overflow after minutes. */
        return count.QuadPart / a_second.QuadPart * 1000000000
             + count.QuadPart % a_second.QuadPart * 1000000000 / a_second.QuadPart;
    }
    #else
    #include <time.h>
    static int64_t wsgroups_now_ns(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
    }
    #endif
    """
    int64_t monotonic_ns "wsgroups_now_ns"() noexcept nogil

cdef extern from *:
    """
    static int wsgroups_visit(PyObject *object, void *found) {
        if (!PyContext_CheckExact(object))  /* the one it was entered from is visited as well */
            *(PyObject **) found = object;
        return 0;
    }
    /* What holds the variables of a context, borrowed. It is never changed: a context that sets a
       variable has a new one from then on, and a copy of a context begins with the same one. */
    static PyObject *wsgroups_variables(PyObject *context) {
        PyObject *found = NULL;
        Py_TYPE(context)->tp_traverse(context, wsgroups_visit, &found);
        return found;
    }
    static int wsgroups_compare(PyObject *object, void *wanted) {
        if (object == *(PyObject **) wanted)
            *(PyObject **) wanted = NULL;
        return 0;
    }
    /* True when `value` stands in the topmost node of `variables`: whoever sets a variable of a
       copy has a topmost node of its own from then on, with a reference to `value` of its own. */
    static int wsgroups_is_on_top(PyObject *variables, PyObject *value) {
        PyObject *top = NULL;
        Py_TYPE(variables)->tp_traverse(variables, wsgroups_visit, &top);
        if (top != NULL)
            Py_TYPE(top)->tp_traverse(top, wsgroups_compare, &value);
        return value == NULL;
    }
    /* True while a context has `variables` with `scope` in them, and no copy of it has either: of
       the two references to each, one is the context's, one the caller's. */
    static inline int wsgroups_is_uncopied(
        PyObject *context, PyObject *variables, PyObject *scope
    ) {
        return Py_REFCNT(variables) == 2 && Py_REFCNT(scope) == 2
            && wsgroups_variables(context) == variables;
    }
    /* True when variables are set in this context now. */
    static inline int wsgroups_is_entered(PyObject *context) {
        return PyThreadState_Get()->context == context;
    }
    """
    PyObject* variables_of "wsgroups_variables"(PyObject* context)
    # By pointers: Cython holds a reference to an object while it calls.
    bint is_on_top "wsgroups_is_on_top"(PyObject* variables, PyObject* value)
    bint is_entered "wsgroups_is_entered"(PyObject* context)
    bint is_uncopied "wsgroups_is_uncopied"(
        PyObject* context, PyObject* variables, PyObject* scope
    )

logger = logging.getLogger("wsgroups")

current_socket = contextvars.ContextVar("wsgroups.current", default=None)
"""The socket whose event is being handled, or the `Scope` of the turn that it is handled in."""

cdef enum:
    PATIENCE = 30 * TICKS_PER_SECOND  # with a reader that takes nothing
    SEALED_AT_MOST = 65536  # bytes received at once, since what a turn leaves is held
    LATE = 1 << 20  # bytes that a peer may send behind its own last word, while it is sent ours
    STALL_TICKS = 2 * TICKS_PER_SECOND
    FORGIVING_TICKS = 10 * TICKS_PER_SECOND
    MOST_LATE_SWEEPS = TICKS_PER_SECOND  # then who is late is late, whatever is still unread


cdef int64_t now_ns() noexcept nogil:
    """Nanoseconds of a clock that never goes back."""
    return monotonic_ns()


cdef bint is_over(int64_t slice, int64_t* until) noexcept nogil:
    """True when `slice` nanoseconds have passed since the first call; never for 0."""
    cdef int64_t now
    if slice == 0:
        return False
    now = now_ns()
    if until[0] == 0:
        until[0] = now + slice
    return now > until[0]


cdef Py_ssize_t most_block_bytes = sys.maxsize


def limit_write_buffers(Py_ssize_t most):
    """Set how many bytes all queues of the process may hold before the longest are given up."""
    global most_block_bytes
    most_block_bytes = most


@cython.final
cdef class Scope:
    """What the context variable holds during turns: where the current socket stands.

    To set a context variable costs more than all else of a short message, so that the next socket
    is put into the same scope, unless a handler has copied the context: with a task that it has
    started, for which the socket stays the same.
    """


def socket_in_context():
    """Return the socket whose event is being handled, in a turn or a task, or None."""
    found = current_socket.get()
    return (<Scope> found).socket if type(found) is Scope else found


cdef class Driver:
    """One per running loop; subclasses move the bytes.

    Must be made in the loop's own thread.
    """

    def __cinit__(self, loop=None):
        self.loop = loop
        self.thread = <unsigned long> PyThread_get_thread_ident()
        self.tick = <uint32_t> (now_ns() // (1000000000 // TICKS_PER_SECOND))
        self.streams = []
        self.dirty = []
        self.requeued = []
        self.mailbox = []
        self.watchers = []
        # Turns run in a context of their own, whatever task happens to schedule them.
        self.context = contextvars.copy_context()
        self.context.run(self._renew_scope)
        self.cork = <char*> malloc(CORK_CAPACITY)
        if self.cork == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.cork)
        free(self.deadlines)
        free(self.plain)

    cdef int64_t clock(self) noexcept:
        """Now, in nanoseconds."""
        return now_ns()

    # What a driver implements.

    cdef int flush(self, Stream stream) except -1:
        """Send what the stream has, as far as the kernel takes it."""
        raise NotImplementedError

    cdef int update_interest(self, Stream stream) except -1:
        """`paused`, `blocked` or `holding` of the stream has changed."""
        raise NotImplementedError

    cdef int shut_down(self, Stream stream) except -1:
        """Send FIN."""
        raise NotImplementedError

    cdef int release(self, Stream stream) except -1:
        """Forget the stream and close its descriptor. It may still be named in this turn."""
        raise NotImplementedError

    cdef int resume(self) except -1:
        """Do a turn for what is requeued, dirty, deferred or in the mailbox."""
        raise NotImplementedError

    cdef int wake(self) except -1:
        """Make the loop call the driver; called from any thread."""
        raise NotImplementedError

    cdef int orphaned(self) except -1:
        """The loop was closed before the driver: let go of everything, in whatever thread."""
        raise NotImplementedError

    cdef bint catch_up(self) except -1:
        """Receive what has come, before anybody's silence is judged.

        A loop that was held up looks at its timers before it reads: what came meanwhile in good
        time is then still with the kernel. Returns False when there is more yet, or may be; the
        next sweep goes on.
        """
        return True

    # Registration and time.

    cdef int attach(self, Stream stream) except -1:
        """Take a new stream in, or raise and do nothing."""
        cdef uint32_t capacity
        cdef void* deadlines
        if self.count == self.capacity:
            capacity = 64 if self.capacity == 0 else 2 * self.capacity
            deadlines = realloc(self.deadlines, capacity * sizeof(uint32_t))
            if deadlines == NULL:
                raise MemoryError
            self.deadlines = <uint32_t*> deadlines
            self.capacity = capacity
        if self.count == 0:
            self.swept = 0  # without streams nothing was swept, which is no stall
        self.streams.append(stream)
        stream.driver = self
        stream.slot = self.count
        stream.last_seen = self.tick
        self.deadlines[self.count] = 0
        self.count += 1
        return 0

    cdef int detach(self, Stream stream) except -1:
        """Let a stream go; the last one takes its slot."""
        cdef uint32_t slot = stream.slot
        cdef Stream last = <Stream> self.streams.pop()
        self.count -= 1
        if slot != self.count:
            self.streams[slot] = last
            self.deadlines[slot] = self.deadlines[self.count]
            last.slot = slot
        if self.watchers:
            for watcher in self.watchers:
                watcher()
        return 0

    def connections_of(self, server):
        """Return the live connections of a server."""
        return [stream for stream in self.streams if stream.server is server]

    def drop(self, server):
        """End the connections of a server at once; their disconnect handlers have begun then."""
        cdef Stream stream
        for stream in self.connections_of(server):
            stream.drop()
        if not self.in_turn:  # else the turn that this is in does so when it ends
            self.context.run(self._settle)

    cdef int abort_all(self) except -1:
        """Let every stream go, for good: they leave their sets and the registry."""
        cdef Stream stream
        self.in_turn = True
        for stream in list(self.streams):
            try:
                stream.abort(0)
            except BaseException as error:
                self.crashed(stream, error)
        self.finished = True
        return 0

    cdef int forget_deferred(self) except -1:
        """Nobody is told any more. One by one: a chain of thousands must not end in recursion."""
        self.defer_again()
        while self.next_of_deferred() is not None:
            pass
        return 0

    cdef void arm(self, Stream stream, uint32_t ticks) noexcept:
        """Call `stream.timed_out()` once, so many ticks from now; 0 never."""
        if stream.ending != STREAM_CLOSED:  # then the slot is another's
            self.deadlines[stream.slot] = self.tick + ticks if ticks else 0

    def _sweep(self):
        """Wake the streams whose time has come, when all that came in time has been read."""
        self.sweeper = None
        self.unsettled = False
        self.begin_turn()
        try:
            self.defer_again()
            self.forgive_stall()
            if self.catch_up() or self.late_sweeps == MOST_LATE_SWEEPS:
                self.late_sweeps = 0
                self.wake_late()
            else:
                self.late_sweeps += 1
        finally:
            self.end_turn(self.slice)

    cdef int wake_late(self) except -1:
        """One pass over an array, no timer objects."""
        cdef uint32_t i = self.count
        cdef Stream stream
        while i > 0:
            i -= 1
            if i < self.count and self.deadlines[i] and self.deadlines[i] <= self.tick:
                self.deadlines[i] = 0
                stream = <Stream> self.streams[i]
                try:
                    stream.timed_out()
                except BaseException as error:
                    self.crashed(stream, error)
        return 0

    cdef int schedule_sweep(self) except -1:
        self.sweeper = self.loop.call_later(
            1.0 / TICKS_PER_SECOND, self._sweep, context=self.context
        )
        return 0

    cdef void forgive_stall(self) noexcept:
        """Put deadlines off after the process stood still: its peers may have done so as well.

        Now and then only: in a loop that is blocked again and again there still is an end.
        """
        cdef uint32_t i, gap = self.tick - self.swept
        if self.swept and gap > STALL_TICKS and self.tick - self.forgiven > FORGIVING_TICKS:
            self.forgiven = self.tick
            for i in range(self.count):
                if self.deadlines[i]:
                    self.deadlines[i] += gap
        self.swept = self.tick if self.count else 0

    # Work collected during a turn.

    cdef int mark_dirty(self, Stream stream) except -1:
        """Send what this stream has when the turn ends."""
        if stream.dirty:
            return 0
        self.dirty.append(stream)
        stream.dirty = True
        if not self.in_turn:
            self.schedule()
        return 0

    cdef int defer(self, Stream stream) except -1:
        """Call `stream.deferred()` when the event being handled is over."""
        if not stream.is_deferred:
            self.enqueue_deferred(stream)
            if not self.in_turn:
                self.schedule()
        return 0

    cdef void enqueue_deferred(self, Stream stream) noexcept:
        stream.is_deferred = True
        if self.last_deferred is None:
            self.first_deferred = stream
        else:
            self.last_deferred.next_deferred = stream
        self.last_deferred = stream

    cdef Stream next_of_deferred(self):
        """Take the first one, or None."""
        cdef Stream stream = self.first_deferred
        if stream is not None:
            self.first_deferred = stream.next_deferred
            if self.first_deferred is None:
                self.last_deferred = None
            stream.next_deferred = None
            stream.is_deferred = False
        return stream

    cdef int defer_again(self) except -1:
        """What could not be done for want of memory is tried once more."""
        cdef Stream stream
        while self.put_off is not None:
            stream = self.put_off
            self.put_off = stream.next_deferred
            stream.next_deferred = None
            self.enqueue_deferred(stream)
        return 0

    cdef int requeue(self, Stream stream) except -1:
        """Call `stream.resume()` in the next turn."""
        if not stream.is_requeued:
            stream.is_requeued = True
            self.requeued.append(stream)
            self.schedule()
        return 0

    cdef int schedule(self) except -1:
        if self.soon or self.finished:
            return 0
        if self.loop.is_closed():
            self.orphaned()
        else:
            self.loop.call_soon(self._resume, context=self.context)
            self.soon = True
        return 0

    def _resume(self):
        """Go on with what the last turn or a task has left."""
        self.soon = False
        self.resume()

    cdef int64_t begin_turn(self) except -1:
        """Begin; returns the time in nanoseconds."""
        cdef int64_t now = self.clock()
        self.tick = <uint32_t> (now // (1000000000 // TICKS_PER_SECOND))
        self.in_turn = True
        return now

    cdef int end_turn(self, int64_t slice) except -1:
        """Do what was collected and give the loop back.

        Sending takes about `slice` nanoseconds at the most, and so does the mailbox; 0 is no bound.
        """
        try:
            if self.mailbox:
                self.read_mailbox(slice)
            if self.dirty or self.first_deferred is not None:
                self.settle(slice)
            if block_bytes > most_block_bytes:
                self.relieve()
            if self.current is not None:
                self.enter(None)
        finally:
            self.in_turn = False
        if self.first_deferred is not None or self.dirty or self.mailbox or self.requeued:
            self.schedule()
        if self.sweeper is None and (self.count or self.unsettled) and not self.finished:
            self.schedule_sweep()
        if self.problem is not None:
            error, self.problem = self.problem, None
            raise error
        return 0

    def _settle(self):
        """Do at once what is left for the end of a turn."""
        if not self.in_turn:
            self.begin_turn()
            self.end_turn(0)

    cdef int settle_for_good(self, bint in_turn) except -1:
        """Do what is left now that the driver is closed.

        In the context of turns: when this is within a turn, by a task that began there, the context
        cannot be entered again, and what is left runs in the one of the task.
        """
        self.in_turn = False
        if in_turn:
            self._settle()
        else:
            self.context.run(self._settle)
        return 0

    cdef int settle(self, int64_t slice) except -1:
        # Handlers of the deferred kind (disconnect above all) send and close again.
        cdef bint is_cut
        while True:
            is_cut = self.run_deferred(slice)
            if self.flush_dirty(slice) or is_cut or self.first_deferred is None:
                return 0

    cdef int run_deferred(self, int64_t slice) except -1:
        """Call the deferred streams in order; 1 when some had to be left."""
        cdef int64_t until = 0
        cdef Stream stream = None
        cdef Stream last = self.last_deferred  # those who come meanwhile have their turn later
        while stream is not last:
            stream = self.next_of_deferred()
            if stream is None:  # a handler has closed the driver, and with it all that was left
                return 0
            try:
                stream.deferred()
            except BaseException as error:
                self.crashed(stream, error)
                if isinstance(error, MemoryError) and not stream.is_deferred:
                    stream.is_deferred = self.unsettled = True
                    stream.next_deferred = self.put_off
                    self.put_off = stream
            if is_over(slice, &until):
                return stream is not last
        return 0

    cdef int flush_dirty(self, int64_t slice) except -1:
        """Send for the dirty streams in order; 1 when some had to be left."""
        cdef int64_t until = 0
        cdef uint32_t done = 0
        cdef Stream stream
        while self.dirty_first < len(self.dirty):
            stream = <Stream> self.dirty[self.dirty_first]
            self.dirty[self.dirty_first] = None
            self.dirty_first += 1
            stream.dirty = False
            if stream.ending < STREAM_LINGERING:
                try:
                    self.flush(stream)
                except BaseException as error:
                    self.crashed(stream, error)
            done += 1
            if done & 15 == 0 and is_over(slice, &until):
                break
        del self.dirty[:self.dirty_first]
        self.dirty_first = 0
        return len(self.dirty) > 0

    cdef int relieve(self) except -1:
        """Give up the streams with the longest queues until all queues hold a tenth less again.

        When that did not help, because the rest belongs to another loop, not again in this tick
        unless they are a tenth more. What transports hold of streams that are given up is as good
        as gone.
        """
        cdef Stream stream
        cdef Py_ssize_t going = 0
        cdef Py_ssize_t tenth = most_block_bytes // 10
        if self.relieved == self.tick and block_bytes < self.relieved_bytes + tenth:
            return 0
        queues = [
            (unsent(stream), id(stream), stream)
            for stream in self.streams if has_queued(stream)
        ]
        queues.sort(reverse=True)
        for _size, _id, stream in queues:
            if stream.ending != STREAM_OPEN:
                going += stream.handed
        for _size, _id, stream in queues:
            if block_bytes - going <= 9 * tenth:
                break
            if stream.ending != STREAM_OPEN:
                going -= stream.handed
            try:
                stream.shed()
            except BaseException as error:
                self.crashed(stream, error)
            going += stream.handed  # none when it is closed
        if block_bytes > most_block_bytes:
            self.relieved, self.relieved_bytes = self.tick, block_bytes
        return self.settle(self.slice)

    cdef int resume_requeued(self, int64_t slice) except -1:
        cdef int64_t until = 0
        cdef Stream stream
        cdef Filter filter
        cdef list batch = self.requeued
        cdef Py_ssize_t done = 0
        if not batch:
            return 0
        self.requeued = []
        for stream in batch:
            done += 1
            stream.is_requeued = False
            if stream.ending == STREAM_CLOSED:
                continue
            self.corked = <PyObject*> stream
            try:
                stream.resume()
                filter = stream.filter
                if filter is not None and stream.holding & HOLDING_SEALED:
                    filter.resume(stream)
                if stream.ending < STREAM_LINGERING and not stream.blocked:
                    self.flush(stream)
                self.update_interest(stream)
            except BaseException as error:
                self.crashed(stream, error)
            finally:
                self.corked = NULL
                self.cork_size = 0
            if is_over(slice, &until):
                self.requeued = batch[done:] + self.requeued
                break
        return 0

    cdef int crashed(self, Stream stream, object error) except -1:
        """An exception came out of a stream: only that connection pays for it. Raises nothing."""
        try:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                self.raised(error)
            else:
                logger.error("internal error on one connection; it is dropped", exc_info=error)
        except BaseException as second:  # a log that cannot be written to, or Ctrl-C meanwhile
            self.raised(second)
        try:
            if stream.ending != STREAM_CLOSED:
                stream.abort(0)
        except BaseException as second:
            self.raised(second)
        return 0

    cdef int complain(self, object error) except -1:
        """Log that a connection could not be taken. Raises nothing."""
        try:
            self.raised(error)
            logger.error("a connection could not be taken", exc_info=error)
        except BaseException as second:
            self.raised(second)
        return 0

    # Context and threads.

    cdef int enter(self, object socket) except -1:
        """Make `socket` the current one for the handler that is called next."""
        if not self.in_turn or not is_entered(<PyObject*> self.context):
            PyContextVar_Set(current_socket, socket)  # in the context of the task that calls
        elif socket is not self.current:
            if not is_uncopied(
                <PyObject*> self.context, <PyObject*> self.variables, <PyObject*> self.scope
            ):
                self._renew_scope()
            self.scope.socket = self.current = socket
        return 0

    def _renew_scope(self):
        """Leave the scope to those who have a copy of the context, which is the current one."""
        self.scope, self.variables = Scope(), None
        PyContextVar_Set(current_socket, self.scope)
        self.variables = <object> variables_of(<PyObject*> self.context)
        if not is_on_top(<PyObject*> self.variables, <PyObject*> self.scope):
            self.variables = None  # copies could not be told: the next one gets a scope of its own

    cdef int raised(self, object error) except -1:
        """Keep what must end the program (Ctrl-C, sys.exit) until the turn is over."""
        if self.problem is None and isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.problem = error
            if not self.in_turn:
                self.schedule()
        return 0

    cdef int post(self, object item) except -1:
        """Have `item()` called in the loop's thread. From any thread; order is kept.

        A driver that is closed has no thread left and no live stream that could need one.
        """
        if not self.finished and self.loop is not None and self.loop.is_closed():
            self.orphaned()
        if self.finished:
            item()
            return 0
        self.mailbox.append(item)
        if not self.woken:
            self.woken = True
            self.wake()
        return 0

    def call(self, function):
        """Call `function()` in the loop's thread: at once when this is it. From any thread."""
        if is_here(self):
            function()
        else:
            self.post(function)

    cdef int read_mailbox(self, int64_t slice) except -1:
        """Do what other threads asked for, in order."""
        cdef int64_t until = 0
        cdef list batch
        cdef Py_ssize_t done = 0
        self.woken = False  # before the swap: a post that comes between wakes us once more
        batch = self.mailbox
        self.mailbox = []
        while done < len(batch):  # a post may still come to it while the new list is made
            item = batch[done]
            done += 1
            try:
                self.carry_out(item)
            except BaseException as error:
                self.raised(error)
            if done & 15 == 0 and is_over(slice, &until):
                break
        del batch[:done]
        if batch:
            batch.extend(self.mailbox)  # no other thread runs from here to the next line
            self.mailbox = batch
        return 0

    cdef int carry_out(self, object item) except -1:
        try:
            if self.current is not None:
                self.enter(None)
            item()
        except BaseException as error:
            self.raised(error)
            logger.error("a call from another thread failed", exc_info=error)
        return 0

    cdef Py_ssize_t mailbox_size(self) noexcept:
        """How many calls from other threads are waiting."""
        return len(self.mailbox)


cdef class Filter:
    """What stands between a driver and a stream and changes the bytes on both ways.

    Drivers see nothing of it: `Stream` asks its filter whenever there is one. A filter is told the
    stream each time, since the two would otherwise keep each other alive.
    """

    def __dealloc__(self):
        outbox_clear(&self.sealed)

    def peer_certificate(self):
        """Return the certificate that the peer has shown, as `ssl` describes it, or None."""
        return None

    cdef int received(self, Stream stream, char* data, Py_ssize_t size) except -1:
        """Bytes came: undo what the peer's filter did, and give it to `stream.take`."""
        return stream.take(data, size)

    cdef int resume(self, Stream stream) except -1:
        """Go on with what is held since the stream took no more."""
        return 0

    cdef int ended(self, Stream stream) except -1:
        """The peer sent FIN."""
        return stream.take_end()

    cdef int seal(self, Stream stream) except -1:
        """Make `sealed`, which is empty, of what is to be sent next, up to a bound."""
        return 0


cdef class Stream:
    """One descriptor: what it has to send, whether it is read, how it ends."""

    def __cinit__(self):
        self.fd = -1

    def __dealloc__(self):
        outbox_clear(&self.outbox)

    # Driver to stream.

    cdef int received(self, char* data, Py_ssize_t size) except -1:
        """Bytes came. They may be changed in place and are gone after the call."""
        cdef Filter filter = self.filter  # which an end lets go of in the middle of its own call
        if filter is None:
            return self.take(data, size)
        return filter.received(self, data, size)

    cdef char* target(self, Py_ssize_t* size) noexcept:
        """Where the next bytes should be received straight to, or NULL; in either case how many."""
        if self.filter is None:
            return self.take_target(size)
        size[0] = min(size[0], SEALED_AT_MOST)
        return NULL

    cdef int ended(self) except -1:
        """The peer sent FIN."""
        cdef Filter filter = self.filter
        return self.take_end() if filter is None else filter.ended(self)

    # Past the filter; a connection overrides these.

    cdef int take(self, char* data, Py_ssize_t size) except -1:
        """What came, in plain. It may be changed in place and is gone after the call."""
        return 0

    cdef char* take_target(self, Py_ssize_t* size) noexcept:
        """Where the next plain bytes should go, or NULL; in either case how many."""
        return NULL

    cdef int landed(self, Py_ssize_t size) except -1:
        """Plain bytes came to where `take_target` said."""
        return 0

    cdef int take_end(self) except -1:
        """Nothing more will come."""
        return self.abort(0)

    cdef int failed(self, str why) except -1:
        """The filter cannot go on: nothing that the peer sends can be read any more.

        `why` is for the log. What the filter has to say about it is sealed already.
        """
        if self.ending != STREAM_OPEN:
            return self.abort(0)
        return self.finish(LATE, TICKS_PER_SECOND)

    cdef int lost(self, int error) except -1:
        """The connection broke; `error` is an errno."""
        return self.abort(error)

    cdef int drained(self) except -1:
        """All that was queued is with the kernel."""
        return 0

    cdef int timed_out(self) except -1:
        """The deadline armed last has passed."""
        return self.abort(0)

    cdef int deferred(self) except -1:
        """Asked for with `driver.defer`."""
        return 0

    cdef int resume(self) except -1:
        """Asked for with `driver.requeue`: go on with input that was held."""
        return 0

    cdef int shed(self) except -1:
        """All queues together are too long, and this is among the longest: give it up."""
        return self.abort(0)

    cdef int drop(self) except -1:
        """The server wants this to end at once."""
        return self.abort(0)

    cdef int closed(self, int error) except -1:
        """The descriptor is closed. Called once."""
        return 0

    # Writing.

    cdef int write(
        self, const char* head, Py_ssize_t head_size, const char* data, Py_ssize_t size
    ) except -1:
        """Queue a copy of `head` and `data`; it leaves at the end of the turn at the latest."""
        cdef Driver driver = self.driver
        cdef bint corked = driver.corked == <PyObject*> self
        cdef char* room = cork_room(self, head_size + size)
        if room == NULL and corked and self.outbox.count == 0:
            driver.flush(self)
            room = cork_room(self, head_size + size)
        if room != NULL:
            memcpy(room, head, head_size)
            memcpy(room + head_size, data, size)
            driver.cork_size += head_size + size
            return 0
        if self.ending == STREAM_CLOSED:
            return 0
        if not outbox_write(&self.outbox, head, head_size, data, size):
            raise MemoryError
        if not corked and not self.dirty and not self.blocked:
            driver.mark_dirty(self)
        return 0

    cdef int write_block(self, Block* block) except -1:
        """Queue a reference to `block`."""
        if self.ending == STREAM_CLOSED:
            return 0
        if not outbox_push(&self.outbox, block):
            raise MemoryError
        if not self.dirty and not self.blocked and self.driver.corked != <PyObject*> self:
            self.driver.mark_dirty(self)
        return 0

    cdef int gather(self, iovec* vectors, int most) except -1:
        """Describe what is to be sent next; returns the number of vectors used."""
        cdef Filter filter = self.filter
        if filter is None:
            return self.gather_plain(vectors, most)
        if filter.sealed.count == 0:
            filter.seal(self)
            if self.ending == STREAM_CLOSED:
                return 0
        return outbox_gather(&filter.sealed, vectors, most)

    cdef int gather_plain(self, iovec* vectors, int most) noexcept:
        """The same, before any filter."""
        cdef int used = 0
        if self.driver.corked == <PyObject*> self and self.driver.cork_size:
            vectors[0].iov_base = self.driver.cork
            vectors[0].iov_len = self.driver.cork_size
            used = 1
        return used + outbox_gather(&self.outbox, vectors + used, most - used)

    cdef int sent(self, Py_ssize_t size) except -1:
        """The kernel took so many of the gathered bytes. A rest of the cork joins the queue."""
        cdef Filter filter = self.filter
        if size:
            self.last_taken = self.driver.tick
        if filter is None:
            return self.sent_plain(size)
        if size:
            outbox_sent(&filter.sealed, size)
        return self.sent_plain(0) if filter.sealed.count else 0

    cdef int sent_plain(self, Py_ssize_t size) except -1:
        """The kernel or the filter took so many of the plain bytes."""
        cdef Driver driver = self.driver
        cdef Py_ssize_t cork_size
        if driver.corked == <PyObject*> self and driver.cork_size:
            cork_size = driver.cork_size
            driver.cork_size = 0
            if size < cork_size:
                if not outbox_unshift(&self.outbox, driver.cork, cork_size, size):
                    raise MemoryError
                return 0
            size -= cork_size
        if size:
            outbox_sent(&self.outbox, size)
        return 0

    cdef int block(self) except -1:
        """The kernel takes no more: wait until it does."""
        if not self.blocked:
            self.blocked = True
            self.driver.update_interest(self)
        return 0

    # Reading.

    cdef int pause(self) except -1:
        """Stop reading: TCP will push back."""
        if not self.paused:
            self.paused = True
            self.driver.update_interest(self)
        return 0

    cdef int unpause(self) except -1:
        if self.paused:
            self.paused = False
            if self.holding & HOLDING_SEALED:
                self.driver.requeue(self)
            self.driver.update_interest(self)
        return 0

    # Ending.

    cdef int finish(self, uint32_t linger, uint32_t ticks) except -1:
        """Write nothing more and close when all is sent, after so many ticks in any case.

        With `linger` FIN goes out first and up to so many bytes that the peer still sends are
        thrown away until its own FIN: closing with unread input would make the kernel send RST,
        which can overtake and destroy our last words (RFC 9112 section 9.6, RFC 6455 section
        7.1.1).
        """
        if self.ending != STREAM_OPEN:
            return 0
        self.ending = STREAM_FINISHING
        self.linger = linger
        if ticks:
            self.driver.arm(self, ticks)
        self.paused = False
        self.holding = 0
        self.driver.update_interest(self)
        if not self.blocked and self.driver.corked != <PyObject*> self:
            self.driver.mark_dirty(self)
        return 0

    cdef int flushed(self) except -1:
        """Called by the driver when everything is sent."""
        if self.blocked:
            self.blocked = False
            if self.holding & HOLDING_SEALED:
                self.driver.requeue(self)
            self.driver.update_interest(self)
        if self.ending == STREAM_FINISHING:
            if not self.linger:
                return self.abort(0)
            self.ending = STREAM_LINGERING
            if self.patient:
                self.driver.arm(self, TICKS_PER_SECOND)
            return self.driver.shut_down(self)
        return self.drained()

    cdef bint is_sending(self) noexcept:
        """True while a slow reader has taken something lately of what is queued for it."""
        return has_queued(self) and self.driver.tick - self.last_taken < PATIENCE

    cdef int discard(self, Py_ssize_t size) except -1:
        """Throw away input of a stream that has ended its own side."""
        if self.linger == 0 and self.ending == STREAM_FINISHING and has_queued(self):
            self.linger = LATE  # closing with this unread would destroy what is still queued
        if size > self.linger:
            return self.abort(0)
        self.linger -= <uint32_t> size
        return 0

    cdef int ended_too(self) except -1:
        """FIN from the peer of a stream that has ended its own side: what is queued still goes."""
        if self.ending == STREAM_FINISHING:
            self.linger = 0
            return self.pause()
        return self.abort(0)

    cdef int abort(self, int error) except -1:
        """Close now; what is queued is lost."""
        cdef Driver driver = self.driver
        if self.ending == STREAM_CLOSED:
            return 0
        self.ending = STREAM_CLOSED
        if driver.corked == <PyObject*> self:
            driver.cork_size = 0
        outbox_clear(&self.outbox)
        self.filter = None
        # Whatever fails: nothing may refer to a stream that nobody keeps any more.
        try:
            driver.release(self)
        finally:
            try:
                self.closed(error)
            finally:
                driver.detach(self)
        return 0
