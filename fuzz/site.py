"""A small application served from memory, and all that one connection to it brings about."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from wsgroups import Handle, HandlerStatus, Request, Response, WebSocket
from wsgroups.connection.connection import Connection
from wsgroups.connection.head import RequestHead
from wsgroups.connection.http import HttpLimits, HttpPhase
from wsgroups.drivers.memory import MemoryDriver
from wsgroups.policy import ServerConfig
from wsgroups.surface.endpoint import Endpoint

MARK = {"X-Handler": "yes"}  # on every answer that a handler gave
PATIENCE = 13.0  # seconds: whatever waits for the client has given up by then
RENEWAL = 256  # connections of one driver, which remembers them all

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it was understood; names in lower case, in their order."""

    method: str
    target: str
    headers: tuple[Header, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; without its Date, which is not compared."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def get(self, name: str) -> list[str]:
        """Return the values of a header, its name given in lower case."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def is_marked(self) -> bool:
        """True when a handler gave it."""
        return bool(self.get("x-handler"))


@dataclass(slots=True)
class Outcome:
    """What a stream came to.

    Attributes:
        seen: the requests that came to the endpoint.
        answers: what the client got, up to the 101.
        broken: what of it cannot be read as responses, and why.
        calls: of handlers of requests.
        messages: that came to the handler of the socket.
        codes: with which sockets closed.
        has_fin: the server has ended its side before the client's silence made it.
        is_closed: nothing of the connection is left after that.
    """

    seen: list[Seen] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    broken: str = ""
    calls: int = 0
    messages: list[str | bytes] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    has_fin: bool = False
    is_closed: bool = False

    @property
    def is_upgraded(self) -> bool:
        """True when it ended with a 101."""
        return bool(self.answers) and self.answers[-1].status == 101


class _Log(logging.Handler):
    """Keeps what must not be logged, whatever a client sends."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


class Site:
    """`/ws` upgrades, `/page` answers GET, `/form` answers POST."""

    def __init__(self) -> None:
        self.log = _Log()
        self._handle = Handle()
        self._handle.get("/ws")(self._upgrade)
        self._handle.get("/page")(self._page)
        self._handle.post("/form")(self._form)
        self._handle.websocket("fuzz")(self._message)
        self._handle.websocket_disconnect("fuzz")(self._closed)
        config = ServerConfig()
        self._limits = HttpLimits(
            max_header_line=config.max_header_line,
            max_head_size=config.max_head_size,
            max_body_size=config.max_body_size,
            max_headers=config.max_headers,
            handshake_timeout=config.handshake_timeout,
            keep_alive_timeout=config.keep_alive_timeout,
        )
        self._endpoint = self._handle.endpoint("http", 80)
        self._outcome = Outcome()
        self._is_upgraded = False
        self._count = 0

    def __enter__(self) -> Site:
        """Begin to look at the log."""
        logging.getLogger("wsgroups").addHandler(self.log)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("wsgroups").removeHandler(self.log)

    # --- the application --------------------------------------------------------------------

    def _upgrade(self, request: Request) -> object:
        self._outcome.calls += 1
        if not request.websocket_upgrade:
            return Response(status=426, headers={**MARK, "Upgrade": "websocket"})
        request.send_upgrade("fuzz", headers=MARK)
        self._is_upgraded = True
        return HandlerStatus.HANDLED

    def _page(self, request: Request) -> object:
        self._outcome.calls += 1
        return Response("page", headers=MARK)

    def _form(self, request: Request) -> object:
        self._outcome.calls += 1
        return Response(f"{len(request.body())} bytes", headers=MARK)

    def _message(self, message: str | bytes, ws: WebSocket) -> None:
        self._outcome.messages.append(message)

    def _closed(self, ws: WebSocket) -> None:
        self._outcome.codes.append(ws.close_info.code)

    # --- one connection ---------------------------------------------------------------------

    def serve(self, parts: Iterable[bytes], *, ends: bool) -> Outcome:
        """Let the parts of a stream arrive one by one, then FIN or silence."""
        if self._count % RENEWAL == 0:
            self._driver = MemoryDriver()
        self._count += 1
        self._is_upgraded = False
        outcome = self._outcome = Outcome()
        driver, endpoint = self._driver, _Recorder(self._endpoint, outcome.seen)
        connection = driver.connect(lambda it: _begin(it, endpoint, self._limits))
        for part in parts:
            driver.run()
            if driver.is_closed(connection) or not driver.is_reading(connection):
                break
            driver.feed(connection, part)
        driver.run()
        if ends and not driver.is_closed(connection):
            driver.end_input(connection)
            driver.run()
        outcome.has_fin = driver.has_sent_fin(connection)
        sent = driver.take(connection)
        if not self._is_upgraded:
            driver.advance(PATIENCE)
            driver.run()
            sent += driver.take(connection)
        outcome.is_closed = driver.is_closed(connection)
        if not outcome.is_closed:
            driver.reset(connection)
            driver.run()
        _read_answers(sent, outcome)
        return outcome


def _begin(connection: Connection, endpoint: _Recorder, limits: HttpLimits) -> None:
    HttpPhase(connection, endpoint, limits, None)


class _Recorder:
    """Stands before the endpoint and notes what comes to it."""

    def __init__(self, endpoint: Endpoint, seen: list[Seen]) -> None:
        self._endpoint = endpoint
        self._seen = seen

    @property
    def is_closing(self) -> bool:
        return False

    def handle(self, phase: HttpPhase, head: RequestHead) -> None:
        headers = tuple((name, value) for name in head.headers for value in head.headers[name])
        self._seen.append(Seen(head.method, head.target, headers, head.body))
        self._endpoint.handle(phase, head)


# --- responses ------------------------------------------------------------------------------

_STATUS = re.compile(r"HTTP/1\.1 (\d{3}) [\x20-\x7e]*\Z")
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)\Z")


def _read_answers(sent: bytes, outcome: Outcome) -> None:
    """Read responses as strictly as one can; nothing stands behind the last one."""
    methods = [seen.method for seen in outcome.seen]
    while sent:
        head, end, rest = sent.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        status = _STATUS.match(line)
        headers = [_HEADER.match(line) for line in lines]
        if not end or status is None or None in headers:
            outcome.broken = f"no response: {sent[:200]!r}"
            return
        pairs = [(found[1], found[2]) for found in headers if found is not None]
        answer = Answer(int(status[1]), tuple(p for p in pairs if p[0] != "Date"), b"")
        if answer.status == 100 and not pairs:
            sent = rest
            continue
        has_body = answer.status not in (101, 204, 304)
        if has_body and methods[len(outcome.answers) :][:1] != ["HEAD"]:
            lengths = answer.get("content-length")
            if len(lengths) != 1 or not lengths[0].isdecimal() or len(rest) < int(lengths[0]):
                outcome.broken = f"no body for {lengths}: {sent[:200]!r}"
                return
            body, rest = rest[: int(lengths[0])], rest[int(lengths[0]) :]
            answer = Answer(answer.status, answer.headers, body)
        outcome.answers.append(answer)
        if answer.status == 101:
            return  # frames follow, which the other fuzzer looks at
        sent = rest
