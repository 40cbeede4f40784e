"""What a stream has still to send: a queue of reference-counted blocks."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef Py_ssize_t block_bytes    # of memory that all blocks of the process hold
cdef uint64_t blocks_freed     # while it stands still, no address is given to another block

cdef extern from *:
    """
    #ifdef _WIN32
    struct iovec { void* iov_base; size_t iov_len; };
    #else
    #include <sys/uio.h>
    #endif
    """
    cdef struct iovec:
        void* iov_base
        size_t iov_len


cdef struct Block:
    # `head_size` bytes of `head`, then `body_size` bytes at `body`, which belong to `owner`.
    # Counted under the GIL. Once a block is shared its bytes do not change.
    Py_ssize_t references
    PyObject* owner        # the bytes or str that holds the body, or NULL
    PyObject* key          # of a message that the next one of the same key replaces, or NULL
    const char* body
    Py_ssize_t body_size
    Py_ssize_t head_size
    Py_ssize_t capacity    # room in `head`
    Block* deflated        # the same compressed, with a reference, or NULL
    uint16_t deflated_as   # how `deflated` is, or 0
    uint8_t is_message     # one whole message, which a policy may drop
    char head[1]           # `capacity` bytes


cdef struct Outbox:
    Block* only            # the ring of a queue that never held more than one
    Block** ring
    uint32_t first, count, capacity
    Py_ssize_t offset      # bytes of the first block that are sent
    Py_ssize_t size        # bytes still to send


cdef inline Py_ssize_t block_size(const Block* block) noexcept nogil:
    return block.head_size + block.body_size

# Counts bytes that a queue, or whoever sends what it held, has taken or let go of.
cdef void count_memory(Py_ssize_t size) noexcept

# All return NULL or False for want of memory, unless they raise.
cdef Block* block_new(Py_ssize_t capacity) noexcept
cdef Block* block_frame(
    uint8_t first, const char* data, Py_ssize_t size, PyObject* owner
) noexcept
cdef void block_release(Block* block) noexcept

cdef bint outbox_push(Outbox* self, Block* block) noexcept
cdef bint outbox_unshift(
    Outbox* self, const char* data, Py_ssize_t size, Py_ssize_t sent
) noexcept
cdef bint outbox_write(
    Outbox* self, const char* head, Py_ssize_t head_size, const char* data, Py_ssize_t size
) noexcept
cdef bint outbox_write_bytes(Outbox* self, bytes data) except -1
cdef int outbox_gather(Outbox* self, iovec* vectors, int most) noexcept
cdef void outbox_sent(Outbox* self, Py_ssize_t size) noexcept
cdef void outbox_clear(Outbox* self) noexcept
cdef void outbox_drop_unsent(Outbox* self) noexcept
cdef bint outbox_drop_oldest(Outbox* self) noexcept
cdef bint outbox_replace(Outbox* self, Block* block) except -1
