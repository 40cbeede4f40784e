"""The frame decoder and encoder (RFC 6455 section 5): a machine over bytes."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef enum Opcode:
    OP_CONTINUATION = 0
    OP_TEXT = 1
    OP_BINARY = 2
    OP_CLOSE = 8
    OP_PING = 9
    OP_PONG = 10


cdef enum EventKind:
    # The data and control events have the numbers of their opcodes.
    EVENT_NONE = 0  # all input is used up
    EVENT_TEXT = 1
    EVENT_BINARY = 2
    EVENT_CLOSE = 8
    EVENT_PING = 9
    EVENT_PONG = 10
    EVENT_DEFLATED_TEXT = 17    # data messages that are compressed (RFC 7692), as they came
    EVENT_DEFLATED_BINARY = 18
    EVENT_FAIL = 16  # the peer broke the protocol; code and detail say how


cdef struct FrameLimits:
    Py_ssize_t max_message_size  # bytes of one whole message
    uint32_t max_fragments       # frames of one message, empty ones counted
    bint expect_mask             # True on the server's side (section 5.1)


cdef struct FrameInput:
    uint8_t* next
    uint8_t* end


cdef struct FrameEvent:
    EventKind kind
    # The payload. It lies in the input or in `owner` and is valid until the next call.
    uint8_t* data
    Py_ssize_t size
    # A bytes object that is exactly the payload, as a new reference, or NULL.
    PyObject* owner
    uint16_t code        # EVENT_CLOSE: 1005 for none; EVENT_FAIL: what to close with
    const char* detail   # EVENT_FAIL: what was wrong, for the log


cdef struct FrameDecoder:
    PyObject* message        # bytes being filled with an unfinished message, or NULL
    Py_ssize_t filled        # how many of them are there
    PyObject* control        # bytes being filled with an unfinished control frame, or NULL
    Py_ssize_t control_filled
    Py_ssize_t remaining     # payload bytes of the current frame still to come
    uint32_t fragments       # frames of the current message so far
    uint32_t finished        # messages that needed more than one look at their first bytes
    uint8_t header[14]
    uint8_t header_size      # bytes of it that are there
    uint8_t phase
    uint8_t opcode           # of the current frame
    uint8_t message_opcode   # of the message in progress, or 0
    uint8_t final
    uint8_t mask[4]
    uint8_t mask_offset      # position in the payload, modulo 4
    uint8_t utf8             # Utf8State of the text so far
    uint8_t may_deflate      # permessage-deflate was agreed on
    uint8_t deflated         # the current message is compressed


cdef void decoder_init(FrameDecoder* self) noexcept
cdef void decoder_clear(FrameDecoder* self) noexcept

cdef inline bint decoder_is_between(const FrameDecoder* self) noexcept nogil:
    """True in the middle of a header, a frame or a message."""
    return self.header_size or self.message_opcode or self.remaining

# Decode the next event. Payload in the input is unmasked where it lies. Errors are events.
cdef void decoder_next(
    FrameDecoder* self, FrameInput* source, const FrameLimits* limits, FrameEvent* event
) noexcept

# What decoder_next leaves over. Declared, so that the C compiler keeps it a function of its own:
# as part of decoder_next it would have the commonest frame save registers that it does not need.
cdef void decoder_next_any(
    FrameDecoder* self, FrameInput* source, const FrameLimits* limits, FrameEvent* event
) noexcept

# Where the next bytes of a large message may be received straight to, or NULL. After n bytes
# were received there, decoder_landed must be called, which sets `event` as decoder_next does.
cdef uint8_t* decoder_target(FrameDecoder* self, Py_ssize_t* size) noexcept
cdef void decoder_landed(
    FrameDecoder* self, Py_ssize_t size, FrameEvent* event
) noexcept

# Write the header of an unmasked frame, at most 10 bytes; returns its length. `first` is the
# first byte: FIN, RSV and opcode.
cdef inline int encode_header(uint8_t* target, uint8_t first, uint64_t size) noexcept nogil:
    cdef int i
    target[0] = first
    if size < 126:
        target[1] = <uint8_t> size
        return 2
    if size < 65536:
        target[1] = 126
        target[2] = <uint8_t> (size >> 8)
        target[3] = <uint8_t> (size & 0xFF)
        return 4
    target[1] = 127
    for i in range(8):
        target[2 + i] = <uint8_t> ((size >> (56 - 8 * i)) & 0xFF)
    return 10
