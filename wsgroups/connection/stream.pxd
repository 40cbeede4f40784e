"""The seam between drivers and connections: `Driver` moves bytes, `Stream` owns them."""

from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from wsgroups.connection.outbox cimport Block, Outbox, iovec


cdef enum:
    TICKS_PER_SECOND = 10
    CORK_CAPACITY = 65536


cdef enum Ending:
    STREAM_OPEN = 0
    STREAM_FINISHING = 1   # nothing more is written; ends when the queue is sent
    STREAM_LINGERING = 2   # FIN is sent; what still comes is read and thrown away
    STREAM_CLOSED = 3


cdef enum Holding:
    # Who keeps input of before; the bits may be set together.
    HOLDING_FRAMES = 1     # the connection: frames of a turn that was over
    HOLDING_SEALED = 2     # the filter: what it has not undone yet


cdef int64_t now_ns() noexcept nogil
cdef bint is_over(int64_t slice, int64_t* until) noexcept nogil


cdef inline bint is_here(Driver driver) noexcept:
    """True in the driver's own thread."""
    return <unsigned long> PyThread_get_thread_ident() == driver.thread


cdef inline char* cork_room(Stream stream, Py_ssize_t size) noexcept:
    """Where `size` bytes can be written to the cork, or NULL when they must be queued.

    What was queued before has to leave before.
    """
    cdef Driver driver = stream.driver
    if (
        driver.corked != <PyObject*> stream
        or stream.outbox.count
        or stream.blocked
        or driver.cork_size + size > CORK_CAPACITY
    ):
        return NULL
    return driver.cork + driver.cork_size


cdef inline Py_ssize_t unsent(Stream stream) noexcept:
    """Bytes written but not yet with the kernel."""
    cdef Py_ssize_t size = stream.outbox.size + stream.handed
    if stream.filter is not None:
        size += stream.filter.sealed.size
    if stream.driver.corked == <PyObject*> stream:
        size += stream.driver.cork_size
    return size


cdef inline bint has_queued(Stream stream) noexcept:
    """True while bytes wait for the kernel, those in the cork aside."""
    return stream.outbox.count != 0 or stream.handed != 0 or (
        stream.filter is not None and stream.filter.sealed.count != 0
    )


cdef Py_ssize_t most_block_bytes    # that all blocks of the process may hold


cdef class Scope:
    cdef object socket


cdef class Driver:
    cdef readonly object loop
    cdef unsigned long thread      # the loop's thread
    cdef uint32_t tick             # now, in tenths of a second, as of the last turn
    cdef bint in_turn
    cdef bint soon                 # a call of `_resume` is scheduled
    cdef object problem            # KeyboardInterrupt or SystemExit to raise after the turn
    cdef object context            # the one that turns run in
    cdef object current            # the current socket
    cdef Scope scope               # what the context variable holds
    cdef object variables          # of the context, since the scope was put there
    # The stream being served writes here first, so that its answers leave in one send.
    cdef PyObject* corked
    cdef char* cork
    cdef Py_ssize_t cork_size
    # What the stream being served is decoding, its `Intake`; a task may go on with that and pulls
    # its calls out of it.
    cdef void* intake
    cdef bint pulling
    cdef tuple pulled              # the call that comes next, or None
    # All streams, densely, with the tick at which each wants to be woken, or 0.
    cdef list streams
    cdef uint32_t* deadlines
    cdef readonly uint32_t count
    cdef uint32_t capacity
    cdef object sweeper
    cdef int64_t slice             # nanoseconds of sending, and of mailbox, a turn; 0: no bound
    cdef uint32_t swept            # tick of the last sweep, or 0
    cdef uint8_t late_sweeps       # in a row that could not read all that had come
    cdef bint unsettled            # something waits for the next sweep, streams or none
    cdef uint32_t forgiven         # tick at which a stall was last made up for
    cdef uint32_t relieved         # tick at which streams were last given up for want of memory
    cdef Py_ssize_t relieved_bytes  # what was queued after that
    # Streams with something to send, in order.
    cdef list dirty                # from `dirty_first` on; None before that
    cdef Py_ssize_t dirty_first
    # Streams with something to do after the event, linked by `next_deferred`: without memory they
    # are deferred all the same. Those for whose doing it was not enough wait for the next sweep.
    cdef Stream first_deferred, last_deferred, put_off
    cdef list requeued             # streams with input left over from the last turn
    cdef readonly list watchers    # called whenever a stream has gone
    cdef list mailbox              # from other threads
    cdef bint woken
    cdef bint finished             # closed: no stream is left, and nobody reads the mailbox
    cdef object lent               # the message that bytes are being received straight to, or None
    cdef char* plain               # room for what filters undo and do, or NULL

    cdef int64_t clock(self) noexcept
    cdef int schedule_sweep(self) except -1

    # What a driver implements.
    cdef int flush(self, Stream stream) except -1
    cdef int update_interest(self, Stream stream) except -1
    cdef int shut_down(self, Stream stream) except -1
    cdef int release(self, Stream stream) except -1
    cdef int resume(self) except -1
    cdef int wake(self) except -1
    cdef int orphaned(self) except -1
    cdef bint catch_up(self) except -1

    # What connections and the surface use.
    cdef int attach(self, Stream stream) except -1
    cdef int detach(self, Stream stream) except -1
    cdef int abort_all(self) except -1
    cdef void forgive_stall(self) noexcept
    cdef int wake_late(self) except -1
    cdef void arm(self, Stream stream, uint32_t ticks) noexcept
    cdef int mark_dirty(self, Stream stream) except -1
    cdef int defer(self, Stream stream) except -1
    cdef void enqueue_deferred(self, Stream stream) noexcept
    cdef Stream next_of_deferred(self)
    cdef int forget_deferred(self) except -1
    cdef int requeue(self, Stream stream) except -1
    cdef int post(self, object item) except -1
    cdef Py_ssize_t mailbox_size(self) noexcept
    cdef int enter(self, object socket) except -1
    cdef int raised(self, object error) except -1

    # Parts of a turn, for the drivers.
    cdef int schedule(self) except -1
    cdef int64_t begin_turn(self) except -1
    cdef int end_turn(self, int64_t slice) except -1
    cdef int read_mailbox(self, int64_t slice) except -1
    cdef int carry_out(self, object item) except -1
    cdef int settle_for_good(self, bint in_turn) except -1
    cdef int settle(self, int64_t slice) except -1
    cdef int run_deferred(self, int64_t slice) except -1
    cdef int defer_again(self) except -1
    cdef int flush_dirty(self, int64_t slice) except -1
    cdef int resume_requeued(self, int64_t slice) except -1
    cdef int crashed(self, Stream stream, object error) except -1
    cdef int complain(self, object error) except -1
    cdef int relieve(self) except -1


cdef class Filter:
    cdef Outbox sealed             # what may be sent as it is

    cdef int received(self, Stream stream, char* data, Py_ssize_t size) except -1
    cdef int resume(self, Stream stream) except -1
    cdef int ended(self, Stream stream) except -1
    cdef int seal(self, Stream stream) except -1


cdef class Stream:
    # By falling size: there are as many of these as sockets.
    cdef Driver driver
    cdef object link               # what a driver that has no descriptors reaches it by
    cdef Filter filter             # None: bytes are sent and received as they are
    cdef Stream next_deferred
    cdef Outbox outbox
    cdef int fd
    cdef uint32_t slot             # place in the driver's arrays
    cdef uint32_t last_seen        # tick of the last sign of life
    cdef uint32_t last_taken       # tick at which the kernel last took bytes of it
    cdef uint32_t linger           # bytes to throw away between our FIN and the peer's
    cdef uint32_t handed           # bytes on their way between the queue and the kernel
    cdef uint8_t ending            # Ending
    cdef uint8_t patient           # a slow reader may take its time with our last bytes
    cdef uint8_t dirty
    cdef uint8_t blocked           # the kernel takes no more for now
    cdef uint8_t paused            # reading is off
    cdef uint8_t is_deferred
    cdef uint8_t is_requeued
    cdef uint8_t holding           # Holding: nothing may be received before that
    cdef uint8_t unread            # the driver has left input with the kernel
    cdef uint8_t is_room_told      # the driver is told when the kernel takes bytes again

    # Driver to stream.
    cdef int received(self, char* data, Py_ssize_t size) except -1
    cdef char* target(self, Py_ssize_t* size) noexcept
    cdef int landed(self, Py_ssize_t size) except -1
    cdef int ended(self) except -1
    cdef int lost(self, int error) except -1

    # Past the filter.
    cdef int take(self, char* data, Py_ssize_t size) except -1
    cdef char* take_target(self, Py_ssize_t* size) noexcept
    cdef int take_end(self) except -1
    cdef int failed(self, str why) except -1
    cdef int drained(self) except -1
    cdef int timed_out(self) except -1
    cdef int deferred(self) except -1
    cdef int resume(self) except -1
    cdef int drop(self) except -1
    cdef int shed(self) except -1
    cdef int closed(self, int error) except -1

    # Stream to driver.
    cdef int write(
        self, const char* head, Py_ssize_t head_size, const char* data, Py_ssize_t size
    ) except -1
    cdef int write_block(self, Block* block) except -1
    cdef int gather(self, iovec* vectors, int most) except -1
    cdef int gather_plain(self, iovec* vectors, int most) noexcept
    cdef int sent(self, Py_ssize_t size) except -1
    cdef int sent_plain(self, Py_ssize_t size) except -1
    cdef int block(self) except -1
    cdef int pause(self) except -1
    cdef int unpause(self) except -1
    cdef int finish(self, uint32_t linger, uint32_t ticks) except -1
    cdef int flushed(self) except -1
    cdef bint is_sending(self) noexcept
    cdef int discard(self, Py_ssize_t size) except -1
    cdef int ended_too(self) except -1
    cdef int abort(self, int error) except -1
