"""One socket: its HTTP phase, then its WebSocket phase (RFC 6455 sections 4 to 7).

Everything here runs in the loop's thread. Nothing that a peer sends and nothing that a handler
raises comes out of it.
"""

import logging

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from wsgroups.codec.frames cimport (
    EVENT_BINARY,
    EVENT_CLOSE,
    EVENT_FAIL,
    EVENT_NONE,
    EVENT_PING,
    EVENT_PONG,
    EVENT_TEXT,
    EventKind,
    OP_CLOSE,
    OP_PING,
    OP_PONG,
    FrameEvent,
    FrameInput,
    decoder_clear,
    decoder_init,
    decoder_is_between,
    decoder_landed,
    decoder_next,
    decoder_target,
    encode_header,
)
from wsgroups.codec.utf8 cimport UTF8_START, utf8_validate
from wsgroups.connection.members cimport Members, Witness
from wsgroups.connection.meter cimport meter_take
from wsgroups.connection.outbox cimport (
    Block,
    block_frame,
    block_release,
    block_size,
    outbox_drop_oldest,
    outbox_drop_unsent,
    outbox_replace,
)
from wsgroups.connection.registry cimport registry_add, registry_remove
from wsgroups.connection.stream cimport (
    HOLDING_FRAMES,
    STREAM_OPEN,
    TICKS_PER_SECOND,
    Stream,
    cork_room,
    unsent,
)

from wsgroups.connection.tally cimport TRACE_VERBOSE, Tally, preview, trace

from wsgroups.closing import CloseInfo, Side
from wsgroups.connection.address import describe_address
from wsgroups.connection.calls import ErrorHandling, Given
from wsgroups.connection.deflate import InflateError

cdef extern from *:
    """
    /* For a `try` around it: the exception that a C call has left. */
    static inline int wsgroups_raise_what_is_set(void) { return -1; }
    """
    int raise_what_is_set "wsgroups_raise_what_is_set"() except -1

cdef extern from "Python.h":
    bint PyCoro_CheckExact(PyObject* value)
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject* PyObject_Vectorcall(
        object callable, PyObject** arguments, size_t count, PyObject* names
    ) noexcept

logger = logging.getLogger("wsgroups")

cdef object LOCAL = Side.LOCAL
cdef object REMOTE = Side.REMOTE
cdef tuple UNTOLD = (1006, "", False, LOCAL)  # when there is no memory to say more

cdef enum:
    FIN = 0x80
    RSV1 = 0x40
    FRAME_HEADER = 10
    CONTROLS_A_SECOND = 100      # of pings and pongs; more for so many seconds in a row close
    BUSY_SECONDS = 10
    INFLATED_A_TURN = 4096       # bytes that count as one more event of a turn
    HELD_AT_MOST = 65536         # bytes received at once, since what a turn leaves is held
    EVENTS_A_TURN = 64           # then the other sockets have their turn
    REFERENCE_FROM = 8192        # payloads from here on are sent without a copy
    PARTING = 4096               # what TLS may still send when all frames have come
    LINGER = 65535 << 10          # bytes that a peer may still send before it is dropped
    MAX_TICKS = 1 << 28          # ten months; ten times as many still fit into 32 bits

cdef tuple SLOW_CONSUMER = ("disconnect", "drop_newest", "drop_oldest", "conflate", "wait")
cdef uint64_t SCATTER = 0x9E3779B97F4A7C15


@cython.final
cdef class Handler:
    """A registered function and how to call it.

    Args:
        function: takes (message, socket), or (socket,) without `takes_message`.
        is_async: it is an `async def`.
        takes_message: False for connect and disconnect handlers.
        decode: makes the message from the payload bytes; None gives str or bytes as it came.
    """

    def __init__(self, function, *, bint is_async=False, bint takes_message=True, decode=None):
        self.function = function
        self.is_async = is_async
        self.takes_message = takes_message
        self.decode = decode


@cython.final
cdef class GroupCore:
    """What the connections of one group share: its handlers, limits and members."""

    def __init__(self, str name not None):
        self.name = name
        self.members = Members()
        self.limits.expect_mask = True

    def configure(
        self,
        *,
        Py_ssize_t max_message_size,
        uint32_t max_fragments,
        Py_ssize_t write_high_water,
        Py_ssize_t write_limit,
        str slow_consumer not None,
        object ping_interval,
        object ping_timeout,
        object close_timeout,
        object message_timeout,
        double max_messages_per_second,
        double max_bytes_per_second,
        double rate_burst,
    ):
        """Set the limits; live sockets follow at once. Sizes in bytes, times in seconds or None."""
        cdef uint32_t i, ping_ticks = ticks_of(ping_interval)
        cdef Connection connection
        self.limits.max_message_size = max_message_size
        self.limits.max_fragments = max_fragments
        self.write_high_water = write_high_water
        self.write_limit = write_limit
        self.slow = SLOW_CONSUMER.index(slow_consumer)
        self.pong_ticks = ticks_of(ping_timeout)
        self.close_ticks = ticks_of(close_timeout)
        self.message_ticks = ticks_of(message_timeout)
        self.rates.messages = max_messages_per_second
        self.rates.bytes = max_bytes_per_second
        self.rates.burst = rate_burst
        self.is_metered = max_messages_per_second > 0 or max_bytes_per_second > 0
        if ping_ticks != self.ping_ticks:
            self.ping_ticks = ping_ticks
            for i in range(self.members.count):
                connection = <Connection> self.members.items[i]
                connection.pinged = 0
                connection.arm_keepalive()


cdef uint32_t ticks_of(seconds) except? 0:
    """Timer ticks for a time in seconds, at least one; 0 for None."""
    if seconds is None:
        return 0
    if seconds * TICKS_PER_SECOND >= MAX_TICKS:
        return MAX_TICKS
    return max(1, round(seconds * TICKS_PER_SECOND))


@cython.final
cdef class Extras:
    """What few sockets have, so that the others need no room for it."""


cdef class Host:
    """What a connection belongs to.

    Attributes:
        server: the server.
    """

    cdef int shaken(self, Connection connection) except -1:
        """Its first request is complete, or will never be."""
        return 0

    cdef bint recount(self, Connection connection) except -1:
        """Its peer is not who it seemed to be; False when that one has connections enough."""
        return True

    cdef int left(self, Connection connection) except -1:
        """It is gone."""
        return 0


cdef class Phase:
    """What a connection does before it is a WebSocket."""

    cdef int received(self, Connection connection, char* data, Py_ssize_t size) except -1:
        return 0

    cdef int ended(self, Connection connection) except -1:
        return connection.abort(0)

    cdef int timed_out(self, Connection connection) except -1:
        return connection.abort(0)

    cdef int resumed(self) except -1:
        return 0

    cdef int drained(self) except -1:
        return 0

    cdef int shut(self) except -1:
        return 0

    cdef int closed(self, Connection connection) except -1:
        return 0


@cython.final
cdef class Connection(Stream):
    """A socket's whole life. Made by a driver for each accepted descriptor."""

    def __cinit__(self):
        decoder_init(&self.decoder)

    def __dealloc__(self):
        decoder_clear(&self.decoder)

    # --- for the surface --------------------------------------------------------------------

    cdef int upgrade(self, GroupCore group, int64_t id, object socket) except -1:
        """The 101 is written: from here on the bytes are frames."""
        self.group = group
        self.id = id
        self.socket = socket
        self.state = STATE_OPEN
        self.phase = None
        registry_add(id, <PyObject*> self)
        self.join(group.members)
        if self.ending == STREAM_OPEN:
            self.arm_keepalive()
        if trace:
            self.tally = Tally()
        return 0

    cdef int start(self) except -1:
        """Call the connect handler, once, before anything is decoded."""
        if self.started:
            return 0
        self.started = True
        if self.tally is not None:
            self.note(logging.INFO, "opened by %s", (describe_address(self.peer),))
        if self.group.connect is not None and self.state == STATE_OPEN:
            self.deliver(self.group.connect, None)
        return 0

    @property
    def peer(self):
        """The client's address as `format_address` takes it."""
        return PyBytes_FromStringAndSize(<char*> self.address, sizeof(self.address))

    @property
    def server(self):
        """The server whose connection this is, or None."""
        return None if self.host is None else self.host.server

    @property
    def peers(self):
        """How many connections its driver serves, this one included."""
        return self.driver.count

    @property
    def is_open(self):
        """True while messages can be sent."""
        return self.state == STATE_OPEN

    @property
    def close_info(self):
        """How the socket ended, or None while it lives."""
        return self.tell_end() if self.state == STATE_CLOSED else None

    cdef object tell_end(self):
        if type(self.ending_as) is tuple:
            self.ending_as = CloseInfo(*self.ending_as)
        return self.ending_as

    @property
    def buffered_amount(self):
        """Bytes written, in whatever thread, but not yet with the kernel."""
        return unsent(self) + self.coming

    cdef int join(self, Members members) except -1:
        """Become a member of a set until it is left or the socket closes."""
        cdef tuple entry = members.entry(self.id, True)
        cdef Witness witness = members.witness
        if members is self.group.members:
            members.add(<PyObject*> self)
            if entry is not None:
                witness.append(entry, self.driver.loop)
            if members.count == 1:
                members.changed()
            return 0
        if self.sets is None:
            self.sets = set()
        # From here on no other thread runs that could end this socket: what it is a member of
        # and does not know it would refer to it when it is gone.
        if self.state == STATE_OPEN and members.add(<PyObject*> self):
            try:
                self.sets.add(members)
            except BaseException:
                members.discard(<PyObject*> self)
                raise
            if entry is not None:
                witness.append(entry, self.driver.loop)
            if members.count == 1:
                members.changed()
        return 0

    cdef int leave(self, Members members) except -1:
        cdef tuple entry = members.entry(self.id, False)
        cdef Witness witness = members.witness
        if members.discard(<PyObject*> self):
            if self.sets is not None:  # else it is about to leave all of them
                self.sets.discard(members)
            if entry is not None:
                witness.append(entry, self.driver.loop)
            if members.count == 0:
                members.changed()
        return 0

    cdef int leave_sets(self) except -1:
        """Leave the group and every other set, which takes no memory: they do not own us."""
        cdef set sets = self.sets
        self.sets = None
        while sets:
            self.resign(<Members> sets.pop())
        return self.resign(self.group.members)

    cdef int resign(self, Members members) except -1:
        """Leave one of the sets, which nothing keeps from happening."""
        cdef Witness witness = members.witness
        cdef tuple entry = None
        if witness is not None:
            try:
                entry = members.entry(self.id, False)
            except MemoryError:
                pass  # those who want to know do not hear of it
        if members.discard(<PyObject*> self):
            if entry is not None:
                witness.append(entry, self.driver.loop)
            if members.count == 0:
                members.changed()
        return 0

    @property
    def peer_certificate(self):
        """The certificate that the client has shown, as `ssl` describes it, or None."""
        return None if self.filter is None else self.filter.peer_certificate()

    def run_in_loop(self, function):
        """Call `function()` in the loop's thread: at once when this is it. From any thread."""
        self.driver.call(function)

    def when_drained(self, callback):
        """Call `callback()` once everything is sent or the socket is gone."""
        if self.state == STATE_CLOSED or unsent(self) == 0:
            callback()
        else:
            self.wait(callback)

    cdef int wait(self, object callback) except -1:
        """Call `callback()` after those who wait already."""
        extras = self.more()
        if extras.waiters is None:
            extras.waiters = []
        extras.waiters.append(callback)
        return 0

    def ping(self, bytes payload not None, callback):
        """Send a ping; `callback(True)` when it is answered, `callback(False)` if never."""
        if self.state != STATE_OPEN:
            callback(False)
            return
        extras = self.more()
        if extras.pings is None:
            extras.pings = {}
        extras.pings[payload] = callback
        self.control(OP_PING, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))

    def forget_ping(self, bytes payload not None):
        """Nobody waits for this pong any more."""
        if self.extras is not None and self.extras.pings is not None:
            self.extras.pings.pop(payload, None)

    cdef Extras more(self):
        """The extras, which this socket has from now on."""
        if self.extras is None:
            self.extras = Extras()
        return self.extras

    cdef int release_waiters(self) except -1:
        """Everything is sent, or will never be."""
        if self.extras is not None and self.extras.waiters is not None:
            waiters, self.extras.waiters = self.extras.waiters, None
            for callback in waiters:
                callback()
        return 0

    # --- input ------------------------------------------------------------------------------

    cdef int take(self, char* data, Py_ssize_t size) except -1:
        cdef FrameInput source
        cdef Phase phase
        self.last_seen = self.driver.tick
        if self.phase is not None:
            phase = self.phase  # which an upgrade lets go of in the middle of its own call
            return phase.received(self, data, size)
        if not self.started:
            self.start()
        source.next = <uint8_t*> data
        source.end = source.next + size
        return self.decode(&source)

    cdef char* take_target(self, Py_ssize_t* size) noexcept:
        cdef char* found
        if self.phase is not None:
            return NULL
        found = <char*> decoder_target(&self.decoder, size)
        if found != NULL:
            # Whoever receives may let other code run that ends this connection.
            self.driver.lent = <object> self.decoder.message
        if found == NULL and size[0] > HELD_AT_MOST:
            size[0] = HELD_AT_MOST
        return found

    cdef int landed(self, Py_ssize_t size) except -1:
        cdef FrameEvent event
        self.last_seen = self.driver.tick
        self.driver.lent = None
        if self.decoder.message == NULL:
            return 0
        decoder_landed(&self.decoder, size, &event)
        if event.kind != EVENT_NONE:
            self.handle(&event)
            if self.state < STATE_CLOSED and self.congested():
                self.pause()
        return 0

    cdef int decode(self, FrameInput* source) except -1:
        """Handle the frames of `source`, up to a turn's worth, and hold the rest."""
        cdef Intake intake
        cdef void* before = self.driver.intake
        intake.owner = <PyObject*> self
        intake.source = source
        intake.left = EVENTS_A_TURN
        intake.is_over = intake.holds = False
        self.driver.intake = &intake
        try:
            self.walk(&intake)
        finally:
            self.driver.intake = before
        if intake.holds:
            return self.hold(source)
        self.held = None
        self.holding &= ~HOLDING_FRAMES
        if self.state < STATE_CLOSED and self.congested():
            self.pause()
        return 0

    cdef Intake* intake(self) noexcept:
        """What is being decoded in this turn; NULL when that is not this connection's."""
        cdef Intake* found = <Intake*> self.driver.intake
        if found == NULL or found.owner != <PyObject*> self:
            return NULL
        return found

    cdef int walk(self, Intake* intake) except -1:
        """Handle frames until that is enough, or a task is to make the call that is pulled."""
        cdef FrameEvent event
        while True:
            decoder_next(&self.decoder, intake.source, &self.group.limits, &event)
            if event.kind == EVENT_NONE:
                intake.is_over = True
                return 0
            intake.left -= 1
            if event.kind == EVENT_CLOSE and intake.source.next != intake.source.end:
                self.linger = LINGER  # the peer goes on after its own last word
            self.handle(&event)
            if self.driver.pulled is not None or self.is_enough(intake):
                return 0

    cdef bint is_enough(self, Intake* intake) except -1:
        """True when no further frame is to be handled in this turn."""
        if intake.is_over:
            return True
        if self.state == STATE_CLOSED or intake.source.next == intake.source.end:
            intake.is_over = True
        elif intake.left <= 0 or self.congested():
            intake.is_over = intake.holds = True
        return intake.is_over

    cdef int hold(self, FrameInput* source) except -1:
        """Keep the rest of the input; it goes on in the next turn, or when there is room."""
        if self.held is None:
            self.held = PyBytes_FromStringAndSize(<char*> source.next, source.end - source.next)
            self.held_from = 0
        else:
            self.held_from = source.next - <uint8_t*> PyBytes_AS_STRING(self.held)
        self.holding |= HOLDING_FRAMES
        self.driver.update_interest(self)
        if self.congested():
            return self.pause()
        return self.driver.requeue(self)

    cdef int resume(self) except -1:
        cdef FrameInput source
        cdef Phase phase
        # The input may outlive `self.held`, which a close lets go of.
        cdef bytes held = self.held
        if self.phase is not None:
            phase = self.phase
            return phase.resumed()
        self.start()
        if held is None or self.ending != STREAM_OPEN:
            return 0
        source.next = <uint8_t*> PyBytes_AS_STRING(held) + self.held_from
        source.end = <uint8_t*> PyBytes_AS_STRING(held) + PyBytes_GET_SIZE(held)
        return self.decode(&source)

    cdef inline bint congested(self) except -1:
        """True while no more input should be taken: answers pile up, or events do."""
        if self.outbox.size + self.handed > self.group.write_high_water or self.runner is not None:
            return self.is_congested()
        return False

    cdef bint is_congested(self) except -1:
        if self.outbox.size + self.handed > self.group.write_high_water:
            if not self.blocked:
                self.driver.flush(self)
            if self.outbox.size + self.handed > self.group.write_high_water:
                return True
        return self.runner is not None and self.runner.is_full

    def go_on(self):
        """Take input again after a congestion."""
        if self.ending != STREAM_OPEN or self.congested():
            return
        self.unpause()
        if self.held is not None:
            self.driver.requeue(self)

    cdef inline int handle(self, FrameEvent* event) except -1:
        if event.kind <= EVENT_BINARY:
            return self.on_message(event)
        return self.on_other(event)

    cdef int on_other(self, FrameEvent* event) except -1:
        """Handle what is no message."""
        try:
            if event.kind == EVENT_PING:
                self.on_ping(event)
            elif event.kind == EVENT_PONG:
                self.on_pong(event)
            elif event.kind == EVENT_CLOSE:
                self.on_close(event)
            elif event.kind == EVENT_FAIL:
                self.fail(event.code, event.detail.decode())
            else:
                self.on_deflated(event)
        finally:
            Py_XDECREF(event.owner)
        return 0

    cdef int on_message(self, FrameEvent* event) except -1:
        cdef Handler handler
        cdef bint is_text = event.kind == EVENT_TEXT
        handler = self.group.text if is_text else self.group.binary
        if handler is None or self.state != STATE_OPEN:
            Py_XDECREF(event.owner)
            return self.on_unwanted(is_text)
        if (
            self.group.is_metered or self.touch is not None or self.tally is not None
        ) and not self.note_message(event):
            return 0
        if handler.decode is not None:
            return self.on_encoded(event, handler)
        message = message_of(event)
        if handler.is_async or self.is_busy():
            return self.enqueue(handler, message)
        return self.call(handler, message)

    cdef bint note_message(self, FrameEvent* event) except -1:
        """Count a message where that is wanted; False when it is one too many, and is given up."""
        cdef bint is_taken = False
        try:
            is_taken = not self.group.is_metered or self.takes(event.size)
            if is_taken and self.touch is not None:
                self.touch(self.socket)
            if is_taken and self.tally is not None:
                self.count(event)
        except BaseException:
            is_taken = False
            raise
        finally:
            if not is_taken:
                Py_XDECREF(event.owner)
        return is_taken

    cdef int count(self, const FrameEvent* event) except -1:
        self.tally.messages_in += 1
        self.tally.bytes_in += event.size
        if trace == TRACE_VERBOSE:
            payload = PyBytes_FromStringAndSize(<char*> event.data, event.size)
            if event.kind == EVENT_TEXT:
                payload = payload.decode()
            self.note(logging.DEBUG, "got %d bytes: %s", (event.size, preview(payload)))
        return 0

    def compress(self, deflate):
        """Compress from here on, as was agreed on in the handshake."""
        self.deflate = deflate
        self.decoder.may_deflate = True

    cdef int on_deflated(self, FrameEvent* event) except -1:
        """A compressed message: inflate it, up to the limit and no further."""
        cdef FrameEvent inflated
        cdef uint8_t state = UTF8_START
        cdef Intake* intake = self.intake()
        cdef bytes payload = PyBytes_FromStringAndSize(<char*> event.data, event.size)
        if self.state != STATE_OPEN:
            return 0
        try:
            payload = self.deflate.inflate(payload, self.group.limits.max_message_size)
        except InflateError as error:
            return self.fail(error.close_code, str(error))
        if intake != NULL:
            intake.left -= <int> min(<Py_ssize_t> EVENTS_A_TURN, len(payload) // INFLATED_A_TURN)
        inflated.kind = <EventKind> (event.kind - EVENT_FAIL)
        inflated.data = <uint8_t*> PyBytes_AS_STRING(payload)
        inflated.size = PyBytes_GET_SIZE(payload)
        if inflated.kind == EVENT_TEXT and (
            utf8_validate(&state, inflated.data, inflated.size) != inflated.size
            or state != UTF8_START
        ):
            return self.fail(1007, "text is not UTF-8")
        Py_INCREF(payload)
        inflated.owner = <PyObject*> payload
        return self.on_message(&inflated)

    cdef Block* deflated(self, Block* block) except NULL:
        """A message compressed for this peer, with a reference.

        What others may be sent as well is kept beside the message.
        """
        cdef uint8_t* head = <uint8_t*> block.head
        cdef int header = 2 + (head[1] == 126) * 2 + (head[1] == 127) * 8
        cdef uint16_t shared_as = self.deflate.shared_as
        cdef Block* found = block
        cdef bytes data
        if shared_as and block.deflated_as == shared_as:
            found = block.deflated
            found.references += 1
            return found
        if block.body_size:
            data = PyBytes_FromStringAndSize(block.body, block.body_size)
        else:
            data = PyBytes_FromStringAndSize(block.head + header, block.head_size - header)
        data = self.deflate.deflate(data)
        found = block_frame(
            head[0] | RSV1, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), <PyObject*> data
        )
        if found == NULL:
            raise MemoryError
        if block.key != NULL:
            Py_INCREF(<object> block.key)
            found.key = block.key
        if shared_as:
            if block.deflated != NULL:
                block_release(block.deflated)
            found.references += 1
            block.deflated = found
            block.deflated_as = shared_as
        return found

    cdef int on_encoded(self, FrameEvent* event, Handler handler) except -1:
        """A message that the group takes as JSON."""
        payload = payload_of(event)
        try:
            message = handler.decode(payload)
        except Exception as error:
            return self.fail(1007, f"message could not be decoded: {error}")
        return self.deliver(handler, message)

    cdef int on_unwanted(self, bint is_text) except -1:
        """A message that nobody handles: of the other kind closes, in a push-only group not."""
        if self.state != STATE_OPEN:
            return 0
        if self.group.text is not None or self.group.binary is not None:
            kind = "text" if is_text else "binary"
            self.fail(1003, f"group has no handler for {kind} messages")
        elif self.touch is not None:
            self.touch(self.socket)  # a session lives as long as its client says something
        return 0

    cdef bint takes(self, Py_ssize_t size) except -1:
        """Count a message against the group's rates; one too many closes."""
        if meter_take(
            &self.more().meter, &self.group.rates, self.driver.tick, TICKS_PER_SECOND, size
        ):
            return True
        self.fail(1008, "more messages or bytes a second than the group allows")
        return False

    cdef int on_control(self) except -1:
        """Count a ping or pong; too many for ten seconds in a row close, and give 1."""
        cdef uint16_t second = <uint16_t> (self.driver.tick // TICKS_PER_SECOND)
        if second != self.control_second:
            if self.controls < CONTROLS_A_SECOND or second != <uint16_t> (self.control_second + 1):
                self.busy_seconds = 0
            self.control_second = second
            self.controls = 0
        if self.controls < CONTROLS_A_SECOND:
            self.controls += 1
            return 0
        if self.controls == CONTROLS_A_SECOND:
            self.controls += 1
            self.busy_seconds += 1
            if self.busy_seconds == BUSY_SECONDS and self.state == STATE_OPEN:
                self.fail(1008, "more than 100 pings or pongs a second")
                return 1
        return 0

    cdef int on_ping(self, FrameEvent* event) except -1:
        """Answer with the same payload; to a peer that does not read, only the latest (5.5.3)."""
        if self.on_control():
            return 0
        if self.state != STATE_OPEN:
            return 0
        if self.blocked:
            self.pong = PyBytes_FromStringAndSize(<char*> event.data, event.size)
            return self.pause()  # who takes no pongs is not asked for more pings
        return self.control(OP_PONG, <char*> event.data, event.size)

    cdef int on_pong(self, FrameEvent* event) except -1:
        """A pong answers its ping and all before it (section 5.5.3)."""
        cdef bytes payload
        cdef dict pings
        if self.on_control() or self.extras is None or not self.extras.pings:
            return 0
        pings = self.extras.pings
        payload = PyBytes_FromStringAndSize(<char*> event.data, event.size)
        if payload not in pings:
            return 0
        for sent in list(pings):
            pings.pop(sent)(True)
            if sent == payload:
                break
        return 0

    cdef int on_close(self, FrameEvent* event) except -1:
        """The peer's Close: answer it unless it is itself the answer (section 5.5.1)."""
        cdef char body[2]
        cdef uint32_t ticks = self.group.close_ticks
        reason = PyUnicode_DecodeUTF8(<char*> event.data, event.size, NULL)
        if self.state == STATE_CLOSING:
            self.end(self.ending_as[0], self.ending_as[1], True, LOCAL)
        elif event.code == 1005:
            self.control(OP_CLOSE, b"", 0)
            self.end(event.code, "", True, REMOTE)
        else:
            body[0] = <char> (event.code >> 8)
            body[1] = <char> (event.code & 0xFF)
            self.control(OP_CLOSE, body, 2)
            self.end(event.code, reason, True, REMOTE)
        if self.filter is not None:
            self.linger = max(self.linger, <uint32_t> PARTING)
        return self.finish(self.linger, ticks)

    # --- output -----------------------------------------------------------------------------

    cdef int send(
        self, uint8_t opcode, const char* data, Py_ssize_t size, PyObject* owner
    ) except -1:
        """Send one message; returns a Result.

        `owner` keeps `data` alive and unchanged, or is NULL: then the data is copied.
        """
        cdef Py_ssize_t before
        cdef int result, header_size
        cdef char* room = NULL
        cdef Block* block
        if self.state != STATE_OPEN:
            return RESULT_GONE
        if self.deflate is not None and size >= <Py_ssize_t> self.deflate.threshold:
            block = block_frame(FIN | opcode, data, size, owner)
            if block == NULL:
                raise MemoryError
            try:
                return self.send_shared(block)
            finally:
                block_release(block)
        before = unsent(self)
        if before > self.group.write_high_water and before + size > self.group.write_limit:
            result = self.make_room(size)
            if result != RESULT_OK:
                return result
            before = unsent(self)
        if self.tally is not None:
            self.tally.sent(size)
        if size < REFERENCE_FROM:
            room = cork_room(self, size + FRAME_HEADER)
        if room != NULL:
            header_size = encode_header(<uint8_t*> room, FIN | opcode, size)
            memcpy(room + header_size, data, size)
            self.driver.cork_size += header_size + size
        else:
            self.queue(opcode, data, size, owner)
        if before + size + FRAME_HEADER <= self.group.write_high_water:
            return RESULT_OK
        return self.after_write()

    cdef int send_shared(self, Block* block) except -1:
        """Send a frame that others get too; returns a Result."""
        cdef Py_ssize_t before, size
        cdef int result
        if self.state != STATE_OPEN:
            return RESULT_GONE
        before = unsent(self)
        size = block_size(block)
        if before > self.group.write_high_water and before + size > self.group.write_limit:
            result = self.make_room(size)
            if result != RESULT_OK:
                return result
            before = unsent(self)
        if self.tally is not None:
            self.tally.sent(size)
        if self.deflate is not None and size >= <Py_ssize_t> self.deflate.threshold:
            # Not before it is certain to be sent: with a window that is kept, the peer would miss
            # what has been compressed and then dropped.
            block = self.deflated(block)
            try:
                return self.take_shared(block, before)
            finally:
                block_release(block)
        return self.take_shared(block, before)

    cdef int take_shared(self, Block* block, Py_ssize_t before) except -1:
        """Queue a frame that is certain to be sent behind `before` bytes; returns a Result."""
        if block.key != NULL and self.blocked and self.group.slow == SLOW_CONFLATE:
            if outbox_replace(&self.outbox, block):
                self.group.conflated += 1
                return RESULT_BUFFERED
        self.write_block(block)
        if before + block_size(block) <= self.group.write_high_water:
            return RESULT_OK
        return self.after_write()

    cdef int queue(
        self, uint8_t opcode, const char* data, Py_ssize_t size, PyObject* owner
    ) except -1:
        cdef uint8_t header[10]
        cdef int header_size
        cdef Block* block
        # Where single messages may have to be dropped again, each is a block of its own.
        if (
            owner != NULL and size >= REFERENCE_FROM
            or self.group.slow == SLOW_DROP_OLDEST or self.group.slow == SLOW_CONFLATE
        ):
            block = block_frame(FIN | opcode, data, size, owner)
            if block == NULL:
                raise MemoryError
            try:
                return self.write_block(block)
            finally:
                block_release(block)
        header_size = encode_header(header, FIN | opcode, size)
        return self.write(<char*> header, header_size, data, size)

    cdef int after_write(self) except -1:
        """Try to send what is above the high-water mark, and say whether it still is."""
        if not self.blocked:
            self.driver.flush(self)
        if self.state != STATE_OPEN:
            return RESULT_GONE
        return RESULT_BUFFERED if unsent(self) > self.group.write_high_water else RESULT_OK

    cdef int make_room(self, Py_ssize_t size) except -1:
        """Send what is queued before `size` bytes more; RESULT_OK when they may follow.

        Otherwise the peer reads too slowly: the message is dropped and, by policy, the peer too.
        Nobody is slow up to the high-water mark: there the next message is still read and answered.
        """
        cdef Py_ssize_t left
        if not self.blocked:
            self.driver.flush(self)
            if self.state != STATE_OPEN:
                return RESULT_GONE
            left = unsent(self)
            if left <= self.group.write_high_water or left + size <= self.group.write_limit:
                return RESULT_OK
        if self.group.slow == SLOW_DISCONNECT:
            self.cut_off("the peer reads too slowly: write_limit reached")
            return RESULT_DROPPED
        if self.group.slow == SLOW_DROP_OLDEST or self.group.slow == SLOW_CONFLATE:
            return self.drop_for(size)
        self.count_dropped()
        return RESULT_DROPPED

    cdef int drop_for(self, Py_ssize_t size) except -1:
        """Drop the oldest messages until `size` bytes may follow; what has begun must end."""
        while self.outbox.size + self.handed + size > self.group.write_limit:
            if not outbox_drop_oldest(&self.outbox):
                break
            self.count_dropped()
        if (
            self.outbox.size + self.handed <= self.group.write_high_water
            or self.outbox.size + self.handed + size <= self.group.write_limit
        ):
            return RESULT_OK
        self.count_dropped()
        return RESULT_DROPPED

    cdef int count_dropped(self) except -1:
        self.dropped += 1
        self.group.dropped += 1
        return 0

    cdef int cut_off(self, str why) except -1:
        """Close with 1013, now: what is queued would keep the Close frame waiting."""
        outbox_drop_unsent(&self.outbox)
        self.group.cut_off += 1
        return self.fail(1013, why)

    cdef int shed(self) except -1:
        if self.phase is not None:
            return self.abort(0)
        if self.state != STATE_OPEN:
            return self.abort(0)
        return self.cut_off("all peers together read too slowly: max_total_write_buffer reached")

    cdef int control(self, uint8_t opcode, const char* data, Py_ssize_t size) except -1:
        """Send a control frame; `size` is at most 125."""
        return self.queue(opcode, data, size, NULL)

    cdef int drained(self) except -1:
        cdef Phase phase = self.phase
        if phase is not None:
            return phase.drained()
        if self.pong is not None:
            payload, self.pong = self.pong, None
            if self.state == STATE_OPEN:  # nothing follows our Close frame
                self.control(OP_PONG, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        self.release_waiters()
        if self.paused:
            self.go_on()
        return 0

    # --- handlers ---------------------------------------------------------------------------

    cdef int deliver(self, Handler handler, object message) except -1:
        """Call a handler, or queue the call behind one that is suspended."""
        if handler.is_async or self.is_busy():
            return self.enqueue(handler, message)
        return self.call(handler, message)

    cdef int call(self, Handler handler, object message) except -1:
        cdef PyObject* result
        cdef PyObject* arguments[3]
        cdef PyObject* socket = <PyObject*> self.socket
        if self.driver.current is not self.socket:
            self.driver.enter(self.socket)
        # One vectorcall, and no exception state to save and restore around it.
        arguments[0] = NULL
        arguments[1] = <PyObject*> message
        arguments[2] = socket
        if handler.takes_message:
            result = PyObject_Vectorcall(
                handler.function, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL
            )
        else:
            result = PyObject_Vectorcall(
                handler.function, arguments + 2, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL
            )
        if result == NULL:
            return self.report_what_is_set()
        if result != <PyObject*> None and PyCoro_CheckExact(result):
            self.enqueue_given(<object> result)
        Py_DECREF(<object> result)
        return 0

    cdef int report_what_is_set(self) except -1:
        """A handler raised, and its exception is set."""
        try:
            raise_what_is_set()
        except BaseException as error:
            return self.report(error)

    cdef int enqueue_given(self, object coroutine) except -1:
        """A plain function returned what an `async def` inside it gave."""
        return self.enqueue(Handler(Given(coroutine), takes_message=False), None)

    cdef bint is_busy(self) noexcept:
        """True while a handler runs by itself, at this moment or suspended."""
        return self.runner is not None or self.attempting

    cdef int enqueue(self, Handler handler, object message) except -1:
        cdef tuple arguments
        self.driver.enter(self.socket)
        if handler.takes_message:
            arguments = (message, self.socket)
        else:
            arguments = (self.socket,)
        if self.is_busy():
            return self.enqueue_behind(handler.function, arguments)
        if self.group.attempt is not None:
            return self.attempt(handler.function, arguments)
        self.make_runner()
        self.runner.put(handler.function, arguments)
        try:
            self.runner.start()
        except BaseException:
            self.runner = None
            raise
        return 0

    cdef int enqueue_behind(self, object function, tuple arguments) except -1:
        """Have a function called in the task that there is already."""
        if self.runner is None:
            if self.driver.pulling and self.driver.pulled is None and self.intake() != NULL:
                self.driver.pulled = (function, arguments)
                return 0
            self.make_runner()
        self.runner.put(function, arguments)
        return 0

    cdef int make_runner(self) except -1:
        self.runner = self.group.runner(self)
        if self.parted:
            self.runner.wind_up(0)
        return 0

    cdef int attempt(self, object function, tuple arguments) except -1:
        """Call a handler in a task that begins at once; few suspend and need a runner."""
        self.attempting = True
        try:
            task = self.group.attempt(self, function, arguments)
        finally:
            self.attempting = False
        if task is None:
            return 0
        try:
            if self.runner is None:
                self.make_runner()
            self.runner.adopt(task, function)
        except BaseException:
            task.cancel()  # whoever comes next would not wait for it
            raise
        return 0

    def pull(self):
        """Return what the task of an attempt calls next, a function and its arguments, or None.

        As long as its handlers do not suspend, the task goes on with the frames of this turn where
        the last one has left off: one task for a burst, and everything in the order of the input.
        """
        cdef Intake* intake = self.intake()
        if intake == NULL or not self.attempting:
            return None
        self.driver.pulling = True
        try:
            if not self.is_enough(intake):
                self.walk(intake)
        except BaseException as error:
            self.driver.crashed(self, error)
        finally:
            self.driver.pulling = False
        event, self.driver.pulled = self.driver.pulled, None
        return event

    def runner_done(self):
        """The runner has nothing left to do."""
        self.runner = None
        if self.parted:
            self.socket = None
        else:
            self.go_on()

    cdef int report(self, object error) except -1:
        """A handler raised: log it, tell the error handler, close with 1011 and no internals."""
        cdef Handler handler = self.group.error
        self.complain("handler", error)
        if handler is not None:
            # A socket that has parted is let go of; who handles the error may want it.
            socket = self.socket or self.group.open_socket(self, self.id)
            handling = ErrorHandling(handler.function, error, socket)
            if handler.is_async:
                self.enqueue(Handler(handling, takes_message=False), None)
            else:
                try:
                    pending = handling(socket)
                    if pending is not None and PyCoro_CheckExact(<PyObject*> pending):
                        handling = ErrorHandling(Given(pending), error, socket)
                        self.enqueue(Handler(handling, takes_message=False), None)
                except BaseException as second:
                    self.complain("error handler", second)
        if self.state == STATE_OPEN:
            self.fail(1011, None)
        return 0

    cdef int complain(self, str what, object error) except -1:
        """Log what a handler raised; what is to end the program does so after the turn."""
        self.driver.raised(error)
        return self.note(logging.ERROR, "%s failed", (what,), error)

    cdef int note(self, int level, str message, tuple arguments, error=None) except -1:
        """Log something about this socket; `error` is an exception to show with it."""
        try:
            logger.log(
                level, "socket %d of group %a: " + message, self.id, self.group.name, *arguments,
                exc_info=error,
            )
        except BaseException as second:  # a log that cannot be written to, or Ctrl-C meanwhile
            self.driver.raised(second)
        return 0

    def handler_failed(self, error, function=None):
        """A handler that runs by itself raised; `function` is it, as the runner was given it."""
        if isinstance(function, ErrorHandling):
            self.complain("error handler", error)  # it would handle itself, without end
        else:
            self.report(error)

    cdef int deferred(self) except -1:
        cdef Handler handler
        if self.phase is not None or self.group is None:
            return 0
        self.start()
        if self.state != STATE_CLOSED or self.parted:
            return 0
        handler = self.group.disconnect
        # What takes memory comes first: as long as it fails, the driver tries again.
        if handler is not None:
            self.tell_end()
            self.driver.enter(self.socket)
        if self.tally is not None or self.extras is not None and self.extras.failure is not None:
            self.note_end()
        self.parted = True
        if handler is not None:
            self.part(handler)
        if self.runner is None:
            self.socket = None  # the two refer to each other
        else:
            self.runner.wind_up(0 if handler is None else 1)
        return 0

    cdef int part(self, Handler handler) except -1:
        """Call the disconnect handler, or queue its call."""
        if not handler.is_async and not self.is_busy():
            return self.call(handler, None)
        try:
            return self.enqueue(handler, None)
        except MemoryError:
            self.parted = False  # nothing is queued
            raise

    cdef int note_end(self) except -1:
        info = self.tell_end()
        parts = [
            "cleanly" if info.clean else "not cleanly",
            f"begun by the {info.initiator.value} side",
        ]
        if info.reason:
            parts.append(f"reason {info.reason!a}")
        if self.extras is not None and self.extras.failure is not None:
            parts.append(self.extras.failure)
            self.extras.failure = None
        if self.tally is not None:
            parts.append(str(self.tally))
        return self.note(logging.INFO, "closed with %d: %s", (info.code, "; ".join(parts)))

    # --- ending -----------------------------------------------------------------------------

    cdef int disconnect(self, uint16_t code, const char* reason, Py_ssize_t size) except -1:
        """Begin the close handshake (section 7.1.2). `size` is at most 123."""
        cdef char body[125]
        if self.state != STATE_OPEN:
            return 0
        body[0] = <char> (code >> 8)
        body[1] = <char> (code & 0xFF)
        memcpy(body + 2, reason, size)
        self.ending_as = (code, PyUnicode_DecodeUTF8(reason, size, NULL), False, LOCAL)
        self.state = STATE_CLOSING
        self.control(OP_CLOSE, body, size + 2)
        if self.state == STATE_CLOSED:
            return 0  # the connection turned out to be broken
        self.leave_sets()
        self.driver.arm(self, self.group.close_ticks)
        if self.paused and (self.runner is None or not self.runner.is_full):
            self.unpause()  # the peer's Close must be heard
            if self.held is not None:
                self.driver.requeue(self)
        return 0

    cdef int drop(self) except -1:
        """End at once, without a Close frame."""
        if self.ending_as is None:
            self.ending_as = (1006, "", False, LOCAL)
        return self.abort(0)

    def shut(self, bytes payload not None):
        """The server stops: begin the close handshake, or end the HTTP phase.

        `payload` is the body of the Close frame.
        """
        cdef Phase phase = self.phase
        if phase is not None:
            phase.shut()
        else:
            self.disconnect(
                payload[0] << 8 | payload[1],
                PyBytes_AS_STRING(payload) + 2,
                PyBytes_GET_SIZE(payload) - 2,
            )

    cdef int fail(self, uint16_t code, object why) except -1:
        """Fail the connection (section 7.1.7): a Close frame if possible, then FIN.

        `why` goes to the log, never to the peer. It is logged later: a log handler may send to
        sockets, and lets other threads run.
        """
        cdef char body[2]
        cdef uint32_t ticks = self.group.close_ticks
        if self.state == STATE_CLOSED:
            return 0
        if self.state == STATE_OPEN:
            body[0] = <char> (code >> 8)
            body[1] = <char> (code & 0xFF)
            self.control(OP_CLOSE, body, 2)
        if why is not None:
            self.more().failure = why
        self.end(code, "", False, LOCAL)
        return self.finish(LINGER, ticks)

    cdef int end(self, uint16_t code, object reason, bint clean, object side) except -1:
        """The one way into STATE_CLOSED; the disconnect handler follows once, after the event.

        Nothing up to `defer` can fail for want of memory, or others would go on knowing us.
        """
        if self.state == STATE_CLOSED or self.state == STATE_HTTP:
            return 0
        self.state = STATE_CLOSED
        try:
            self.ending_as = (code, reason, clean, side)
        except MemoryError:
            self.ending_as = UNTOLD
        self.leave_sets()
        registry_remove(self.id)
        decoder_clear(&self.decoder)
        self.held = None
        self.holding &= ~HOLDING_FRAMES
        try:
            self.driver.defer(self)
        finally:
            self.release_waiters()
            self.give_up_pings()
        return 0

    cdef int give_up_pings(self) except -1:
        if self.extras is not None and self.extras.pings is not None:
            pings, self.extras.pings = self.extras.pings, None
            for callback in pings.values():
                callback(False)
        return 0

    cdef int take_end(self) except -1:
        cdef Phase phase = self.phase
        if phase is not None:
            return phase.ended(self)
        return self.abort(0)

    cdef int failed(self, str why) except -1:
        """The filter cannot go on: without the peer's Close frame the code is 1006."""
        if self.phase is not None:
            logger.info("a connection from %s failed: %s", describe_address(self.peer), why)
        else:
            self.more().failure = why
            self.end(1006, "", False, REMOTE if self.ending_as is None else LOCAL)
        return Stream.failed(self, why)

    cdef int closed(self, int error) except -1:
        try:
            if self.phase is not None:
                self.phase.closed(self)
                self.phase = None
                return 0
            # Without the peer's Close frame the code is 1006 (section 7.1.5), whoever began.
            return self.end(1006, "", False, REMOTE if self.ending_as is None else LOCAL)
        finally:
            if self.host is not None:
                self.host.left(self)

    # --- time -------------------------------------------------------------------------------

    cdef int timed_out(self) except -1:
        cdef Phase phase = self.phase
        if phase is not None and self.is_sending():  # a slow reader gets all of its response
            self.driver.arm(self, TICKS_PER_SECOND)
            return 0
        if self.ending != STREAM_OPEN or self.state == STATE_CLOSING:
            return self.abort(0)
        if phase is not None:
            return phase.timed_out(self)
        return self.keep_alive()

    cdef int arm_keepalive(self) except -1:
        """Look after the peer one ping interval from now, or up to a fifth earlier."""
        self.driver.arm(self, self.interval())
        return 0

    cdef uint32_t interval(self) noexcept:
        cdef uint32_t interval = self.group.ping_ticks or self.group.message_ticks
        # Sockets that came together would otherwise be pinged together for ever.
        cdef uint32_t spread = interval // 5
        if spread:
            interval -= <uint32_t> ((<uint64_t> self.id * SCATTER) >> 32) % (spread + 1)
        return interval

    cdef int keep_alive(self) except -1:
        """Ping a silent peer; give up one that does not answer. Any byte counts as life."""
        cdef uint32_t tick = self.driver.tick, silent = tick - self.last_seen, wait
        cdef GroupCore group = self.group
        if self.is_overdue():
            return self.fail(1008, "a message was not complete after message_timeout")
        if silent <= tick - self.pinged or group.ping_ticks == 0 or group.pong_ticks == 0:
            self.pinged = 0
        if self.pinged and tick - self.pinged >= group.pong_ticks:
            # While we do not read ourselves, the peer's silence says nothing.
            if not self.runs_full():
                return self.fail(1011, "keepalive: no sign of life after a ping")
            self.pinged = 0
        if self.pinged:
            wait = self.pinged + group.pong_ticks - tick
        elif group.ping_ticks == 0:
            wait = self.interval()
        elif silent * 10 < group.ping_ticks * 8:
            wait = group.ping_ticks - silent
        else:
            self.control(OP_PING, b"", 0)
            self.pinged = tick if group.pong_ticks else 0
            wait = group.pong_ticks or self.interval()
        if self.begun:
            wait = min(wait, self.begun + group.message_ticks - tick)
        self.driver.arm(self, wait)
        return 0

    cdef bint is_overdue(self) noexcept:
        """True when the message that is coming in was coming in `message_timeout` ago as well.

        Counted from when it was first seen, by looking after the peer: up to an interval late.
        """
        if self.group.message_ticks == 0 or self.paused or not decoder_is_between(&self.decoder):
            self.begun = 0
        elif self.begun == 0 or self.begun_after != self.decoder.finished:
            self.begun = self.driver.tick
            self.begun_after = self.decoder.finished
        else:
            return self.driver.tick - self.begun >= self.group.message_ticks
        return False

    cdef bint runs_full(self) except -1:
        return self.runner is not None and self.runner.is_full


cdef inline object message_of(FrameEvent* event):
    """The str or bytes of a message; takes the event's reference."""
    if event.kind == EVENT_BINARY:
        return payload_of(event)
    try:
        return PyUnicode_DecodeUTF8(<char*> event.data, event.size, NULL)
    finally:
        Py_XDECREF(event.owner)


cdef inline bytes payload_of(FrameEvent* event):
    """The payload of an event as bytes; takes the event's reference."""
    cdef bytes payload
    if event.owner == NULL:
        return PyBytes_FromStringAndSize(<char*> event.data, event.size)
    payload = <bytes> event.owner
    Py_DECREF(payload)
    return payload
