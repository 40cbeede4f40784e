"""The socket and the sets of sockets as applications see them.

Every verb works from any thread: in the loop's own thread it acts at once, from another it goes
through the driver's mailbox, in order.
"""

import logging
import time
from asyncio import _get_running_loop as running_loop
from functools import partial

cimport cython
from cpython.buffer cimport (
    PyBUF_CONTIG_RO,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t

from wsgroups.codec.frames cimport OP_BINARY, OP_TEXT
from wsgroups.connection.connection cimport (
    RESULT_DROPPED,
    RESULT_GONE,
    RESULT_OK,
    SLOW_WAIT,
    STATE_OPEN,
    Connection,
)
from wsgroups.connection.members cimport Members
from wsgroups.connection.outbox cimport Block, block_frame, block_release, block_size
from wsgroups.connection.registry cimport registry_find
from wsgroups.connection.stream cimport Driver, is_here, unsent
from wsgroups.connection.tally cimport TRACE_VERBOSE, preview, trace

import orjson

from wsgroups.closing import CloseCode, close_payload
from wsgroups.connection.members import watch
from wsgroups.connection.stream import socket_in_context
from wsgroups.enums import SendResult, SocketStatus
from wsgroups.ids import MAX_ID, sequence
from wsgroups.surface import waiting

logger = logging.getLogger("wsgroups")

cdef tuple RESULTS = tuple(SendResult)

cdef enum:
    SEQUENCE_BITS = 47         # of an id; the address stands above them
    FIN = 0x80
    AFTER_SEND = 8
    IMMEDIATELY = 64
    GRACEFULLY = 2048
    MAILBOX_BOUND = 65536

cdef double MAILBOX_PATIENCE = 1.0  # seconds

cdef object elsewhere = None  # the way to the sockets of other workers, or None


def get_elsewhere():
    """Return what reaches the sockets of other workers, or None when there are none."""
    return elsewhere


def set_elsewhere(way):
    """Set what reaches the sockets of other workers, an `Elsewhere`, or None.

    `way.watch(channel)` is called when a set with a channel gets or loses its only member.
    """
    global elsewhere
    elsewhere = way
    watch(None if way is None else way.watch)


@cython.final
cdef class Payload:
    """The bytes of a message to be sent, and its opcode; holds on to what it was made from."""

    cdef const char* data
    cdef Py_ssize_t size
    cdef uint8_t opcode
    cdef PyObject* owner       # an immutable object that holds the bytes, or NULL
    cdef object source
    cdef object key
    cdef Py_buffer view
    cdef bint has_view

    def __dealloc__(self):
        if self.has_view:
            PyBuffer_Release(&self.view)

    cdef int fill(self, object data, object is_text) except -1:
        self.source = data
        if isinstance(data, str):
            self.data = PyUnicode_AsUTF8AndSize(data, &self.size)
            if type(data) is str:  # a subclass could do anything when it is let go
                self.owner = <PyObject*> data
            self.opcode = OP_TEXT
        elif PyBytes_CheckExact(data):
            self.data = PyBytes_AS_STRING(data)
            self.size = PyBytes_GET_SIZE(data)
            self.owner = <PyObject*> data
            self.opcode = OP_BINARY
        elif PyObject_CheckBuffer(data):
            PyObject_GetBuffer(data, &self.view, PyBUF_CONTIG_RO)
            self.has_view = True
            self.data = <const char*> self.view.buf
            self.size = self.view.len
            self.opcode = OP_BINARY
        else:
            raise TypeError(
                f"send() takes str or bytes, not {type(data).__name__}; "
                "send_json() takes dicts and lists"
            )
        if is_text is not None and bool(is_text) != (self.opcode == OP_TEXT):
            if is_text:
                self.data[:self.size].decode("utf-8")  # text frames hold UTF-8 only (section 5.6)
            self.opcode = OP_TEXT if is_text else OP_BINARY
        return 0


@cython.final
cdef class Delivery:
    """A message on its way from another thread to one socket."""

    cdef Connection connection
    cdef Block* block
    cdef int flags
    cdef bint has_come         # to the loop's thread; it may still wait for room there

    def __dealloc__(self):
        if self.block != NULL:
            block_release(self.block)

    def __call__(self):
        if not self.has_come:
            self.has_come = True
            self.connection.coming -= block_size(self.block)
        # With slow_consumer="wait" nothing is dropped, and nothing overtakes what waits already.
        if self.connection.state == STATE_OPEN and self.connection.group.slow == SLOW_WAIT and (
            self.connection.extras is not None and self.connection.extras.waiters is not None
            or unsent(self.connection) > self.connection.group.write_high_water
        ):
            self.connection.wait(self)
            return
        self.connection.send_shared(self.block)
        follow(self.connection, self.flags)


@cython.final
cdef class Broadcast:
    """A message on its way from another thread to those of its sockets that one driver serves."""

    cdef list connections   # as of the call: who joins or leaves later makes no difference
    cdef Block* block

    def __dealloc__(self):
        if self.block != NULL:
            block_release(self.block)

    def __call__(self):
        cdef Connection connection
        for connection in self.connections:
            connection.send_shared(self.block)


cdef int follow(Connection connection, int flags) except -1:
    """Do what the flags ask for after a send."""
    if flags & IMMEDIATELY:
        if connection.state == STATE_OPEN:
            connection.driver.flush(connection)
        connection.drop()
    elif flags & (AFTER_SEND | GRACEFULLY):
        connection.disconnect(1000, b"", 0)
    return 0


cdef bint has_room(Driver driver) except -1:
    """False when the driver's loop is far behind with what other threads send.

    A plain thread waits a moment first. A thread with a loop of its own has others to serve.
    """
    cdef double until
    if driver.mailbox_size() < MAILBOX_BOUND:
        return True
    if running_loop() is not None:
        return False
    until = time.monotonic() + MAILBOX_PATIENCE
    while driver.mailbox_size() >= MAILBOX_BOUND:
        if time.monotonic() > until:
            return False
        time.sleep(0.001)
    return True


class _Current:
    """`WebSocket.current`: read on the class, as on an instance."""

    def __get__(self, instance, owner):
        return socket_in_context()


@cython.final
cdef class Orphan:
    """What is known of a socket whose worker is lost."""

    cdef object close_info
    cdef object group


@cython.final
cdef class WebSocket:
    """A socket, by its id: `WebSocket(id)` is the same socket wherever and whenever it is made.

    Args:
        id: the integer id. Any integer is taken: `status` says what it is.
    """

    current = _Current()

    def __init__(self, id):
        number = id.__index__() if hasattr(id, "__index__") else None
        if number is None:
            raise TypeError(f"a socket id is an int, not {type(id).__name__}")
        if 0 <= number <= MAX_ID:
            self.key, self.other = number, None
        else:
            self.key = -1
            self.other = number

    cdef Connection live(self):
        """The connection, when the socket was found alive once; it may be closed by now."""
        cdef PyObject* found
        if self.connection is None and self.key >= 0:
            found = registry_find(self.key)
            if found != NULL:
                self.connection = <Connection> found
        return self.connection

    cdef bint is_orphan(self):
        """True for the socket of a worker that is lost, as its disconnect handler gets it."""
        return self.key >= 0 and self.other is not None

    # --- identity ---------------------------------------------------------------------------

    @property
    def id(self):
        """The id: 63 bits, for ever this socket's own."""
        return self.key if self.key >= 0 else self.other

    def to_uint64(self):
        """Return the id, by the name that Starcounter gives it."""
        return self.id

    def __int__(self):
        return self.id

    def __index__(self):
        return self.id

    def __reduce__(self):
        return WebSocket, (self.id,)

    def __eq__(self, other):
        if isinstance(other, WebSocket):
            return self.id == other.id
        return NotImplemented

    def __hash__(self):
        return hash(self.id)

    def __repr__(self):
        cdef Connection connection = self.live()
        name = "" if connection is None else f" group={connection.group.name!r}"
        return f"<WebSocket {self.id}{name} {self.status.value}>"

    # --- state ------------------------------------------------------------------------------

    @property
    def status(self):
        """What is known about the id, as a SocketStatus."""
        cdef Connection connection = self.live()
        if connection is not None:
            return SocketStatus.OPEN if connection.state == STATE_OPEN else SocketStatus.CLOSED
        if self.is_orphan():
            return SocketStatus.CLOSED
        if elsewhere is not None:
            return elsewhere.status(self.id)
        return sequence.status(self.id)

    def is_dead(self):
        """True when nothing can be sent any more: looks at the live socket, for any id.

        Of a socket of another worker only that one knows; as long as it runs, this says False.
        """
        cdef Connection connection = self.live()
        if connection is None:
            return self.status is not SocketStatus.ELSEWHERE
        return connection.state != STATE_OPEN

    @property
    def buffered_amount(self):
        """Bytes sent that the kernel has not taken yet."""
        cdef Connection connection = self.live()
        return 0 if connection is None else connection.buffered_amount

    @property
    def close_info(self):
        """How the socket ended, as a CloseInfo; None while it is open or when it is unknown."""
        cdef Connection connection = self.live()
        if connection is None:
            return (<Orphan> self.other).close_info if self.is_orphan() else None
        return connection.close_info

    @property
    def group(self):
        """The Group the socket was upgraded into, or None when it is unknown."""
        cdef Connection connection = self.live()
        if connection is None:
            return (<Orphan> self.other).group if self.is_orphan() else None
        return connection.group.owner

    @property
    def request(self):
        """The Request that was upgraded."""
        cdef Connection connection = self.live()
        return None if connection is None else connection.request

    @property
    def subprotocol(self):
        """The subprotocol that was agreed on, or None."""
        cdef Connection connection = self.live()
        return None if connection is None else connection.subprotocol

    @property
    def session(self):
        """The session attached at the upgrade, or None."""
        cdef Connection connection = self.live()
        return None if connection is None else connection.session

    @property
    def handler(self):
        """The WebSocketHandler given to `Request.accept`, or None."""
        cdef Connection connection = self.live()
        return None if connection is None else connection.handler

    @property
    def data(self):
        """Any object of the application's."""
        cdef Connection connection = self.live()
        return None if connection is None else connection.data

    @data.setter
    def data(self, value):
        cdef Connection connection = self.live()
        if connection is not None:
            connection.data = value

    # --- rooms ------------------------------------------------------------------------------

    def join(self, name):
        """Become a member of the room of that name, from any thread.

        Returns:
            bool: False when the socket is not open.
        """
        cdef Connection connection = self.live()
        return connection is not None and connection.group.owner.rooms.room(name).add(self)

    def leave(self, name):
        """Leave the room of that name, if the socket is in it. From any thread."""
        cdef Connection connection = self.live()
        if connection is not None:
            connection.group.owner.rooms.room(name).discard(self)

    @property
    def rooms(self):
        """The names of the rooms the socket is in, as a frozenset."""
        cdef Connection connection = self.live()
        cdef Members members
        if connection is None or connection.sets is None:
            return frozenset()
        names = []
        for members in tuple(connection.sets):
            owner = members.keeper
            if isinstance(owner, Room):
                names.append(owner.name)
        return frozenset(names)

    # --- verbs ------------------------------------------------------------------------------

    def send(self, data, is_text=None, int flags=0, key=None):
        """Send one message. Never blocks a loop; never raises for a peer that is gone.

        A thread without a loop that is 65,536 messages ahead waits for the socket's loop, for a
        second at most; then, as in a thread with a loop at once, the message is dropped. In a group
        with `slow_consumer="wait"` it waits in addition until the peer has read or is gone.

        Args:
            data: str goes as text, bytes-like as binary; it is copied unless it is immutable.
            is_text: overrides either way; bytes sent as text must be UTF-8.
            flags: what to do with the connection afterwards, as ConnectionFlags.
            key: a str, int or bytes. With `slow_consumer="conflate"` the message takes the place of
                the one with the same key that waits for the peer, if there is one.

        Returns:
            SendResult: from another thread `OK` means that the message is on its way; `QUEUED`
            means that it is on its way to the worker that has the socket.
        """
        cdef Connection connection = self.connection
        cdef Payload payload
        cdef const char* text
        cdef Py_ssize_t size
        cdef int result
        if connection is None:
            connection = self.live()
        if (
            is_text is None and flags == 0 and key is None and connection is not None
            and is_here(connection.driver) and trace != TRACE_VERBOSE
        ):
            # The two usual kinds without any object in between.
            if PyBytes_CheckExact(data):
                return RESULTS[connection.send(
                    OP_BINARY, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), <PyObject*> data
                )]
            if type(data) is str:
                text = PyUnicode_AsUTF8AndSize(data, &size)
                return RESULTS[connection.send(OP_TEXT, text, size, <PyObject*> data)]
        payload = Payload()
        payload.fill(data, is_text)
        if connection is None:
            if elsewhere is None or self.key < 0:
                return RESULTS[RESULT_GONE]
            return elsewhere.send(
                self.key, is_binary(payload), bytes_of(payload), flags, checked_key(key)
            )
        if trace == TRACE_VERBOSE:
            connection.note(
                logging.DEBUG, "is sent %d bytes: %s", (payload.size, preview(data)), None
            )
        payload.key = checked_key(key)
        if not is_here(connection.driver):
            if connection.group.slow == SLOW_WAIT and running_loop() is None:
                waiting.wait_for_room(connection, connection.group.write_high_water)
            return RESULTS[deliver_from_afar(connection, payload, flags)]
        if key is None:
            result = connection.send(payload.opcode, payload.data, payload.size, payload.owner)
        else:
            result = send_with_key(connection, payload)
        follow(connection, flags)
        return RESULTS[result]

    def send_json(self, value, key=None):
        """Send `value` as JSON text (orjson); as `send`. Returns a SendResult."""
        return self.send(json_of(value), key=key)

    async def deliver(self, data, is_text=None, int flags=0, key=None):
        """Send one message as soon as no more than `write_high_water` bytes wait for the peer.

        For a stream of messages to a peer that may read slowly: nothing is dropped and nobody is
        cut off, whatever the group's `slow_consumer` says. Arguments and result as of `send`.
        """
        cdef Connection connection = self.live()
        if connection is not None:
            await waiting.room(connection, connection.group.write_high_water)
        elif elsewhere is not None and self.key >= 0:
            payload = Payload()
            fill(payload, data, is_text)
            return await elsewhere.deliver(
                self.key, is_binary(payload), bytes_of(payload), flags, checked_key(key)
            )
        return self.send(data, is_text, flags, key)

    @property
    def dropped(self):
        """How many messages to this socket its group's `slow_consumer` has dropped."""
        cdef Connection connection = self.live()
        return 0 if connection is None else connection.dropped

    def disconnect(self, message=None, code=CloseCode.NORMAL):
        """Begin the close handshake; what was sent before goes out first. From any thread.

        Args:
            message: the close reason; cut at 123 bytes, on a character boundary.
            code: 1000-1003, 1007-1014 or 3000-4999.

        Raises:
            ValueError: for a code that may not be sent (RFC 6455 section 7.4).
        """
        cdef Connection connection = self.live()
        payload = close_payload(int(code), message)
        if connection is not None:
            connection.run_in_loop(partial(connection.shut, payload))
        elif elsewhere is not None and self.key >= 0:
            elsewhere.disconnect(self.key, payload)

    async def drain(self):
        """Wait until everything sent so far is with the kernel, or the socket is gone.

        For a socket of another worker: until everything is on its way to that one.
        """
        if self.live() is None and elsewhere is not None:
            await elsewhere.drain()
        await waiting.drain(self.live())

    async def ping(self, timeout=None):
        """Send a ping and return the seconds until its pong.

        Raises:
            SocketGoneError: when the socket closes first.
            TimeoutError: when `timeout` seconds pass first.
        """
        return await waiting.ping(None if self.is_dead() else self.live(), timeout)


cdef object fill(Payload payload, data, is_text):
    payload.fill(data, is_text)


cdef bytes bytes_of(Payload payload):
    return payload.data[:payload.size]


cdef bint is_binary(Payload payload):
    return payload.opcode == OP_BINARY


cdef object checked_key(key):
    """The key, of a type whose comparison runs no code of an application's."""
    if key is None or type(key) is str or type(key) is int or type(key) is bytes:
        return key
    raise TypeError(f"key takes a str, int or bytes, not {type(key).__name__}")


def message_of(data, is_text=None, key=None):
    """What `send` would make of its arguments: whether it is binary, its bytes, and the key."""
    cdef Payload payload = Payload()
    payload.fill(data, is_text)
    return is_binary(payload), bytes_of(payload), checked_key(key)


def json_of(value):
    """The text that `send_json` makes of a value."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


cdef Block* block_of(Payload payload) except NULL:
    """A frame with the payload's key."""
    cdef Block* block = block_frame(
        FIN | payload.opcode, payload.data, payload.size, payload.owner
    )
    if block == NULL:
        raise MemoryError
    if payload.key is not None:
        Py_INCREF(payload.key)
        block.key = <PyObject*> payload.key
    return block


cdef int send_with_key(Connection connection, Payload payload) except -1:
    cdef Block* block = block_of(payload)
    try:
        return connection.send_shared(block)
    finally:
        block_release(block)


cdef int deliver_from_afar(Connection connection, Payload payload, int flags) except -1:
    """Send from another thread than the loop's."""
    cdef Delivery delivery
    if connection.state != STATE_OPEN:
        return RESULT_GONE
    if not has_room(connection.driver):
        return RESULT_DROPPED
    delivery = Delivery()
    delivery.connection = connection
    delivery.flags = flags
    delivery.block = block_of(payload)
    connection.coming += block_size(delivery.block)
    connection.driver.post(delivery)
    return RESULT_OK


cpdef open_socket(Connection connection, int64_t id):
    """Return the WebSocket that the handlers of an upgraded connection get."""
    cdef WebSocket socket = WebSocket.__new__(WebSocket)
    socket.connection = connection
    socket.key = id
    return socket


def orphan_socket(int64_t id, close_info, group):
    """Return the WebSocket that a disconnect handler gets for the socket of a worker that is lost.

    Args:
        id: the socket's.
        close_info: how it is said to have ended.
        group: the Group that it was in.
    """
    cdef WebSocket socket = WebSocket.__new__(WebSocket)
    cdef Orphan orphan = Orphan.__new__(Orphan)
    orphan.close_info = close_info
    orphan.group = group
    socket.key = id
    socket.other = orphan
    return socket


# --- which of many are open -------------------------------------------------------------------

def sort_out(ids):
    """Return which of these sockets are open in this process, and the others by their workers.

    Args:
        ids: an iterable of ids or WebSockets; what is no id is in neither.

    Returns:
        tuple[set[int], dict[int, list[int]]]: the others by address, those of this worker too
        that it has not.
    """
    cdef int64_t key
    cdef PyObject* found
    cdef set here = set()
    cdef dict others = {}
    for each in ids:
        number = each if type(each) is int else _as_id(each)
        if not 0 <= number <= MAX_ID:
            continue
        key = number
        found = registry_find(key)
        if found == NULL:
            others.setdefault(key >> SEQUENCE_BITS, []).append(number)
        elif (<Connection> found).state == STATE_OPEN:
            here.add(number)
    return here, others


def _as_id(socket):
    if hasattr(socket, "__index__"):
        return socket.__index__()
    raise TypeError(f"expected a WebSocket or an id, not {type(socket).__name__}")


def open_bits(ids):
    """Return one bit for each id, the first in the lowest bit of the first byte: is it open here?

    Args:
        ids: int64 numbers, any.
    """
    cdef Py_ssize_t i = 0
    cdef int64_t key
    cdef PyObject* found
    cdef bytearray bits = bytearray((len(ids) + 7) // 8)
    for key in ids:
        found = registry_find(key)
        if found != NULL and (<Connection> found).state == STATE_OPEN:
            bits[i >> 3] |= 1 << (i & 7)
        i += 1
    return bytes(bits)


# --- sets -----------------------------------------------------------------------------------

cdef uint32_t last_mark = 0


cdef uint32_t mark_excluded(excluded) except? 0:
    """Mark the sockets that a walk is to leave out; returns the mark, 0 when there are none."""
    global last_mark
    cdef PyObject* found
    if not excluded:
        return 0
    last_mark = last_mark + 1 if last_mark < 0xFFFFFFFF else 1
    for id in excluded:
        found = registry_find(id)
        if found != NULL:
            (<Connection> found).mark = last_mark
    return last_mark


def ids_of(excluded):
    """The valid ids named by a socket, an id, a set of sockets, or an iterable of these."""
    if isinstance(excluded, SocketSet):
        return excluded.ids()
    if hasattr(excluded, "__index__"):
        id = excluded.__index__()
        return [id] if 0 <= id <= MAX_ID else []
    if isinstance(excluded, (str, bytes)):
        raise TypeError(f"exclude takes sockets, ids and sets, not {type(excluded).__name__}")
    return [id for part in excluded for id in ids_of(part)]


cdef class SocketSet:
    """A set of live sockets that sends to all of them. Closed sockets leave it by themselves.

    Every method may be called from any thread.

    Args:
        sockets: WebSockets or ids to begin with.

    Attributes:
        members: what the connections are kept in; not for applications.
    """

    def __init__(self, sockets=(), *, Members members=None):
        self.is_own = members is None
        self.members = Members() if members is None else members
        for socket in sockets:
            self.add(socket)

    def __del__(self):
        """A set that nobody has any more is left by its sockets."""
        if self.is_own:
            while self.members.count:
                (<Connection> self.members.items[self.members.count - 1]).leave(self.members)

    def __len__(self):
        return self.members.count

    def __contains__(self, socket):
        cdef Connection connection = as_connection(socket)
        return connection is not None and self.members.has(<PyObject*> connection)

    def __iter__(self):
        """Iterate over the sockets that are members now."""
        cdef uint32_t i
        return iter([
            (<Connection> self.members.items[i]).socket for i in range(self.members.count)
        ])

    def __repr__(self):
        return f"<{type(self).__name__} of {len(self)} sockets>"

    def ids(self):
        """Return the ids of the members as a list of int."""
        cdef uint32_t i
        return [(<Connection> self.members.items[i]).id for i in range(self.members.count)]

    def add(self, socket):
        """Take in a socket, given as WebSocket or id; False when it is not open."""
        cdef Connection connection = as_connection(socket)
        if connection is None or connection.state != STATE_OPEN:
            return False
        connection.join(self.members)
        return True

    def discard(self, socket):
        """Let go of a socket, given as WebSocket or id, if it is a member."""
        cdef Connection connection = as_connection(socket)
        if connection is not None:
            connection.leave(self.members)

    def remove(self, socket):
        """Let go of a member, given as WebSocket or id; KeyError when it is none."""
        if socket not in self:
            raise KeyError(socket)
        self.discard(socket)

    def clear(self):
        """Let go of all members."""
        for socket in self:
            self.discard(socket)

    def send(self, data, exclude=(), is_text=None, key=None):
        """Send one message to every member; it is encoded once.

        Args:
            data: str goes as text, bytes-like as binary.
            exclude: leaves out a socket, an id, a SocketSet, or an iterable of these.
            is_text: overrides the kind of frame.
            key: as of `WebSocket.send`.

        Returns:
            int: how many sockets of this process the message is on its way to. Other workers are
            sent it, too, when the set is a group or a room that has members there.
        """
        cdef Payload payload = Payload()
        payload.fill(data, is_text)
        payload.key = checked_key(key)
        excluded = ids_of(exclude) if exclude is not () else ()
        if elsewhere is not None and self.members.channel is not None:
            elsewhere.publish(
                self.members.channel, is_binary(payload), bytes_of(payload), excluded, payload.key
            )
        return send_here(self, payload, data, excluded)

    def take(self, bytes data not None, bint is_binary, excluded, key):
        """Send to the members here what another worker has sent to the set; as `send`."""
        cdef Payload payload = Payload()
        payload.fill(data, not is_binary)
        payload.key = checked_key(key)
        return send_here(self, payload, data, excluded)

    async def count(self, *, strict=False):
        """Return how many members the set has in all workers together; `len` is those here.

        A set of your own has members in this process only.

        Args:
            strict: raise when a worker has not answered within two seconds; otherwise it is left
                out, and the log says so.

        Raises:
            TimeoutError: with `strict`.
        """
        if elsewhere is None or self.members.channel is None:
            return self.members.count
        return await elsewhere.census.count(self, strict)

    async def all_ids(self, *, strict=False):
        """Return the ids of the members in all workers as a list of int; `ids()` is those here.

        Arguments and exceptions as of `count`.
        """
        if elsewhere is None or self.members.channel is None:
            return self.ids()
        return await elsewhere.census.ids(self, strict)

    cdef int send_block(self, Block* block, excluded) except -1:
        cdef Connection connection
        cdef Driver driver, here = self.driver_here()
        cdef list others = []
        cdef dict away = {}
        cdef int reached = self.send_quickly(block, excluded, here, others)
        for connection in others:
            if connection.driver is here:
                reached += connection.send_shared(block) < RESULT_DROPPED
            else:
                away.setdefault(connection.driver, []).append(connection)
        for driver, others in away.items():
            reached += self.post_broadcast(driver, block, others)
        return reached

    cdef int send_quickly(self, Block* block, excluded, Driver here, list others) except -1:
        """Queue a frame for the members that have room, and note the others who are to get it.

        Neither another thread nor any Python code runs meanwhile: all who are members now are sent
        to or noted, each once, and nobody else marks whom to leave out.
        """
        cdef uint32_t i, mark = mark_excluded(excluded)
        cdef Py_ssize_t before, size = block_size(block)
        cdef Connection connection
        cdef int reached = 0
        cdef bint soon = here is None or here.soon
        if here is not None:
            here.soon = True  # the loop is called when this is done
        try:
            for i in range(self.members.count):
                connection = <Connection> self.members.items[i]
                if mark and connection.mark == mark:
                    continue
                before = unsent(connection)
                if (
                    connection.driver is here and connection.state == STATE_OPEN
                    and connection.deflate is None and connection.tally is None
                    and before + size <= connection.group.write_high_water
                ):
                    connection.take_shared(block, before)
                    reached += 1
                else:
                    others.append(connection)
        finally:
            if here is not None:
                here.soon = soon
                if here.dirty and not here.in_turn:
                    here.schedule()
        return reached

    cdef Driver driver_here(self):
        """Return the driver of this thread that serves members, or None."""
        cdef uint32_t i
        for i in range(self.members.count):
            if is_here((<Connection> self.members.items[i]).driver):
                return (<Connection> self.members.items[i]).driver
        return None

    cdef int post_broadcast(self, Driver driver, Block* block, list connections) except -1:
        """Have another loop send to those that it serves; returns how many that will be."""
        cdef Broadcast broadcast = Broadcast()
        if not has_room(driver):
            return 0
        broadcast.connections = connections
        block.references += 1
        broadcast.block = block
        driver.post(broadcast)
        return len(connections)

    def send_json(self, value, exclude=(), key=None):
        """Send `value` as JSON text to every member; encoded once. Returns how many."""
        return self.send(json_of(value), exclude, key=key)

    def send_to_all(self, data):
        """Send one message to every member. Returns how many."""
        return self.send(data)

    def send_to_all_except_one(self, data, socket):
        """Send one message to every member but `socket`, a WebSocket or an id. Returns how many."""
        return self.send(data, exclude=(socket,))

    def close(self, code=CloseCode.NORMAL, reason=None):
        """Begin the close handshake with every member.

        Raises:
            ValueError: for a code that may not be sent.
        """
        payload = close_payload(int(code), reason)
        if elsewhere is not None and self.members.channel is not None:
            elsewhere.close(self.members.channel, payload)
        for socket in self:
            socket.disconnect(reason, code)


cdef int send_here(SocketSet self, Payload payload, data, excluded) except -1:
    """Send a message to the members in this process; returns how many."""
    cdef Block* block
    cdef int reached
    if self.members.count == 0:
        return 0
    block = block_of(payload)
    try:
        reached = self.send_block(block, excluded)
    finally:
        block_release(block)
    if trace == TRACE_VERBOSE:
        logger.debug("%r: %d are sent %d bytes: %s", self, reached, payload.size, preview(data))
    return reached


cdef class Room(SocketSet):
    """A set of sockets with a name that they join and leave at run time.

    `Handle.room(name)` and `WebSocket.join(name)` make it; it lives as long as it has members or
    somebody refers to it. The verbs are a group's, from any thread.

    Attributes:
        name: what it is called within its Handle.
    """

    cdef readonly object name
    cdef object __weakref__

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.members.owner = <PyObject*> self

    def __dealloc__(self):
        if self.members is not None:
            self.members.owner = NULL

    def __repr__(self):
        return f"<Room {self.name!r} of {len(self)} sockets>"


cdef Connection as_connection(socket):
    """The connection of a WebSocket or an id, or None."""
    if isinstance(socket, WebSocket):
        return (<WebSocket> socket).live()
    if hasattr(socket, "__index__"):
        return (<WebSocket> WebSocket(socket)).live()
    raise TypeError(f"expected a WebSocket or an id, not {type(socket).__name__}")
