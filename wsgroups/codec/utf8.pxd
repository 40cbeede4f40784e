"""Incremental UTF-8 validation (RFC 3629) that stops at the first byte that cannot be right."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy


cdef enum Utf8State:
    # What the next byte may be. Only the first continuation byte after E0, ED, F0 and F4 has a
    # range of its own: it keeps out overlong forms, surrogates and code points above U+10FFFF.
    UTF8_START = 0
    UTF8_ONE_MORE = 1
    UTF8_TWO_MORE = 2
    UTF8_THREE_MORE = 3
    UTF8_AFTER_E0 = 4
    UTF8_AFTER_ED = 5
    UTF8_AFTER_F0 = 6
    UTF8_AFTER_F4 = 7
    UTF8_REJECT = 8


cdef inline uint8_t utf8_lead(uint8_t byte) noexcept nogil:
    """The state after a lead byte."""
    if byte < 0x80:
        return UTF8_START
    if byte < 0xC2:  # a continuation byte, or C0 and C1 which only begin overlong forms
        return UTF8_REJECT
    if byte < 0xE0:
        return UTF8_ONE_MORE
    if byte < 0xF0:
        if byte == 0xE0:
            return UTF8_AFTER_E0
        return UTF8_AFTER_ED if byte == 0xED else UTF8_TWO_MORE
    if byte < 0xF5:
        if byte == 0xF0:
            return UTF8_AFTER_F0
        return UTF8_AFTER_F4 if byte == 0xF4 else UTF8_THREE_MORE
    return UTF8_REJECT


cdef inline uint8_t utf8_continue(uint8_t state, uint8_t byte) noexcept nogil:
    """The state after a byte in the middle of a character."""
    if byte < 0x80 or byte > 0xBF:
        return UTF8_REJECT
    if state <= UTF8_THREE_MORE:
        return state - 1
    if state == UTF8_AFTER_E0:
        return UTF8_ONE_MORE if byte >= 0xA0 else UTF8_REJECT
    if state == UTF8_AFTER_ED:
        return UTF8_ONE_MORE if byte < 0xA0 else UTF8_REJECT
    if state == UTF8_AFTER_F0:
        return UTF8_TWO_MORE if byte >= 0x90 else UTF8_REJECT
    return UTF8_TWO_MORE if byte < 0x90 else UTF8_REJECT


cdef inline Py_ssize_t utf8_validate(
    uint8_t* state, const uint8_t* data, Py_ssize_t size
) noexcept nogil:
    """Check `size` bytes, going on from `state`.

    Returns the index of the first byte that cannot be right, or `size`. The text is complete
    when `state` is `UTF8_START` afterwards.
    """
    cdef uint8_t s = state[0]
    cdef uint64_t word
    cdef Py_ssize_t i = 0
    while i < size:
        if s == UTF8_START:
            while size - i >= 8:
                memcpy(&word, data + i, 8)
                if word & <uint64_t> 0x8080808080808080:
                    break
                i += 8
            if i == size:
                break
            s = utf8_lead(data[i])
        else:
            s = utf8_continue(s, data[i])
        if s == UTF8_REJECT:
            break
        i += 1
    state[0] = s
    return i
