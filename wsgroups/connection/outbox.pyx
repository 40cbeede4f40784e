"""What a stream has still to send: a queue of reference-counted blocks.

A frame that goes to many sockets is one block and a pointer in each of their queues. Small writes
are gathered in the last block of the queue while nobody else has it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF, Py_XINCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from wsgroups.codec.frames cimport encode_header

cdef enum:
    FRAME_HEADER = 10
    # Bodies from this size on are sent from the object that holds them instead of being copied.
    REFERENCE_FROM = 8192
    GATHER_CAPACITY = 512
    FIRST_RING = 16
    MOST_SPARE_RINGS = 512


cdef Py_ssize_t block_bytes = 0
cdef uint64_t blocks_freed = 0

# Rings of the first size that are in no queue, each with the address of the next in its first
# slot: a message to a group makes and gives up one for every member. Under the GIL.
cdef Block** spare_rings = NULL
cdef uint32_t spare_ring_count = 0


cdef Block* block_new(Py_ssize_t capacity) noexcept:
    """Return an empty block with one reference, room for `capacity` bytes and no body."""
    cdef Block* block = <Block*> malloc(sizeof(Block) + capacity)
    if block != NULL:
        block.references = 1
        block.owner = NULL
        block.key = NULL
        block.is_message = False
        block.deflated = NULL
        block.deflated_as = 0
        block.body = NULL
        block.body_size = 0
        block.head_size = 0
        block.capacity = capacity
        count_memory(sizeof(Block) + capacity)
    return block


cdef inline void count_memory(Py_ssize_t size) noexcept:
    global block_bytes
    block_bytes += size


cdef Block* block_frame(
    uint8_t first, const char* data, Py_ssize_t size, PyObject* owner
) noexcept:
    """Return a block that is one unmasked frame.

    `owner` is an object that keeps `data` alive and unchanged; a large payload is then referred to.
    With NULL it is copied.
    """
    cdef bint refer = owner != NULL and size >= REFERENCE_FROM
    cdef Block* block = block_new(FRAME_HEADER if refer else FRAME_HEADER + size)
    if block == NULL:
        return NULL
    block.head_size = encode_header(<uint8_t*> block.head, first, size)
    block.is_message = first & 0x08 == 0  # section 5.5: the other opcodes are control frames
    if refer:
        count_memory(size)
        Py_XINCREF(owner)
        block.owner = owner
        block.body = data
        block.body_size = size
    else:
        memcpy(block.head + block.head_size, data, size)
        block.head_size += size
    return block


cdef void block_release(Block* block) noexcept:
    global blocks_freed
    block.references -= 1
    if block.references == 0:
        blocks_freed += 1
        count_memory(-block.body_size - block.capacity - <Py_ssize_t> sizeof(Block))
        if block.deflated != NULL:
            block_release(block.deflated)
        Py_XDECREF(block.key)
        Py_XDECREF(block.owner)
        free(block)


cdef inline Block** slots(Outbox* self) noexcept nogil:
    return &self.only if self.ring == NULL else self.ring


cdef inline uint32_t position(const Outbox* self, uint32_t index) noexcept nogil:
    if self.ring == NULL:
        return 0
    return (self.first + index) & (self.capacity - 1)


cdef Block** new_ring(uint32_t capacity) noexcept:
    global spare_rings, spare_ring_count
    cdef Block** ring = spare_rings
    if capacity != FIRST_RING or ring == NULL:
        return <Block**> malloc(capacity * sizeof(Block*))
    spare_rings = <Block**> ring[0]
    spare_ring_count -= 1
    return ring


cdef void free_ring(Block** ring, uint32_t capacity) noexcept:
    global spare_rings, spare_ring_count
    if capacity != FIRST_RING or spare_ring_count == MOST_SPARE_RINGS:
        free(ring)
        return
    ring[0] = <Block*> spare_rings
    spare_rings = ring
    spare_ring_count += 1


cdef bint grow(Outbox* self) noexcept:
    """Double the ring; its capacity is a power of two."""
    cdef uint32_t capacity = FIRST_RING if self.ring == NULL else 2 * self.capacity, i
    cdef Block** ring = new_ring(capacity)
    if ring == NULL:
        return False
    for i in range(self.count):
        ring[i] = slots(self)[position(self, i)]
    if self.ring != NULL:
        free_ring(self.ring, self.capacity)
    self.ring = ring
    self.capacity = capacity
    self.first = 0
    return True


cdef inline bint make_room(Outbox* self) noexcept:
    if self.ring == NULL:
        return self.count == 0 or grow(self)
    return self.count < self.capacity or grow(self)


cdef bint outbox_push(Outbox* self, Block* block) noexcept:
    """Queue a block; takes a reference of its own."""
    if not make_room(self):
        return False
    slots(self)[position(self, self.count)] = block
    block.references += 1
    self.count += 1
    self.size += block_size(block)
    return True


cdef bint outbox_unshift(
    Outbox* self, const char* data, Py_ssize_t size, Py_ssize_t sent
) noexcept:
    """Put `size` bytes, of which `sent` are sent already, before everything queued.

    Nothing of the queue itself may have been sent yet.
    """
    cdef Block* block
    if not make_room(self):
        return False
    block = block_new(size)
    if block == NULL:
        return False
    memcpy(block.head, data, size)
    block.head_size = size
    if self.ring != NULL:
        self.first = (self.first - 1) & (self.capacity - 1)
    slots(self)[position(self, 0)] = block
    self.count += 1
    self.offset = sent
    self.size += size - sent
    return True


cdef bint outbox_write(
    Outbox* self, const char* head, Py_ssize_t head_size, const char* data, Py_ssize_t size
) noexcept:
    """Queue a copy of `head` and `data`."""
    cdef Block* block
    cdef Py_ssize_t total = head_size + size
    cdef bint queued
    if self.count:
        block = slots(self)[position(self, self.count - 1)]
        if (
            block.references == 1
            and block.body_size == 0
            and block.capacity - block.head_size >= total
        ):
            memcpy(block.head + block.head_size, head, head_size)
            memcpy(block.head + block.head_size + head_size, data, size)
            block.head_size += total
            self.size += total
            return True
    block = block_new(total if total > GATHER_CAPACITY // 4 else GATHER_CAPACITY)
    if block == NULL:
        return False
    memcpy(block.head, head, head_size)
    memcpy(block.head + head_size, data, size)
    block.head_size = total
    queued = outbox_push(self, block)
    block_release(block)
    return queued


cdef bint outbox_write_bytes(Outbox* self, bytes data) except -1:
    """Queue `data` as it is; a large one is referred to."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Block* block
    cdef bint queued
    if size < REFERENCE_FROM:
        queued = outbox_write(self, PyBytes_AS_STRING(data), size, b"", 0)
    else:
        block = block_new(0)
        if block == NULL:
            raise MemoryError
        count_memory(size)
        Py_INCREF(data)
        block.owner = <PyObject*> data
        block.body = PyBytes_AS_STRING(data)
        block.body_size = size
        queued = outbox_push(self, block)
        block_release(block)
    if not queued:
        raise MemoryError
    return True


cdef int outbox_gather(Outbox* self, iovec* vectors, int most) noexcept:
    """Describe the front of the queue in at most `most` vectors; returns how many were used."""
    cdef uint32_t i
    cdef int used = 0
    cdef Py_ssize_t skip = self.offset
    cdef Block* block
    for i in range(self.count):
        if used + 2 > most:
            break
        block = slots(self)[position(self, i)]
        if skip < block.head_size:
            vectors[used].iov_base = block.head + skip
            vectors[used].iov_len = block.head_size - skip
            used += 1
            skip = 0
        else:
            skip -= block.head_size
        if block.body_size > skip:
            vectors[used].iov_base = <void*> (block.body + skip)
            vectors[used].iov_len = block.body_size - skip
            used += 1
        skip = 0
    return used


cdef void outbox_sent(Outbox* self, Py_ssize_t size) noexcept:
    """Give up the first `size` bytes."""
    cdef Block* block
    self.size -= size
    self.offset += size
    while self.count:
        block = slots(self)[position(self, 0)]
        if self.offset < block_size(block):
            return
        self.offset -= block_size(block)
        if self.ring != NULL:
            self.first = (self.first + 1) & (self.capacity - 1)
        self.count -= 1
        block_release(block)
    self.first = 0
    if self.ring != NULL:  # an idle socket keeps no queue
        free_ring(self.ring, self.capacity)
        self.ring = NULL
        self.capacity = 0


cdef void outbox_clear(Outbox* self) noexcept:
    if self.count:
        outbox_sent(self, self.size)


cdef void outbox_drop_unsent(Outbox* self) noexcept:
    """Drop every block of which nothing is sent yet: a frame that has begun must be finished."""
    cdef Block* block
    cdef uint32_t keep = 1 if self.offset else 0
    while self.count > keep:
        block = slots(self)[position(self, self.count - 1)]
        self.count -= 1
        self.size -= block_size(block)
        block_release(block)
    if self.count == 0:
        outbox_sent(self, 0)


cdef bint outbox_drop_oldest(Outbox* self) noexcept:
    """Drop the first message of which nothing is sent yet; False when there is none."""
    cdef uint32_t index = 1 if self.offset else 0, i
    cdef Block** blocks = slots(self)
    cdef Block* block
    while index < self.count and not blocks[position(self, index)].is_message:
        index += 1
    if index >= self.count:
        return False
    block = blocks[position(self, index)]
    if self.ring != NULL:
        # What stands before it, hardly ever more than two, moves up.
        for i in range(index, 0, -1):
            blocks[position(self, i)] = blocks[position(self, i - 1)]
        self.first = (self.first + 1) & (self.capacity - 1)
    self.count -= 1
    self.size -= block_size(block)
    block_release(block)
    if self.count == 0:
        outbox_sent(self, 0)
    return True


cdef bint outbox_replace(Outbox* self, Block* block) except -1:
    """Put a message in the place of the queued one that has an equal key; False if none has."""
    cdef uint32_t i
    cdef Block* queued
    cdef Block** slot
    for i in range(1 if self.offset else 0, self.count):
        slot = &slots(self)[position(self, i)]
        queued = slot[0]
        if queued.key != NULL and (
            queued.key == block.key or <object> queued.key == <object> block.key
        ):
            block.references += 1
            slot[0] = block
            self.size += block_size(block) - block_size(queued)
            block_release(queued)
            return True
    return False
