"""One socket: its HTTP phase, then its WebSocket phase (RFC 6455 sections 4 to 7)."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from wsgroups.codec.frames cimport FrameDecoder, FrameEvent, FrameInput, FrameLimits
from wsgroups.connection.members cimport Members
from wsgroups.connection.meter cimport Meter, Rates
from wsgroups.connection.tally cimport Tally
from wsgroups.connection.outbox cimport Block
from wsgroups.connection.stream cimport Stream


cdef enum Result:
    # The values of SendResult.
    RESULT_OK = 0
    RESULT_BUFFERED = 1
    RESULT_DROPPED = 2
    RESULT_GONE = 3


cdef enum Slow:
    # What becomes of a message above `write_limit`, as policy.SlowConsumer names it.
    SLOW_DISCONNECT = 0
    SLOW_DROP_NEWEST = 1
    SLOW_DROP_OLDEST = 2
    SLOW_CONFLATE = 3
    SLOW_WAIT = 4


cdef enum State:
    # HTTP -> OPEN -> CLOSING -> CLOSED. CLOSING: our Close frame is sent and the peer's is awaited.
    # CLOSED is final and is entered once, in `Connection.end`.
    STATE_HTTP = 0
    STATE_OPEN = 1
    STATE_CLOSING = 2
    STATE_CLOSED = 3


cdef uint32_t ticks_of(seconds) except? 0


cdef class Handler:
    cdef readonly object function   # takes (message, socket) or (socket,)
    cdef readonly bint is_async
    cdef readonly bint takes_message
    cdef readonly object decode     # bytes to message, for JSON; None: as it came


cdef class GroupCore:
    cdef readonly str name
    cdef public Handler text, binary, connect, error, disconnect
    cdef readonly Members members
    cdef FrameLimits limits
    cdef Py_ssize_t write_high_water, write_limit
    cdef uint8_t slow               # Slow
    cdef readonly uint64_t dropped, conflated, cut_off
    cdef uint32_t ping_ticks, pong_ticks, close_ticks, message_ticks
    cdef Rates rates
    cdef bint is_metered            # `rates` has a limit
    cdef public object owner        # the surface's Group
    cdef public object runner       # makes the runner of a socket with `async def` handlers
    cdef public object attempt      # begins to call such a handler; None: a runner does
    cdef public object open_socket  # makes the surface's socket of a connection and its id


cdef class Extras:
    """What few sockets have, so that the others need no room for it."""

    cdef dict pings                 # payload -> callback(answered)
    cdef list waiters               # called when everything is sent or the socket is gone
    cdef str failure                # why we failed it, until that is logged
    cdef bytes address              # that its host counts it for
    cdef Meter meter


cdef class Host:
    """What a connection belongs to."""

    cdef readonly object server

    cdef int shaken(self, Connection connection) except -1
    cdef bint recount(self, Connection connection) except -1
    cdef int left(self, Connection connection) except -1


cdef class Phase:
    """What a connection does before it is a WebSocket."""

    cdef int received(self, Connection connection, char* data, Py_ssize_t size) except -1
    cdef int ended(self, Connection connection) except -1
    cdef int timed_out(self, Connection connection) except -1
    cdef int resumed(self) except -1
    cdef int drained(self) except -1
    cdef int shut(self) except -1
    cdef int closed(self, Connection connection) except -1


cdef struct Intake:
    # What one connection decodes in one turn, on the stack.
    PyObject* owner                 # the connection
    FrameInput* source
    int left                        # events until the turn is over
    bint is_over
    bint holds                      # what is left of the source is for another turn


cdef class Connection(Stream):
    # By falling size: there are as many of these as sockets.
    cdef Phase phase                # None after the upgrade
    cdef Host host                  # of the server whose listener it came from
    cdef readonly int64_t id
    cdef readonly GroupCore group
    cdef readonly object socket     # what handlers get; the surface's
    cdef object ending_as           # how it ends: a tuple for CloseInfo, then that CloseInfo
    cdef public object request, data, session, subprotocol
    cdef public object handler      # the application's object for this socket, or None
    cdef public object touch        # called with the socket for each message, or None
    cdef readonly object runner     # the queue of events behind a suspended handler, or None
    cdef set sets                   # rooms and other sets, all of them `Members`
    cdef Extras extras              # None until there is one
    cdef bytes pong                 # the latest ping to answer once the peer reads again
    cdef bytes held                 # input of a turn that was over, from `held_from` on
    cdef Py_ssize_t held_from
    cdef object deflate             # what was agreed on, or None
    cdef Tally tally                # None unless it is logged
    cdef uint32_t coming            # bytes on their way from other threads
    cdef uint32_t mark              # the walk that is to leave this socket out
    cdef uint32_t pinged            # tick of the keepalive ping that is out, or 0
    cdef uint32_t begun             # tick at which an unfinished message was first seen, or 0
    cdef uint32_t begun_after       # how many had been finished then
    cdef readonly uint32_t dropped  # messages that the policy for slow peers has dropped
    cdef uint16_t control_second    # the last second with a control frame in it
    cdef uint8_t controls           # frames in that second
    cdef uint8_t busy_seconds       # in a row with too many
    cdef uint8_t state              # State
    cdef uint8_t is_admitted        # its host counts it
    cdef uint8_t is_shaking         # its first request is not complete
    cdef uint8_t started            # the connect handler has been called
    cdef uint8_t parted             # the disconnect handler has been called
    cdef uint8_t attempting         # a handler that may suspend runs and has not yet
    cdef uint8_t address[28]        # the peer's sockaddr_in or sockaddr_in6
    cdef FrameDecoder decoder

    # For the surface.
    cdef int upgrade(self, GroupCore group, int64_t id, object socket) except -1
    cdef int start(self) except -1
    cdef int send(
        self, uint8_t opcode, const char* data, Py_ssize_t size, PyObject* owner
    ) except -1
    cdef int send_shared(self, Block* block) except -1
    cdef int take_shared(self, Block* block, Py_ssize_t before) except -1
    cdef int disconnect(self, uint16_t code, const char* reason, Py_ssize_t size) except -1
    cdef int wait(self, object callback) except -1
    cdef int join(self, Members members) except -1
    cdef int leave(self, Members members) except -1

    # Input.
    cdef int decode(self, FrameInput* source) except -1
    cdef Intake* intake(self) noexcept
    cdef int walk(self, Intake* intake) except -1
    cdef bint is_enough(self, Intake* intake) except -1
    cdef int hold(self, FrameInput* source) except -1
    cdef bint congested(self) except -1
    cdef bint is_congested(self) except -1
    cdef int handle(self, FrameEvent* event) except -1
    cdef int on_other(self, FrameEvent* event) except -1
    cdef bint note_message(self, FrameEvent* event) except -1
    cdef int count(self, const FrameEvent* event) except -1
    cdef int on_message(self, FrameEvent* event) except -1
    cdef int on_deflated(self, FrameEvent* event) except -1
    cdef Block* deflated(self, Block* block) except NULL
    cdef int on_encoded(self, FrameEvent* event, Handler handler) except -1
    cdef int on_unwanted(self, bint is_text) except -1
    cdef bint takes(self, Py_ssize_t size) except -1
    cdef int on_control(self) except -1
    cdef int on_ping(self, FrameEvent* event) except -1
    cdef int on_pong(self, FrameEvent* event) except -1
    cdef int on_close(self, FrameEvent* event) except -1

    # Output.
    cdef int queue(
        self, uint8_t opcode, const char* data, Py_ssize_t size, PyObject* owner
    ) except -1
    cdef int make_room(self, Py_ssize_t size) except -1
    cdef int drop_for(self, Py_ssize_t size) except -1
    cdef int count_dropped(self) except -1
    cdef int cut_off(self, str why) except -1
    cdef int after_write(self) except -1
    cdef int control(self, uint8_t opcode, const char* data, Py_ssize_t size) except -1

    # Handlers.
    cdef int deliver(self, Handler handler, object message) except -1
    cdef int call(self, Handler handler, object message) except -1
    cdef int report_what_is_set(self) except -1
    cdef int enqueue_given(self, object coroutine) except -1
    cdef bint is_busy(self) noexcept
    cdef int enqueue(self, Handler handler, object message) except -1
    cdef int enqueue_behind(self, object function, tuple arguments) except -1
    cdef int make_runner(self) except -1
    cdef int attempt(self, object function, tuple arguments) except -1
    cdef int report(self, object error) except -1
    cdef int complain(self, str what, object error) except -1
    cdef int note(self, int level, str message, tuple arguments, object error=*) except -1

    # Time.
    cdef Extras more(self)
    cdef int arm_keepalive(self) except -1
    cdef uint32_t interval(self) noexcept
    cdef bint is_overdue(self) noexcept
    cdef int keep_alive(self) except -1
    cdef bint runs_full(self) except -1

    # Ending.
    cdef int fail(self, uint16_t code, object why) except -1
    cdef int end(self, uint16_t code, object reason, bint clean, object side) except -1
    cdef int give_up_pings(self) except -1
    cdef object tell_end(self)
    cdef int part(self, Handler handler) except -1
    cdef int leave_sets(self) except -1
    cdef int resign(self, Members members) except -1
    cdef int note_end(self) except -1
    cdef int release_waiters(self) except -1
