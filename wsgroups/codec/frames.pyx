"""The frame decoder and encoder (RFC 6455 section 5): a machine over bytes.

The compiled layers use the functions of `frames.pxd` on a `FrameDecoder` that is part of their own
object; `Decoder` and `encode_frame` are the same machine for Python.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from wsgroups.codec.mask cimport mask_copy
from wsgroups.codec.utf8 cimport UTF8_START, utf8_validate

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject** bytes, Py_ssize_t size) except? -1
    PyObject* PyBytes_New "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size) noexcept
    void PyErr_Clear()

cdef enum Phase:
    PHASE_HEADER = 0
    PHASE_PAYLOAD = 1
    PHASE_CLOSED = 2  # after a Close frame or a failure: the rest of the stream is ignored

# A message whose rest is at least this long is worth a receive of its own into its buffer.
cdef enum:
    DIRECT_RECEIVE = 16384

cdef enum:
    RSV1 = 0x40

# The first buffer of a fragmented message.
cdef enum:
    FIRST_CAPACITY = 1024


cdef void decoder_init(FrameDecoder* self) noexcept:
    memset(self, 0, sizeof(FrameDecoder))


cdef void decoder_clear(FrameDecoder* self) noexcept:
    """Free what is unfinished; everything that still comes is ignored."""
    Py_XDECREF(self.message)
    Py_XDECREF(self.control)
    memset(self, 0, sizeof(FrameDecoder))
    self.phase = PHASE_CLOSED


cdef void fail(
    FrameDecoder* self, FrameEvent* event, uint16_t code, const char* detail
) noexcept:
    decoder_clear(self)
    event.kind = EVENT_FAIL
    event.code = code
    event.detail = detail


cdef void decoder_next(
    FrameDecoder* self, FrameInput* source, const FrameLimits* limits, FrameEvent* event
) noexcept:
    event.kind = EVENT_NONE
    event.owner = NULL
    event.data = NULL
    event.size = 0
    if self.phase != PHASE_HEADER or not take_short(self, source, limits, event):
        decoder_next_any(self, source, limits, event)


cdef void decoder_next_any(
    FrameDecoder* self, FrameInput* source, const FrameLimits* limits, FrameEvent* event
) noexcept:
    """Take any frame, or as much of it as has come."""
    while True:
        if self.phase == PHASE_HEADER:
            if not take_header(self, source, limits, event):
                return
        elif self.phase == PHASE_CLOSED:
            source.next = source.end
            return
        if self.opcode >= OP_CLOSE:
            take_control(self, source, event)
        else:
            take_data(self, source, event)
        if event.kind != EVENT_NONE or self.phase == PHASE_PAYLOAD:
            return


cdef inline bint take_short(
    FrameDecoder* self, FrameInput* source, const FrameLimits* limits, FrameEvent* event
) noexcept:
    """Take the commonest frame without detours: a short whole message that lies in the input.

    False leaves everything as it was; the general way then finds what is different.
    """
    cdef Py_ssize_t available = source.end - source.next, size
    cdef uint8_t* start = source.next
    if available < 6 or self.header_size or self.message_opcode or not limits.expect_mask:
        return False
    size = start[1] & 0x7F
    if (
        not (start[0] == 0x81 or start[0] == 0x82)
        or not start[1] & 0x80
        or size > 125
        or available < 6 + size
        or size > limits.max_message_size
    ):
        return False
    mask_copy(start + 6, start + 6, size, start + 2, 0)
    if start[0] == 0x81:
        self.utf8 = UTF8_START
        if utf8_validate(&self.utf8, start + 6, size) != size or self.utf8 != UTF8_START:
            fail(self, event, 1007, b"text is not UTF-8")
            return True
    event.kind = <EventKind> (start[0] & 0x0F)
    event.data = start + 6
    event.size = size
    source.next = start + 6 + size
    return True


# --- header ---------------------------------------------------------------------------------


cdef bint take_header(
    FrameDecoder* self, FrameInput* source, const FrameLimits* limits, FrameEvent* event
) noexcept:
    """Collect and check a frame header. True when the payload phase begins."""
    if self.header_size < 2:
        if not collect_header(self, source, 2) or not check_start(self, limits, event):
            return False
    if not collect_header(self, source, header_length(self.header[1])):
        return False
    self.header_size = 0
    if not take_length(self, limits, event):
        return False
    self.phase = PHASE_PAYLOAD
    return True


cdef inline bint collect_header(
    FrameDecoder* self, FrameInput* source, Py_ssize_t needed
) noexcept:
    """Take header bytes until `needed` are there; False when the input ends first."""
    cdef Py_ssize_t part = source.end - source.next
    if part > needed - self.header_size:
        part = needed - self.header_size
    memcpy(self.header + self.header_size, source.next, part)
    source.next += part
    self.header_size += <uint8_t> part
    return self.header_size == needed


cdef inline Py_ssize_t header_length(uint8_t second) noexcept nogil:
    cdef Py_ssize_t length = 2
    if second & 0x7F == 126:
        length += 2
    elif second & 0x7F == 127:
        length += 8
    return length + 4 if second & 0x80 else length


cdef bint check_start(
    FrameDecoder* self, const FrameLimits* limits, FrameEvent* event
) noexcept:
    """Check what the first two bytes tell (sections 5.2, 5.4, 5.5)."""
    cdef uint8_t first = self.header[0], second = self.header[1]
    cdef uint8_t opcode = first & 0x0F
    cdef const char* wrong = NULL
    if first & 0x70 and not (first & 0x70 == RSV1 and self.may_deflate and 0 < opcode < OP_CLOSE):
        # RSV1 stands on the first frame of a compressed message and nowhere else (RFC 7692, 6).
        wrong = b"reserved bits are set without an extension that uses them"
    elif OP_BINARY < opcode < OP_CLOSE or opcode > OP_PONG:
        wrong = b"reserved opcode"
    elif limits.expect_mask and not second & 0x80:
        wrong = b"a frame from a client is not masked"
    elif not limits.expect_mask and second & 0x80:
        wrong = b"a frame from a server is masked"
    elif opcode >= OP_CLOSE:
        if not first & 0x80:
            wrong = b"fragmented control frame"
        elif second & 0x7F > 125:
            wrong = b"control frame with more than 125 bytes"
    elif opcode == OP_CONTINUATION:
        if not self.message_opcode:
            wrong = b"continuation frame without a message to continue"
    elif self.message_opcode:
        wrong = b"a new message before the last one was finished"
    if wrong != NULL:
        fail(self, event, 1002, wrong)
        return False
    return True


cdef bint take_length(
    FrameDecoder* self, const FrameLimits* limits, FrameEvent* event
) noexcept:
    """Read length and mask from the whole header and hold the frame to the limits."""
    cdef uint8_t* h = self.header
    cdef uint64_t length = h[1] & 0x7F
    cdef int position = 2, i
    if length == 126:
        length = <uint64_t> h[2] << 8 | h[3]
        position = 4
        if length < 126:
            fail(self, event, 1002, b"length is not in its shortest form")
            return False
    elif length == 127:
        length = 0
        for i in range(8):
            length = length << 8 | h[2 + i]
        position = 10
        if length < 65536 or length >> 63:
            fail(self, event, 1002, b"length is not in its shortest form or has its top bit set")
            return False
    if h[1] & 0x80:
        memcpy(self.mask, h + position, 4)
    else:
        memset(self.mask, 0, 4)
    self.mask_offset = 0
    self.final = h[0] >> 7
    self.opcode = h[0] & 0x0F
    if self.opcode < OP_CLOSE:
        # Told at header time: the payload of a frame that is too big is never waited for.
        if <Py_ssize_t> length > limits.max_message_size - self.filled:
            fail(self, event, 1009, b"message is larger than max_message_size")
            return False
        self.fragments += 1
        if self.fragments > limits.max_fragments:
            fail(self, event, 1008, b"message has more frames than max_fragments")
            return False
        if self.opcode != OP_CONTINUATION:
            self.message_opcode = self.opcode
            self.deflated = h[0] & RSV1
            self.utf8 = UTF8_START
    self.remaining = <Py_ssize_t> length
    return True


# --- control frames -------------------------------------------------------------------------


cdef void take_control(FrameDecoder* self, FrameInput* source, FrameEvent* event) noexcept:
    """Take the payload of a control frame; it may stand between the fragments of a message."""
    cdef Py_ssize_t part = source.end - source.next
    cdef uint8_t* data
    if part >= self.remaining and self.control == NULL:
        mask_copy(source.next, source.next, self.remaining, self.mask, 0)
        event.data = source.next
        event.size = self.remaining
        source.next += self.remaining
    else:
        if self.control == NULL:
            self.control = PyBytes_New(NULL, self.remaining)
            self.control_filled = 0
            if self.control == NULL:
                PyErr_Clear()
                fail(self, event, 1011, b"out of memory")
                return
        if part > self.remaining:
            part = self.remaining
        data = <uint8_t*> PyBytes_AS_STRING(<object> self.control)
        mask_copy(
            data + self.control_filled, source.next, part, self.mask, self.mask_offset
        )
        source.next += part
        self.mask_offset = (self.mask_offset + part) & 3
        self.control_filled += part
        self.remaining -= part
        if self.remaining:
            return
        event.data = data
        event.size = self.control_filled
        event.owner = self.control
        self.control = NULL
    self.phase = PHASE_HEADER
    event.kind = <EventKind> self.opcode
    if self.opcode == OP_CLOSE:
        check_close(self, event)


cdef void check_close(FrameDecoder* self, FrameEvent* event) noexcept:
    """Check the body of a Close frame and leave its code and its reason in the event."""
    cdef uint8_t utf8 = UTF8_START
    cdef uint16_t code
    cdef PyObject* owner = event.owner
    if event.size == 0:
        event.code = 1005  # section 7.1.5: no status received
    elif event.size == 1:
        fail(self, event, 1002, b"Close frame with half a code")
    else:
        code = <uint16_t> (event.data[0] << 8 | event.data[1])
        if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
            fail(self, event, 1002, b"Close frame with a code that may not be sent")
        elif (
            utf8_validate(&utf8, event.data + 2, event.size - 2) != event.size - 2
            or utf8 != UTF8_START
        ):
            fail(self, event, 1007, b"close reason is not UTF-8")
        else:
            event.code = code
            event.data += 2
            event.size -= 2
    if event.kind == EVENT_FAIL:
        Py_XDECREF(owner)
        event.owner = NULL
        return
    decoder_clear(self)  # section 5.5.1: nothing after a Close frame is processed


# --- data frames ----------------------------------------------------------------------------


cdef void take_data(FrameDecoder* self, FrameInput* source, FrameEvent* event) noexcept:
    cdef Py_ssize_t part = source.end - source.next
    if part > self.remaining:
        part = self.remaining
    if self.final and part == self.remaining and self.filled == 0:
        # The whole message lies in the input: hand it out where it is.
        mask_copy(source.next, source.next, part, self.mask, self.mask_offset)
        event.data = source.next
        event.size = part
        source.next += part
        self.remaining = 0
        if not check_text(self, event.data, part, event):
            return
        finish_message(self, event)
        return
    if part == 0 and self.remaining:
        return
    if part:
        if not reserve(self):
            fail(self, event, 1011, b"out of memory")
            return
        memcpy(
            PyBytes_AS_STRING(<object> self.message) + self.filled, source.next, part
        )
        source.next += part
    decoder_landed(self, part, event)


cdef bint reserve(FrameDecoder* self) noexcept:
    """Make room for the rest of the current frame behind what is there.

    A frame that is a whole message gets a buffer of its final size; fragments double it, so that
    appending stays linear in all.
    """
    cdef Py_ssize_t capacity, needed = self.filled + self.remaining
    if self.message == NULL:
        if not self.final and needed < FIRST_CAPACITY:
            needed = FIRST_CAPACITY
        self.message = PyBytes_New(NULL, needed)
        if self.message == NULL:
            PyErr_Clear()
            return False
        return True
    capacity = PyBytes_GET_SIZE(<object> self.message)
    if needed > capacity:
        if needed < 2 * capacity:
            needed = 2 * capacity
        return resize(self, needed)
    return True


cdef bint resize(FrameDecoder* self, Py_ssize_t size) noexcept:
    try:
        _PyBytes_Resize(&self.message, size)  # frees it and leaves NULL when it fails
    except MemoryError:
        return False
    return True


cdef void decoder_landed(
    FrameDecoder* self, Py_ssize_t size, FrameEvent* event
) noexcept:
    """Take `size` masked bytes that stand behind what the message buffer holds already."""
    cdef uint8_t* data = NULL
    event.kind = EVENT_NONE
    event.owner = NULL
    if size:
        data = <uint8_t*> PyBytes_AS_STRING(<object> self.message) + self.filled
        mask_copy(data, data, size, self.mask, self.mask_offset)
        self.mask_offset = (self.mask_offset + size) & 3
        self.filled += size
        self.remaining -= size
    # Section 8.1: text fails at its first bad byte, not at the end of the frame or message.
    if not check_text(self, data, size, event):
        return
    if self.remaining:
        return
    if not self.final:
        self.phase = PHASE_HEADER
        return
    if self.message == NULL:
        event.data = self.header  # any valid address, for zero bytes
        event.size = 0
    else:
        if PyBytes_GET_SIZE(<object> self.message) != self.filled:
            if not resize(self, self.filled):
                fail(self, event, 1011, b"out of memory")
                return
        event.data = <uint8_t*> PyBytes_AS_STRING(<object> self.message)
        event.size = self.filled
        event.owner = self.message
        self.message = NULL
    finish_message(self, event)


cdef inline bint check_text(
    FrameDecoder* self, const uint8_t* data, Py_ssize_t size, FrameEvent* event
) noexcept:
    if self.message_opcode != OP_TEXT or self.deflated:
        return True
    if utf8_validate(&self.utf8, data, size) != size:
        fail(self, event, 1007, b"text is not UTF-8")
        return False
    if self.final and not self.remaining and self.utf8 != UTF8_START:
        fail(self, event, 1007, b"text ends in the middle of a character")
        return False
    return True


cdef inline void finish_message(FrameDecoder* self, FrameEvent* event) noexcept:
    event.kind = <EventKind> self.message_opcode
    if self.deflated:
        event.kind = <EventKind> (self.message_opcode + EVENT_FAIL)
    self.message_opcode = 0
    self.finished += 1
    self.fragments = 0
    self.filled = 0
    self.phase = PHASE_HEADER


cdef uint8_t* decoder_target(FrameDecoder* self, Py_ssize_t* size) noexcept:
    if (
        self.phase != PHASE_PAYLOAD
        or self.opcode >= OP_CLOSE
        or self.remaining < DIRECT_RECEIVE
        or self.message == NULL
        # Room for a fragment is made with its first byte, which may not be there yet.
        or PyBytes_GET_SIZE(<object> self.message) - self.filled < self.remaining
    ):
        return NULL
    size[0] = self.remaining
    return <uint8_t*> PyBytes_AS_STRING(<object> self.message) + self.filled


# --- for Python -----------------------------------------------------------------------------

cdef dict NAMES = {
    EVENT_TEXT: "text",
    EVENT_BINARY: "binary",
    EVENT_CLOSE: "close",
    EVENT_PING: "ping",
    EVENT_PONG: "pong",
    EVENT_FAIL: "fail",
    EVENT_DEFLATED_TEXT: "deflated text",
    EVENT_DEFLATED_BINARY: "deflated binary",
}


cdef class Decoder:
    """The frame decoder as a Python object. Not thread-safe.

    Args:
        expect_mask: True for the server's side, which refuses unmasked frames; False for the
            client's side, which refuses masked ones (RFC 6455 section 5.1).
        max_message_size: the largest message in bytes; a larger one fails with 1009.
        max_fragments: the most frames of one message; more fail with 1008.
    """

    cdef FrameDecoder decoder
    cdef FrameLimits limits

    def __cinit__(
        self,
        *,
        bint expect_mask=True,
        Py_ssize_t max_message_size=1 << 20,
        uint32_t max_fragments=4096,
    ):
        decoder_init(&self.decoder)
        self.limits.expect_mask = expect_mask
        self.limits.max_message_size = max_message_size
        self.limits.max_fragments = max_fragments

    def __dealloc__(self):
        decoder_clear(&self.decoder)

    def allow_deflate(self):
        """Take compressed messages from here on (RFC 7692): permessage-deflate was agreed on."""
        self.decoder.may_deflate = True

    def feed(self, bytes data not None):
        """Decode `data` and return the events it completes, as `(name, value)` pairs.

        Names and values: `text` str; `binary`, `ping`, `pong`, `deflated text` and `deflated
        binary` bytes, the last two as they came; `close` and `fail` a pair of code and reason.
        After `close` or `fail` everything further is ignored.
        """
        cdef bytearray own = bytearray(data)  # payload is unmasked in place
        cdef uint8_t[::1] view = own
        cdef FrameInput source
        cdef FrameEvent event
        cdef list events = []
        if len(own) == 0:
            return events
        source.next = &view[0]
        source.end = source.next + len(own)
        while True:
            decoder_next(&self.decoder, &source, &self.limits, &event)
            if event.kind == EVENT_NONE:
                return events
            events.append((NAMES[event.kind], event_value(&event)))

    def receive(self, bytes data not None):
        """Decode `data` as a driver does that receives large messages into their own buffer."""
        cdef FrameEvent event
        cdef Py_ssize_t room = 0, position = 0
        cdef uint8_t* target
        cdef list events = []
        while position < len(data):
            target = decoder_target(&self.decoder, &room)
            if target == NULL:
                part = data[position:position + 4096]
                events += self.feed(part)
                position += len(part)
                continue
            if room > len(data) - position:
                room = len(data) - position
            memcpy(target, PyBytes_AS_STRING(data) + position, room)
            position += room
            decoder_landed(&self.decoder, room, &event)
            if event.kind != EVENT_NONE:
                events.append((NAMES[event.kind], event_value(&event)))
        return events


cdef object event_value(FrameEvent* event):
    """The Python value of an event; gives up the event's reference to its payload."""
    cdef bytes payload
    if event.kind == EVENT_FAIL:
        return event.code, event.detail.decode()
    if event.owner != NULL and event.kind == EVENT_BINARY:
        payload = <bytes> event.owner
    else:
        payload = PyBytes_FromStringAndSize(<char*> event.data, event.size)
    Py_XDECREF(event.owner)
    if event.kind == EVENT_TEXT:
        return payload.decode()
    if event.kind == EVENT_CLOSE:
        return event.code, payload.decode()
    return payload


def encode_frame(
    int opcode, bytes payload not None, *, bint final=True, bytes mask=None, bint deflated=False
):
    """Return one frame.

    Args:
        opcode: 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong.
        payload: the bytes, unmasked.
        final: the FIN bit.
        mask: four bytes for a client's frame (RFC 6455 section 5.3); None for a server's.
        deflated: the payload is compressed (RFC 7692).
    """
    cdef uint8_t header[10]
    cdef bytearray body
    cdef uint8_t[::1] view
    cdef int first = (0x80 if final else 0) | (RSV1 if deflated else 0) | opcode
    cdef int size = encode_header(header, <uint8_t> first, len(payload))
    if mask is None:
        return PyBytes_FromStringAndSize(<char*> header, size) + payload
    if len(mask) != 4:
        raise ValueError("mask must be 4 bytes")
    header[1] |= 0x80
    body = bytearray(payload)
    if body:
        view = body
        mask_copy(&view[0], &view[0], len(body), <const uint8_t*> PyBytes_AS_STRING(mask), 0)
    return PyBytes_FromStringAndSize(<char*> header, size) + mask + bytes(body)


def utf8_error_offset(bytes data not None):
    """Return the index of the first byte that cannot stand where it is in UTF-8 text.

    That is where incremental decoding stops; None for valid text, `len(data)` for text that ends
    inside a character.
    """
    cdef uint8_t state = UTF8_START
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t offset = utf8_validate(
        &state, <const uint8_t*> PyBytes_AS_STRING(data), size
    )
    return None if offset == size and state == UTF8_START else offset
