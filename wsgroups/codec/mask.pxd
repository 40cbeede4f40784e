"""Masking (RFC 6455 section 5.3): octet i is xored with octet i mod 4 of the key."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline void mask_copy(
    uint8_t* target, const uint8_t* source, Py_ssize_t size, const uint8_t* key, unsigned offset
) noexcept nogil:
    """Write `size` masked bytes of `source` to `target`, which may be the same memory.

    `offset` is the position of `source[0]` in the frame's payload. Nothing outside
    `[source, source + size)` is read: words go through memcpy and the tail byte by byte.
    """
    cdef uint8_t turned[4]
    cdef uint32_t key32
    cdef uint64_t key64, word
    cdef Py_ssize_t i = 0
    cdef unsigned j
    if offset == 0:
        memcpy(turned, key, 4)
    else:
        for j in range(4):
            turned[j] = key[(offset + j) & 3]
    memcpy(&key32, turned, 4)
    key64 = (<uint64_t> key32) << 32 | key32
    while size - i >= 8:
        memcpy(&word, source + i, 8)
        word ^= key64
        memcpy(target + i, &word, 8)
        i += 8
    while i < size:
        target[i] = source[i] ^ turned[i & 3]
        i += 1
