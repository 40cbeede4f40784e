"""A set of objects as a dense array, for walking, with a hash index, for leaving in O(1).

Groups, rooms and ad-hoc sets of sockets are all made of it: 8 bytes for the array and 8 to 16 for
the index a member.
"""

import logging

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc

logger = logging.getLogger("wsgroups")

cdef object watcher = None  # called with the channel of a set that has become empty, or filled


cdef inline uint32_t slot_of(PyObject* item) noexcept nogil:
    # Fibonacci hashing: objects lie 16 bytes apart, so the low bits of an address say little.
    return <uint32_t> ((<uint64_t> <uintptr_t> item >> 4) * <uint64_t> 0x9E3779B97F4A7C15 >> 32)


@cython.final
cdef class Witness:
    """Notes who comes to the sets that have it and who leaves them, in order. From any thread.

    Args:
        wake: called when something is noted and nothing was before, in any thread, with the loop
            of the socket that it is about.
    """

    def __init__(self, wake):
        self.entries = []
        self.wake = wake

    def note(self, label, int64_t id, bint has_come, loop):
        """Note something as if a set had."""
        self.append((label, id, has_come), loop)

    def take(self):
        """Return what was noted, as (label, id, whether it has come), and forget it."""
        entries, self.entries = self.entries, []
        return entries

    cdef void append(self, tuple entry, object loop) noexcept:
        try:
            self.entries.append(entry)
            if len(self.entries) == 1:
                try:
                    self.wake(loop)
                except BaseException:
                    self.entries = []  # nobody will look at them; the next one wakes again
                    raise
        except BaseException:
            logger.exception("it could not be noted who has come or left")


@cython.final
cdef class Members:
    """Identity set of live objects. Only under the GIL; does not own what it holds."""

    def __dealloc__(self):
        free(self.items)
        free(self.table)

    def __len__(self):
        return self.count

    cdef int reserve(self, uint32_t capacity) except -1:
        """Make room for `capacity` members and index them anew at a load of at most one half."""
        cdef uint32_t size = 8, i
        cdef PyObject** items
        cdef uint32_t* table
        while size < 2 * capacity:
            size *= 2
        table = <uint32_t*> calloc(size, sizeof(uint32_t))
        if table == NULL:
            raise MemoryError
        items = <PyObject**> realloc(self.items, capacity * sizeof(PyObject*))
        if items == NULL:
            free(table)
            raise MemoryError
        self.items = items
        free(self.table)
        self.table = table
        self.mask = size - 1
        self.capacity = capacity
        for i in range(self.count):
            self.table[find_free(self, self.items[i])] = i + 1
        return 0

    cdef bint add(self, PyObject* item) except -1:
        """Add an object; False when it is there already."""
        if self.count and self.has(item):
            return False
        if self.count == self.capacity:
            self.reserve(4 if self.capacity == 0 else 2 * self.capacity)
        self.items[self.count] = item
        self.count += 1
        self.table[find_free(self, item)] = self.count
        if self.owner != NULL and self.count == 1:
            self.keeper = <object> self.owner
        return True

    cdef bint has(self, PyObject* item) noexcept:
        return self.count != 0 and self.table[find(self, item)] != 0

    cdef bint discard(self, PyObject* item) noexcept:
        """Remove an object; the last one takes its place. False when it is not there."""
        cdef uint32_t slot, index, moved
        if self.count == 0:
            return False
        slot = find(self, item)
        index = self.table[slot]
        if index == 0:
            return False
        erase(self, slot)
        self.count -= 1
        if index - 1 != self.count:
            moved = find(self, self.items[self.count])
            self.table[moved] = index
            self.items[index - 1] = self.items[self.count]
        if self.count == 0:
            free(self.items)
            free(self.table)
            self.items = NULL
            self.table = NULL
            self.capacity = 0
            self.keeper = None  # last: it may be the end of the owner, and of us
        elif self.capacity > 16 and self.count * 4 < self.capacity:
            shrink(self)
        return True

    cdef tuple entry(self, int64_t id, bint has_come):
        """What the witness is to note, or None. Made before the change, as making it takes memory:
        in between no other thread may run.
        """
        return None if self.witness is None else (self.label, id, has_come)

    cdef void changed(self) noexcept:
        """Tell of a first or last member, when whoever has come or left is done with it.

        Other threads may run meanwhile.
        """
        if watcher is not None and self.channel is not None:
            try:
                watcher(self.channel)
            except BaseException:
                logger.exception("other workers could not be told of a group")


def watch(function):
    """Have `function(channel)` called when a set with a channel gets or loses its only member."""
    global watcher
    watcher = function


cdef uint32_t find(Members self, PyObject* item) noexcept:
    """The slot of `item`, or the free slot where the search for it ends."""
    cdef uint32_t slot = slot_of(item) & self.mask
    while self.table[slot] and self.items[self.table[slot] - 1] != item:
        slot = (slot + 1) & self.mask
    return slot


cdef uint32_t find_free(Members self, PyObject* item) noexcept:
    cdef uint32_t slot = slot_of(item) & self.mask
    while self.table[slot]:
        slot = (slot + 1) & self.mask
    return slot


cdef void erase(Members self, uint32_t hole) noexcept:
    """Empty a slot and move back what was pushed past it, so that no tombstones are needed."""
    cdef uint32_t slot = hole, home
    while True:
        self.table[hole] = 0
        while True:
            slot = (slot + 1) & self.mask
            if self.table[slot] == 0:
                return
            home = slot_of(self.items[self.table[slot] - 1]) & self.mask
            # Stays when its home lies behind the hole, cyclically.
            if ((slot - home) & self.mask) >= ((slot - hole) & self.mask):
                break
        self.table[hole] = self.table[slot]
        hole = slot


cdef void shrink(Members self) noexcept:
    try:
        self.reserve(self.capacity // 2)
    except MemoryError:
        pass  # the larger tables stay
