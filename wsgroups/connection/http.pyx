"""The HTTP phase of a connection: heads and bodies in, one response each out (RFC 9112).

Bytes are counted and looked at here as they arrive, so that a limit strikes before anything is
stored; what the head means is `head.py`'s.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from wsgroups.connection.connection cimport Connection, GroupCore, Phase, ticks_of
from wsgroups.connection.handshake cimport check_upgrade
from wsgroups.connection.head cimport RequestHead
from wsgroups.connection.stream cimport (
    HOLDING_FRAMES,
    STREAM_OPEN,
    TICKS_PER_SECOND,
    has_queued,
)

from wsgroups.connection.tls cimport TlsFilter

import logging

from wsgroups.connection.forwarding import read_proxy_header
from wsgroups.connection.wire import PHRASES, encode_response
from wsgroups.errors import AlreadyAnsweredError, HTTPError, too_many_of_one_address

logger = logging.getLogger("wsgroups")

cdef enum PhaseState:
    READING_HEAD = 0
    READING_BODY = 1
    HANDLING = 2           # the application has the request
    READING_PROXY = 4      # what comes before the first request, when a proxy is in between
    DONE = 3               # the last response is on its way, or the connection is a WebSocket

cdef enum:
    MAX_AHEAD = 65536      # what a client may send behind a request that is being handled
    CHUNK_COST = 8         # bytes sent for a chunk of one byte, with room for leading zeros
    MAX_BLANK = 2          # empty lines before a request (RFC 9112 section 2.2)
    LINGER = 65536         # what a refused client may still send, for a second at most
    TLS_HANDSHAKE = 0x16


@cython.final
cdef class HttpLimits:
    """What one request may be. Sizes in bytes, times in seconds or None.

    `proxies` begin each connection with a PROXY header; None when nobody does.
    """

    def __init__(
        self,
        *,
        Py_ssize_t max_header_line,
        Py_ssize_t max_head_size,
        Py_ssize_t max_body_size,
        int max_headers,
        handshake_timeout,
        keep_alive_timeout,
        proxies=None,
    ):
        self.max_header_line = max_header_line
        self.max_head_size = max_head_size
        self.max_body_size = max_body_size
        self.max_headers = max_headers
        self.handshake_ticks = ticks_of(handshake_timeout)
        self.keep_alive_ticks = ticks_of(keep_alive_timeout)
        self.proxies = proxies


@cython.final
cdef class HttpPhase(Phase):
    """One connection before its upgrade.

    Args:
        connection: the connection this is the phase of.
        endpoint: the application's side: `handle(phase, head, body)` answers by calling `respond`
            or `upgrade`, once, then or later.
        limits: what a request may be.
        refusal: an HTTPError to answer with before anything is read; None to serve.
        tls: the `ssl.SSLContext` that the client speaks TLS with; None for plain text. Who is
            refused gets no answer then: the handshake before it costs too much of an overloaded
            server.
    """

    def __init__(
        self,
        Connection connection not None,
        endpoint,
        HttpLimits limits not None,
        refusal=None,
        tls=None,
    ):
        self.connection = connection
        self.endpoint = endpoint
        self.limits = limits
        self.buffer = bytearray()
        connection.phase = self
        self.arm(limits.handshake_ticks)
        if limits.proxies is not None and limits.proxies.trusts(connection.peer):
            self.state = READING_PROXY
            self.tls = tls
        elif tls is not None:
            TlsFilter(connection, tls)
        if refusal is not None and tls is not None:
            connection.finish(LINGER, TICKS_PER_SECOND)
        elif refusal is not None:
            self.refuse(refusal)

    cdef void arm(self, uint32_t ticks) noexcept:
        self.connection.driver.arm(self.connection, ticks)

    # --- input ------------------------------------------------------------------------------

    cdef int received(self, Connection connection, char* data, Py_ssize_t size) except -1:
        if self.state == READING_HEAD and not self.buffer:
            if data[0] == TLS_HANDSHAKE and not self.reused:
                return connection.abort(0)  # a TLS client could not read an answer
            if self.reused:
                self.arm(self.limits.handshake_ticks)
        self.buffer += data[:size]
        if not self.is_waiting():
            self.read_on()
        if self.is_waiting() and len(self.buffer) > MAX_AHEAD:
            connection.pause()
        return 0

    cdef bint is_waiting(self) noexcept:
        """True while a request of before has to be handled, answered or read on first."""
        return (
            self.state == HANDLING or self.state == DONE or self.sending
            or self.connection.is_requeued
        )

    cdef int read_on(self) except -1:
        try:
            if self.state == READING_PROXY:
                self.take_proxy_header()
            if self.state == READING_HEAD:
                self.take_head()
            elif self.state == READING_BODY:
                self.take_body()
        except HTTPError as error:
            if self.tls is not None:
                return self.connection.abort(0)  # a TLS client could not read an answer
            self.refuse(error)
        if self.ended_early and not self.is_waiting():
            self.connection.finish(0, TICKS_PER_SECOND)  # the rest of a request will never come
        return 0

    cdef int take_proxy_header(self) except -1:
        """Learn from a proxy who the client is."""
        cdef Connection connection = self.connection
        cdef bytes address
        found = read_proxy_header(bytes(self.buffer))
        if found is None:
            return 0
        size, address = found
        del self.buffer[:size]
        self.state = READING_HEAD
        if address is not None:
            memcpy(connection.address, PyBytes_AS_STRING(address), sizeof(connection.address))
            if connection.host is not None and not connection.host.recount(connection):
                raise too_many_of_one_address()
        return self.begin_tls() if self.tls is not None else 0

    cdef int begin_tls(self) except -1:
        """What comes behind the proxy's header is TLS."""
        cdef TlsFilter filter = TlsFilter(self.connection, self.tls)
        cdef bytes rest = bytes(self.buffer)
        self.tls = None
        self.buffer.clear()
        return filter.received(self.connection, PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))

    cdef int take_head(self) except -1:
        """Look at what is new; go on when the head is complete."""
        cdef bytes raw
        cdef char* data = PyByteArray_AS_STRING(self.buffer)
        cdef Py_ssize_t end = self.scan(<const uint8_t*> data, len(self.buffer))
        if end < 0:
            return 0
        raw = data[2 * self.blank:end]
        del self.buffer[:end]
        self.scanned = self.line = 0
        self.lines = self.blank = 0
        return self.begin(raw)

    cdef Py_ssize_t scan(self, const uint8_t* data, Py_ssize_t size) except -2:
        """Check the new bytes one by one; returns the end of the head, or -1 when there is more.

        A parser would let some of these pass: a lone LF ends a line for some readers and not for
        others, which is how requests are smuggled (RFC 9112 sections 2.2, 5.2 and 11.2).
        """
        cdef Py_ssize_t i, line = self.line, longest = self.limits.max_header_line
        cdef int lines = self.lines
        cdef uint8_t byte
        # What stands behind the limit does not count, in however many pieces it comes.
        cdef Py_ssize_t stop = min(size, self.limits.max_head_size)
        i = self.scanned
        while i < stop:
            byte = data[i]
            if byte == b"\n":
                if i == line or data[i - 1] != b"\r":
                    raise HTTPError(400, "A line ends without CR.")
                if i - line > 1:
                    if lines == 0 and (i - line < 10 or memcmp(data + i - 9, b"HTTP/", 5) != 0):
                        raise HTTPError(400, "The request line is malformed.")
                    lines += 1
                    if lines > self.limits.max_headers + 1:
                        raise HTTPError(431, "There are too many headers.")
                elif lines:
                    return i + 1
                else:
                    self.blank += 1
                    if self.blank > MAX_BLANK:
                        raise HTTPError(400, "The request begins with nothing.")
                line = i + 1
            elif i > line and data[i - 1] == b"\r":
                raise HTTPError(400, "A line has a CR inside.")
            elif byte != b"\r":
                if i - line >= longest:
                    if lines == 0:
                        raise HTTPError(414, "The request target is too long.")
                    raise HTTPError(431, "A header is too long.")
                if lines == 0:
                    if byte < 32 or byte > 126 or byte == b"#":
                        raise HTTPError(400, "The request line is malformed.")
                elif (byte < 32 and byte != b"\t") or byte == 127:
                    raise HTTPError(400, "A header has a control character in it.")
                # Nearly all of a head is passed here, which is what makes it cheap to look at.
                i = harmless_end(data, i, min(stop, line + longest) - 1)
            i += 1
        self.scanned = size
        self.line = line
        self.lines = lines
        if size > self.limits.max_head_size:
            raise HTTPError(431, "The headers are too long.")
        return -1

    cdef int begin(self, bytes raw) except -1:
        """A head is complete: parse it and see what body follows."""
        self.head = RequestHead(raw)
        length = self.head.content_length
        if length == 0:
            return self.handle()
        check_upgrade(self.head)  # which refuses a handshake with a body: nobody waits for that
        if length is not None and length > self.limits.max_body_size:
            raise HTTPError(413, "The request's body is too large.")
        self.state = READING_BODY
        self.body_left = -1 if length is None else length
        if self.head.version == 11 and self.head.tokens(b"expect") == [b"100-continue"]:
            self.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n", 25, b"", 0)
        return self.take_body()

    cdef int take_body(self) except -1:
        cdef Py_ssize_t size = len(self.buffer)
        if self.body_left < 0:
            return self.take_chunks()
        if size > self.body_left:
            size = self.body_left
        self.head.on_body(bytes(self.buffer[:size]))
        del self.buffer[:size]
        self.body_left -= size
        return self.handle() if self.body_left == 0 else 0

    cdef int take_chunks(self) except -1:
        """Decode a chunked body with llhttp, which does not say where the body ended.

        Whatever comes behind it is therefore not read: the connection closes after the response.
        """
        self.head.keep_alive = False
        self.chunked_size += len(self.buffer)
        self.head.feed(bytes(self.buffer))
        self.buffer.clear()
        if self.head.body_size > self.limits.max_body_size:
            raise HTTPError(413, "The request's body is too large.")
        if self.head.is_complete:
            return self.handle()
        # What is no body: sizes of chunks, of which each byte may have its own, and trailers.
        if self.chunked_size - CHUNK_COST * self.head.body_size > self.limits.max_head_size:
            raise HTTPError(431, "The trailers are too long.")
        return 0

    cdef int handle(self) except -1:
        """Give the request to the application."""
        self.state = HANDLING
        self.arm(0)
        if self.connection.is_shaking:
            self.connection.host.shaken(self.connection)
        if self.connection.driver.current is not None:
            self.connection.driver.enter(None)
        self.endpoint.handle(self, self.head)
        return 0

    # --- output -----------------------------------------------------------------------------

    cpdef is_answered(self):
        """Return True when the request that was handed out has its answer."""
        return self.state != HANDLING

    def respond(self, bytes response not None, bint keep_alive):
        """Answer the request that was handed out with whole response bytes.

        Raises:
            AlreadyAnsweredError: when it has its answer.
        """
        cdef Connection connection = self.connection
        if connection.ending != STREAM_OPEN:
            self.state = DONE
            return
        if self.state != HANDLING:
            raise AlreadyAnsweredError("this request already has its answer")
        connection.write(PyBytes_AS_STRING(response), PyBytes_GET_SIZE(response), b"", 0)
        self.head = None
        if not keep_alive:
            self.finish()
            return
        self.state = READING_HEAD
        self.reused = True
        self.arm(self.limits.keep_alive_ticks)
        # Who does not take this response gets no other, however many requests he sends.
        self.sending = has_queued(connection)
        if not self.sending:
            self.next_request()

    cdef int next_request(self) except -1:
        """The response is on its way: read on."""
        cdef Connection connection = self.connection
        if self.buffer:
            self.arm(self.limits.handshake_ticks)
            connection.driver.requeue(connection)  # a pipelined request has its own turn
        elif self.ended_early:
            return self.finish()
        else:
            self.arm(self.limits.keep_alive_ticks)
        return 0

    cdef int finish(self) except -1:
        """Close when the last response is with the client, however slowly it reads."""
        self.state = DONE
        self.sending = False
        self.connection.patient = True
        return self.connection.finish(LINGER, TICKS_PER_SECOND)

    def refuse(self, error):
        """Answer with an error and close; nothing further is read (RFC 9112 section 9.6)."""
        cdef Connection connection = self.connection
        detail = str(error.detail or PHRASES[error.status])
        logger.info("request refused with %d: %s", error.status, detail)
        response = encode_response(
            error.status,
            [*error.headers.items(), ("Content-Type", "text/plain; charset=utf-8")],
            detail.encode() + b"\n",
            keep_alive=False,
        )
        self.state = DONE
        self.head = None
        self.buffer.clear()
        connection.write(PyBytes_AS_STRING(response), PyBytes_GET_SIZE(response), b"", 0)
        connection.finish(LINGER, TICKS_PER_SECOND)

    cpdef upgrade(self, bytes response, GroupCore group, int64_t id, object socket):
        """Answer with 101 and turn the connection into a WebSocket of `group`.

        Frames that came behind the request are handled once the handler has returned.
        """
        cdef Connection connection = self.connection
        if self.state != HANDLING:
            raise AlreadyAnsweredError("this request already has its answer")
        self.state = DONE
        self.head = None
        connection.upgrade(group, id, socket)
        if connection.ending != STREAM_OPEN:
            # Gone while its handler ran: the application gets a dead socket and its disconnect.
            connection.closed(0)
            return
        connection.write(PyBytes_AS_STRING(response), PyBytes_GET_SIZE(response), b"", 0)
        connection.driver.defer(connection)
        if self.buffer:
            connection.held = bytes(self.buffer)
            connection.held_from = 0
            connection.holding |= HOLDING_FRAMES
            connection.driver.update_interest(connection)
            connection.driver.requeue(connection)
        connection.unpause()

    cdef int shut(self) except -1:
        """The server stops: let go of an idle connection, refuse a request that is not complete."""
        if self.state == HANDLING or self.state == DONE:
            return 0
        if has_queued(self.connection):  # the last response is on its way
            return self.finish()
        if (self.buffer or self.head is not None) and self.tls is None:
            self.refuse(HTTPError(503, "The server is shutting down."))
        else:
            self.connection.abort(0)
        return 0

    # --- the connection's events ------------------------------------------------------------

    cdef int ended(self, Connection connection) except -1:
        """FIN from the client: the requests that came before it still get their responses."""
        if self.is_waiting():
            self.ended_early = True
            return connection.pause()
        connection.finish(0, TICKS_PER_SECOND)  # the last response may still be on its way
        return connection.pause()

    cdef int timed_out(self, Connection connection) except -1:
        if self.state in (READING_HEAD, READING_BODY) and (self.buffer or self.head is not None):
            self.refuse(HTTPError(408, "The request took too long to arrive."))
            return 0
        return connection.abort(0)

    cdef int resumed(self) except -1:
        self.read_on()
        if not self.ended_early and (not self.is_waiting() or len(self.buffer) <= MAX_AHEAD):
            self.connection.unpause()
        return 0

    cdef int drained(self) except -1:
        if self.sending:
            self.sending = False
            self.next_request()
        return 0


cdef inline Py_ssize_t harmless_end(const uint8_t* data, Py_ssize_t i, Py_ssize_t last) noexcept:
    """The last one behind `i`, up to `last`, of bytes that may stand anywhere in a line."""
    while i < last and 32 <= data[i + 1] <= 126 and data[i + 1] != b"#":
        i += 1
    return i
