"""How much a peer may send: buckets of tokens that fill with time."""

from libc.stdint cimport uint32_t


cdef struct Rates:
    double messages        # a second, or 0 for any number
    double bytes           # of payload a second, or 0
    double burst           # seconds that may be saved up


cdef struct Meter:
    double messages        # that may come at once
    double bytes           # the same; below 0 after a message that was larger
    uint32_t tick          # of the last message, or 0 before the first


cdef inline double refill(double left, double rate, double burst, double seconds) noexcept nogil:
    """Return what a bucket holds some seconds later; one message always has room in it."""
    return min(max(1.0, rate * burst), left + rate * seconds)


cdef inline bint meter_take(
    Meter* self, const Rates* rates, uint32_t tick, uint32_t ticks_per_second, Py_ssize_t size
) noexcept nogil:
    """Count a message that has come; False when it is one too many."""
    cdef double seconds = rates.burst + 1.0  # the first message finds the buckets full
    if self.tick:
        seconds = <double> (tick - self.tick) / ticks_per_second
    self.tick = tick
    if rates.messages:
        self.messages = refill(self.messages, rates.messages, rates.burst, seconds) - 1.0
        if self.messages < 0.0:
            return False
    if rates.bytes:
        self.bytes = refill(self.bytes, rates.bytes, rates.burst, seconds)
        if self.bytes < 0.0:
            return False
        self.bytes -= size
    return True
