"""Every live socket of the process by its id: one table, borrowed references, under the GIL.

A dict would cost about 100 bytes a socket for its boxed keys; this costs 16 to 43.
"""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

cdef struct Entry:
    int64_t key
    PyObject* item  # NULL: free

cdef Entry* table = NULL
cdef uint32_t mask = 0
cdef uint32_t used = 0


cdef inline uint32_t home_of(int64_t key) noexcept nogil:
    return <uint32_t> (<uint64_t> key * <uint64_t> 0x9E3779B97F4A7C15 >> 32)


cdef inline uint32_t find(int64_t key) noexcept nogil:
    """The slot of `key`, or the free slot where the search for it ends."""
    cdef uint32_t slot = home_of(key) & mask
    while table[slot].item != NULL and table[slot].key != key:
        slot = (slot + 1) & mask
    return slot


cdef int resize(uint32_t size) except -1:
    global table, mask
    cdef Entry* old = table
    cdef uint32_t old_size = mask + 1 if table != NULL else 0, i
    cdef Entry* new = <Entry*> calloc(size, sizeof(Entry))
    if new == NULL:
        raise MemoryError
    table = new
    mask = size - 1
    for i in range(old_size):
        if old[i].item != NULL:
            table[find(old[i].key)] = old[i]
    free(old)
    return 0


cdef int registry_add(int64_t key, PyObject* item) except -1:
    """Register a socket; its owner removes it before it dies."""
    global used
    cdef uint32_t slot
    if table == NULL:
        resize(64)
    elif used * 4 >= (mask + 1) * 3:
        resize((mask + 1) * 2)
    slot = find(key)
    table[slot].key = key
    table[slot].item = item
    used += 1
    return 0


cdef PyObject* registry_find(int64_t key) noexcept:
    """The live socket of an id as a borrowed reference, or NULL."""
    if table == NULL:
        return NULL
    return table[find(key)].item


cdef void registry_remove(int64_t key) noexcept:
    global used
    cdef uint32_t hole, slot, home
    if table == NULL:
        return
    hole = find(key)
    if table[hole].item == NULL:
        return
    used -= 1
    slot = hole
    while True:
        # Close the gap with the next entry that was pushed past it, so that no tombstones stay.
        table[hole].item = NULL
        while True:
            slot = (slot + 1) & mask
            if table[slot].item == NULL:
                shrink()
                return
            home = home_of(table[slot].key) & mask
            if ((slot - home) & mask) >= ((slot - hole) & mask):
                break
        table[hole] = table[slot]
        hole = slot


cdef void shrink() noexcept:
    if mask > 255 and used * 8 < mask:
        try:
            resize((mask + 1) // 2)
        except MemoryError:
            pass  # the larger table stays
