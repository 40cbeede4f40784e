"""The HTTP side: routes, requests, what handlers return, and requests that are not in order."""

import asyncio
import logging
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest

from tests.support import (
    ACCEPT,
    KEY,
    TEXT,
    Gate,
    ask,
    frame,
    handshake,
    request,
    soon,
    turns,
    wire,
)
from wsgroups import (
    AlreadyAnsweredError,
    DuplicateHandlerError,
    Handle,
    HandlerSignatureError,
    HandlerStatus,
    HTTPError,
    Request,
    Response,
    UpgradeRequiredError,
    WebSocket,
    serve,
)

# --- routes ---------------------------------------------------------------------------------


async def test_each_method_has_its_own_route() -> None:
    handle = Handle()
    for method in ("get", "post", "put", "patch", "delete"):
        register = getattr(handle, method)("/thing")
        register(lambda request, name=method: f"{name} {request.method}")
    async with serve(handle, port=0) as server:
        for method in ("get", "post", "put", "patch", "delete"):
            answer = await ask(server, request("/thing", method=method.upper()))
            assert answer.body.decode() == f"{method} {method.upper()}"


@pytest.mark.parametrize("id", [0, -1, 2**63 - 1, 10**39])
async def test_a_number_in_a_path_has_room_for_every_id(id: int) -> None:
    handle = Handle()
    handle.get("/send/{id:int}")(lambda request, id: repr(id))
    async with serve(handle, port=0) as server:
        assert (await ask(server, request(f"/send/{id}"))).body.decode() == repr(id)


async def test_methods_of_a_path_may_be_registered_apart() -> None:
    """By other names of its parameter, and for one port."""
    handle = Handle()
    handle.get("/items/{id}")(lambda request, id: f"got {id}")
    handle.post("/items/{item}")(lambda request, item: f"posted {item}")
    async with serve(handle, port=0) as server, serve(handle, port=0) as other:
        handle.get("/items/{id}", port=server.port)(lambda request, id: f"got {id} here")
        handle.put("/items", port=server.port)(lambda request: "put")
        handle.get("/items")(lambda request: "all")
        for path, method, at, body in (
            ("/items/7", "GET", other, b"got 7"),
            ("/items/7", "GET", server, b"got 7 here"),
            ("/items/7", "POST", server, b"posted 7"),
            ("/items", "GET", server, b"all"),
            ("/items", "PUT", server, b"put"),
        ):
            assert (await ask(at, request(path, method=method))).body == body
        answer = await ask(server, request("/items/7", method="DELETE"))
        assert (answer.status, answer.get("Allow")) == (405, "GET, POST")
        answer = await ask(server, request("/items", method="DELETE"))
        assert (answer.status, answer.get("Allow")) == (405, "GET, PUT")
        assert (await ask(other, request("/items", method="PUT"))).status == 405


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE"])
async def test_a_method_without_a_route_gets_405_and_what_is_allowed(method: str) -> None:
    handle = Handle()
    handle.get("/thing")(lambda request: "got")
    handle.post("/thing")(lambda request: "posted")
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.send(request("/thing", method=method))
        answer = await connection.answer(with_body=method != "HEAD")
        assert (answer.status, answer.get("Allow")) == (405, "GET, POST")
        assert (await connection.ask(request("/thing"))).body == b"got"


async def test_a_path_without_a_route_gets_404() -> None:
    async with serve(Handle(), port=0) as server:
        assert (await ask(server, request("/nowhere"))).status == 404


async def test_path_parameters_come_by_name_and_percent_decoded() -> None:
    handle = Handle()

    @handle.get("/rooms/{room}/seats/{seat:int}")
    def seat(request: Request, seat: int, room: str) -> dict[str, Any]:
        assert request.path_params == {"room": room, "seat": seat}
        return {"room": room, "seat": seat}

    async with serve(handle, port=0) as server:
        answer = await ask(server, request("/rooms/J%C3%BCrgen%2F1/seats/42"))
        assert answer.body.decode() == '{"room":"Jürgen/1","seat":42}'


@pytest.mark.parametrize("path", ["/items/x", "/items/", "/items/1/2", "/items/1x", "/items/٣"])
async def test_an_int_parameter_takes_only_digits(path: str) -> None:
    handle = Handle()
    handle.get("/items/{number:int}")(lambda request, number: str(number))
    target = path if path.isascii() else "/items/%D9%A3"
    async with serve(handle, port=0) as server:
        assert (await ask(server, request(target))).status == 404
        assert (await ask(server, request("/items/-17"))).body == b"-17"


async def test_an_exact_path_goes_before_a_pattern() -> None:
    handle = Handle()
    handle.get("/users/{name}")(lambda request, name: name)
    handle.get("/users/me")(lambda request: "myself")
    async with serve(handle, port=0) as server:
        assert (await ask(server, request("/users/me"))).body == b"myself"
        assert (await ask(server, request("/users/you"))).body == b"you"


async def test_a_route_can_be_bound_to_one_port() -> None:
    handle = Handle()
    async with serve(handle, port=0) as inside, serve(handle, port=0) as outside:
        handle.get("/admin", port=inside.port)(lambda request: "secret")
        assert (await ask(inside, request("/admin"))).body == b"secret"
        assert (await ask(outside, request("/admin"))).status == 404


def test_a_route_that_is_taken_is_refused() -> None:
    handle = Handle()
    handle.get("/a")(lambda request: "one")
    handle.post("/a")(lambda request: "another method")
    with pytest.raises(DuplicateHandlerError, match="GET /a is handled by"):
        handle.get("/a")(lambda request: "two")


@pytest.mark.parametrize("path", ["no-slash", "/{a}/{a}", "/{a:float}", "/{}", "/{a", "/a}"])
def test_a_malformed_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Handle().get(path)(lambda request, a: "")


def test_a_handler_that_cannot_take_its_parameters_is_refused() -> None:
    with pytest.raises(HandlerSignatureError, match=r"must take \(request, name\)"):
        Handle().get("/{name}")(lambda request: "")


# --- the request ----------------------------------------------------------------------------


async def test_a_request_tells_what_was_asked() -> None:
    handle = Handle()
    seen: list[Request] = []

    @handle.get("/a b")
    def never(request: Request) -> None:
        raise AssertionError

    @handle.get("/a%20b")
    def look(request: Request) -> str:
        seen.append(request)
        assert request.method == "GET"
        assert request.uri == "/a%20b?x=1&x=2&y=%26&z="
        assert request.path == "/a b"
        assert request.query.getall("x") == ["1", "2"]
        assert request.query["y"] == "&"
        assert request.query["z"] == ""
        assert request.headers["HOST"] == request.headers["host"] == "test"
        assert request.headers.getall("x-many") == ["one", "two, three", "\xe9"]
        assert request.cookies == {"a": "1", "b": "two words", "c": ""}
        assert request.scheme == "http"
        assert request.client is not None
        assert request.client[0] == "127.0.0.1"
        assert request.client[1] > 1023
        assert request.body() == b""
        assert request.websocket_upgrade is False
        assert request.subprotocols == ("chat.v2", "chat")
        return "seen"

    lines = [
        "X-Many: one",
        "x-many:\ttwo, three ",
        "X-MANY: \xe9",
        'Cookie: a=1; b="two words"',
        "Cookie: c=; broken",
        "Sec-WebSocket-Protocol: chat.v2, chat",
    ]
    async with serve(handle, port=0) as server:
        answer = await ask(server, request("/a%20b?x=1&x=2&y=%26&z=", *lines))
        assert answer.body == b"seen"
    assert len(seen) == 1


async def test_a_request_can_still_be_read_when_its_socket_has_closed() -> None:
    handle = Handle()
    gate = Gate(handle)
    gone: asyncio.Queue[WebSocket] = asyncio.Queue()
    handle.websocket_disconnect("room")(gone.put_nowait)
    async with serve(handle, port=0) as server:
        async with wire(server) as connection:
            await connection.upgrade("/ws?who=me", "Cookie: a=b")
            port = connection.sock.getsockname()[1]
            await gate.next()
        ws = await soon(gone.get())
        assert ws.request.query["who"] == "me"
        assert ws.request.cookies == {"a": "b"}
        assert ws.request.client == ("127.0.0.1", port)


async def test_body_is_there_at_once_and_awaited() -> None:
    handle = Handle()

    @handle.post("/now")
    def now(request: Request) -> bytes:
        return request.body()

    @handle.post("/later")
    async def later(request: Request) -> bytes:
        return await request.body()

    async with serve(handle, port=0) as server, wire(server) as connection:
        for path in ("/now", "/later"):
            body = path.encode() * 1000
            lines = (f"Content-Length: {len(body)}",)
            answer = await connection.ask(request(path, *lines, method="POST", body=body))
            assert answer.body == body


CHUNKED = b"4;ext=1\r\nwiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
async def test_a_chunked_body_is_put_together(step: int) -> None:
    handle = Handle()
    handle.post("/")(lambda request: request.body())
    data = request("/", "Transfer-Encoding: chunked", method="POST", body=CHUNKED)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.send_in_parts(_steps(data, step))
        assert (await connection.answer()).body == b"wikipedia in \r\n\r\nchunks."


@pytest.mark.parametrize(
    "body", [b"x\r\n", b"-1\r\n", b"4\r\nwikipedia\r\n", b"4\nwiki\n0\n\n", b"0x4\r\nwiki\r\n"]
)
async def test_a_malformed_chunk_gets_400(body: bytes) -> None:
    handle = Handle()
    handle.post("/")(lambda request: request.body())
    async with serve(handle, port=0) as server:
        data = request("/", "Transfer-Encoding: chunked", method="POST", body=body)
        assert (await ask(server, data)).status == 400


async def test_expect_is_answered_before_the_body_and_not_for_an_empty_one() -> None:
    handle = Handle()
    handle.post("/")(lambda request: request.body())
    expect = "Expect: 100-continue"
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.send(request("/", expect, "Content-Length: 4", method="POST"))
        assert await connection.read_to(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await connection.ask(b"body")).body == b"body"
        answer = await connection.ask(request("/", expect, "Content-Length: 0", method="POST"))
        assert answer.status == 200


# --- what handlers return -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "status", "content_type", "body"),
    [
        (Response("x", 201, headers={"X-A": "b"}), 201, "text/plain; charset=utf-8", b"x"),
        (Response({"a": 1}, content_type="application/problem+json"), 200,
         "application/problem+json", b'{"a":1}'),
        ("grüße", 200, "text/plain; charset=utf-8", "grüße".encode()),
        (b"\x00\xff", 200, "application/octet-stream", b"\x00\xff"),
        (204, 204, None, b""),
        (418, 418, "text/plain; charset=utf-8", b"I'm a Teapot"),
        ({"a": [1, None]}, 200, "application/json", b'{"a":[1,null]}'),
        ([], 200, "application/json", b"[]"),
        ("", 200, None, b""),
        (None, 404, "text/plain; charset=utf-8", b"Not Found"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_is_returned_becomes_the_response(
    value: Any, status: int, content_type: str | None, body: bytes, is_async: bool
) -> None:
    handle = Handle()

    async def later(request: Request) -> Any:
        await turns()
        return value

    handle.get("/")(later if is_async else lambda request: value)
    async with serve(handle, port=0) as server:
        answer = await ask(server, request("/"))
        assert (answer.status, answer.body) == (status, body)
        assert answer.get("Content-Type") == content_type


async def test_a_response_keeps_its_reason_and_repeated_headers() -> None:
    handle = Handle()
    headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    handle.get("/")(lambda request: Response("", 299, "Quite Fine", headers))
    async with serve(handle, port=0) as server:
        answer = await ask(server, request("/"))
        assert (answer.status, answer.reason) == (299, "Quite Fine")
        assert answer.all("set-cookie") == ["a=1", "b=2"]
        assert answer.get("Date") is not None


@pytest.mark.parametrize("value", [True, 1.5, object(), 99, 600])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_value_that_is_no_response_gets_500(
    value: object, is_async: bool, error_log: list[logging.LogRecord]
) -> None:
    handle = Handle()

    async def later(request: Request) -> Any:
        return value

    handle.get("/")(later if is_async else lambda request: value)
    async with serve(handle, port=0) as server:
        assert (await ask(server, request("/"))).status == 500
    assert len(error_log) == 1


async def test_handled_without_an_answer_gets_500(error_log: list[logging.LogRecord]) -> None:
    handle = Handle()
    handle.get("/")(lambda request: HandlerStatus.HANDLED)
    async with serve(handle, port=0) as server:
        assert (await ask(server, request("/"))).status == 500
    assert "has no answer" in error_log[0].getMessage()


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_exception_gets_500_without_internals(
    is_async: bool, error_log: list[logging.LogRecord]
) -> None:
    handle = Handle()

    def fail(request: Request) -> None:
        raise RuntimeError("the password is swordfish")

    async def fail_later(request: Request) -> None:
        await turns()
        fail(request)

    handle.get("/")(fail_later if is_async else fail)
    handle.get("/fine")(lambda request: "fine")
    async with serve(handle, port=0) as server, wire(server) as connection:
        answer = await connection.ask(request("/"))
        assert (answer.status, answer.body) == (500, b"Internal Server Error")
        assert (await connection.ask(request("/fine"))).body == b"fine"
    (record,) = error_log
    assert record.exc_info is not None
    assert "swordfish" in str(record.exc_info[1])


async def test_an_http_error_is_its_own_answer() -> None:
    handle = Handle()

    @handle.get("/")
    def refuse(request: Request) -> None:
        raise HTTPError(429, "Not so fast.", {"Retry-After": "7"})

    async with serve(handle, port=0) as server:
        answer = await ask(server, request("/"))
        assert (answer.status, answer.body, answer.get("Retry-After")) == (
            429,
            b"Not so fast.",
            "7",
        )


async def test_any_status_and_body_may_refuse_an_upgrade() -> None:
    handle = Handle()
    handle.get("/ws")(lambda request: Response({"why": "no"}, 401))
    async with serve(handle, port=0) as server, wire(server) as connection:
        answer = await connection.ask(handshake())
        assert (answer.status, answer.body) == (401, b'{"why":"no"}')
        assert answer.get("Connection") == "close"
        assert await connection.read_all() == b""


# --- connections ----------------------------------------------------------------------------


async def test_several_requests_share_a_connection() -> None:
    handle = Handle()
    handle.get("/{name}")(lambda request, name: name)
    async with serve(handle, port=0) as server, wire(server) as connection:
        for name in ("a", "b", "c"):
            answer = await connection.ask(request(f"/{name}"))
            assert answer.body.decode() == name
            assert answer.get("Connection") is None


async def test_pipelined_requests_are_answered_in_order() -> None:
    handle = Handle()
    running: list[str] = []

    @handle.get("/now/{name}")
    def now(request: Request, name: str) -> str:
        assert not running
        return name

    @handle.get("/later/{name}")
    async def later(request: Request, name: str) -> str:
        assert not running
        running.append(name)
        await turns()
        running.remove(name)
        return name

    paths = ["/later/1", "/now/2", "/now/3", "/later/4", "/later/5", "/now/6"]
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.send(b"".join(request(path) for path in paths))
        assert [(await connection.answer()).body.decode() for _ in paths] == list("123456")


async def test_a_client_may_ask_to_close() -> None:
    handle = Handle()
    handle.get("/")(lambda request: "bye")
    async with serve(handle, port=0) as server, wire(server) as connection:
        answer = await connection.ask(request("/", "Connection: close"))
        assert answer.get("Connection") == "close"
        assert await connection.read_all() == b""


async def test_http_1_0_is_answered_and_closed() -> None:
    handle = Handle()
    handle.get("/")(lambda request: "old")
    async with serve(handle, port=0) as server, wire(server) as connection:
        answer = await connection.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert answer.body == b"old"
        assert await connection.read_all() == b""


async def test_a_client_that_has_said_all_still_gets_its_answer() -> None:
    handle = Handle()
    gone_on = asyncio.Event()

    @handle.get("/")
    async def later(request: Request) -> str:
        await gone_on.wait()
        return "late"

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.send(request("/"))
        connection.send_fin()
        await turns()
        gone_on.set()
        assert (await connection.answer()).body == b"late"
        assert await connection.read_all() == b""


async def test_a_client_that_has_said_all_still_gets_the_whole_of_a_long_answer() -> None:
    handle = Handle()
    body = bytes(8 << 20)
    handle.get("/")(lambda request: body)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.send(request("/"))
        connection.send_fin()
        assert (await connection.answer()).body == body
        assert await connection.read_all() == b""


@pytest.mark.parametrize("line", ["Connection: close", "X: kept alive"])
async def test_a_client_may_end_its_side_while_a_long_answer_is_on_its_way(line: str) -> None:
    handle = Handle()
    body = bytes(16 << 20)
    handle.get("/")(lambda request: body)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.send(request("/", line))
        await connection.read_to(b"\r\n\r\n")
        connection.send_fin()
        await turns()
        assert await connection.read_all() == body


@pytest.mark.parametrize("line", ["Connection: close", "X: kept alive"])
async def test_a_slow_reader_gets_the_whole_of_an_answer(line: str) -> None:
    handle = Handle()
    body = bytes(16 << 20)
    handle.get("/")(lambda request: body)
    timeout = {"keep_alive_timeout": 0.5}
    async with serve(handle, port=0, **timeout) as server, wire(server) as connection:
        await connection.send(request("/", line))
        await connection.read_to(b"\r\n\r\n")
        for _ in range(16):
            await connection.read(1 << 20)
            await asyncio.sleep(0.1)  # the pace of the peer
        assert await connection.read_all() == b""


async def test_a_client_that_leaves_during_its_request_harms_nobody() -> None:
    handle = Handle()
    began, gone_on = asyncio.Event(), asyncio.Event()

    @handle.get("/")
    async def later(request: Request) -> str:
        began.set()
        await gone_on.wait()
        return "nobody reads this"

    async with serve(handle, port=0) as server:
        async with wire(server) as connection:
            await connection.send(request("/"))
            await soon(began.wait())
            connection.reset()
        await turns()
        gone_on.set()


async def test_an_upgrade_after_its_client_has_left_gives_a_dead_socket() -> None:
    handle = Handle()
    began, gone_on = asyncio.Event(), asyncio.Event()
    sockets: asyncio.Queue[WebSocket] = asyncio.Queue()

    @handle.get("/ws")
    async def later(request: Request) -> HandlerStatus:
        began.set()
        await gone_on.wait()
        sockets.put_nowait(request.send_upgrade("room"))
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server:
        async with wire(server) as connection:
            await connection.send(handshake())
            await soon(began.wait())
            connection.reset()
        await turns()
        gone_on.set()
        ws = await soon(sockets.get())
        assert ws.is_dead()


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    handle = Handle()
    handle.get("/")(lambda request: "x")
    timeout = {"keep_alive_timeout": 0.1}
    async with serve(handle, port=0, **timeout) as server, wire(server) as connection:
        await connection.ask(request("/"))
        assert await connection.read_all() == b""


async def test_a_connection_that_says_nothing_is_closed_at_the_handshake_timeout() -> None:
    timeout = {"handshake_timeout": 0.1}
    async with serve(Handle(), port=0, **timeout) as server, wire(server) as connection:
        assert await connection.read_all() == b""


@pytest.mark.parametrize(
    "begun", [b"G", request("/")[:-1], request("/", "Content-Length: 2", method="POST") + b"x"]
)
async def test_a_request_that_never_ends_gets_408(begun: bytes) -> None:
    timeout = {"handshake_timeout": 0.1}
    async with serve(Handle(), port=0, **timeout) as server, wire(server) as connection:
        answer = await connection.ask(begun)
        assert answer.status == 408
        assert await connection.read_all() == b""


async def test_bytes_do_not_put_the_handshake_timeout_off() -> None:
    loop = asyncio.get_running_loop()
    data = request("/", f"X: {'y' * 4000}")
    timeout = {"handshake_timeout": 0.3}
    async with serve(Handle(), port=0, **timeout) as server, wire(server) as connection:
        answer = asyncio.ensure_future(connection.answer())
        began = loop.time()
        for byte in data:
            await connection.send(bytes([byte]))
            await asyncio.wait({answer}, timeout=0.01)
            if answer.done():
                break
        assert (await answer).status == 408
        assert loop.time() - began < 3


# --- limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        request("/", "Content-Length: 101", method="POST"),
        request("/", "Content-Length: 101", method="POST", body=bytes(101)),
        request("/", "Transfer-Encoding: chunked", method="POST", body=b"65\r\n" + bytes(101)),
        request("/", "Transfer-Encoding: chunked", method="POST", body=b"1\r\nx\r\n" * 101),
    ],
)
async def test_a_body_that_is_too_large_gets_413(data: bytes) -> None:
    handle = Handle()
    handle.post("/")(lambda request: request.body())
    async with serve(handle, port=0, max_body_size=100) as server, wire(server) as connection:
        answer = await connection.ask(data)
        assert (answer.status, answer.get("Connection")) == (413, "close")
        assert await connection.read_all() == b""


async def test_a_body_of_just_the_limit_is_taken() -> None:
    handle = Handle()
    handle.post("/")(lambda request: str(len(request.body())))
    plain = request("/", "Content-Length: 100", method="POST", body=bytes(100))
    chunks = b"32\r\n" + bytes(50) + b"\r\n"
    chunked = request(
        "/", "Transfer-Encoding: chunked", method="POST", body=chunks * 2 + b"0\r\n\r\n"
    )
    async with serve(handle, port=0, max_body_size=100) as server:
        assert (await ask(server, plain)).body == b"100"
        assert (await ask(server, chunked)).body == b"100"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"0\r\n" + b"X: y\r\n" * 50 + b"\r\n", 200),
        (b"0\r\n" + b"X: y\r\n" * 500 + b"\r\n", 431),
        (b"0\r\n" + b"X: y\r\n" * 500, 431),
        (b"0\r\nX: " + b"y" * 3000, 431),
        (b"0\r\n" + b"X" * 3000, 431),
        (b"1\r\nx\r\n" * 1000 + b"0\r\nX: y\r\n\r\n", 200),
    ],
)
async def test_trailers_have_no_more_room_than_headers(body: bytes, status: int) -> None:
    handle = Handle()
    handle.post("/")(lambda request: "taken")
    data = request("/", "Transfer-Encoding: chunked", method="POST", body=body)
    limits: dict[str, Any] = {"max_head_size": 1000, "handshake_timeout": 2.0}
    async with serve(handle, port=0, **limits) as server, wire(server) as connection:
        await connection.send_in_parts(_steps(data, 500))
        answer = await connection.answer()
        assert (answer.status, answer.get("Connection")) == (status, "close")
        assert await connection.read_all() == b""


async def test_a_full_server_says_so_and_serves_again_when_there_is_room() -> None:
    handle = Handle()
    handle.get("/")(lambda request: "x")
    async with serve(handle, port=0, max_connections=2) as server:
        async with wire(server) as first, wire(server) as second:
            await first.ask(request("/"))
            await second.ask(request("/"))
            async with wire(server) as third:
                answer = await third.answer()
                assert (answer.status, answer.get("Retry-After")) == (503, "1")
                assert await third.read_all() == b""
            assert (await first.ask(request("/"))).body == b"x"
        await turns()
        assert (await ask(server, request("/"))).body == b"x"


# --- upgrading ------------------------------------------------------------------------------


async def test_require_upgrade_answers_426_with_what_is_required() -> None:
    handle = Handle()
    Gate(handle)
    async with serve(handle, port=0) as server:
        answer = await ask(server, request("/ws"))
        assert answer.status == 426
        assert answer.get("Upgrade") == "websocket"
        assert answer.get("Sec-WebSocket-Version") == "13"


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        (
            "GET",
            ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"],
        ),
        ("GET", ["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: x"]),
        ("POST", ["Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"]),
    ],
)
async def test_what_does_not_ask_for_a_websocket_is_an_ordinary_request(
    method: str, lines: list[str]
) -> None:
    handle = Handle()
    handle.get("/")(lambda request: "page")
    handle.post("/")(lambda request: "page")
    async with serve(handle, port=0) as server:
        assert (await ask(server, request("/", *lines, method=method))).body == b"page"


async def test_a_handshake_that_is_incomplete_is_refused_before_its_handler_is_called() -> None:
    handle = Handle()
    called: list[Request] = []
    handle.get("/")(called.append)
    async with serve(handle, port=0) as server:
        # As a proxy passes it on that knows nothing of upgrades.
        answer = await ask(server, request("/", f"Sec-WebSocket-Key: {KEY}"))
        assert (answer.status, answer.get("Connection")) == (426, "close")
        assert b"proxy" in answer.body
    assert called == []


async def test_send_upgrade_for_a_plain_request_is_426_as_well() -> None:
    handle = Handle()

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        with pytest.raises(UpgradeRequiredError):
            request.send_upgrade("room")
        request.send_upgrade("room")
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server:
        assert (await ask(server, request("/ws"))).status == 426


async def test_the_101_proves_that_the_key_was_read() -> None:
    handle = Handle()
    Gate(handle)
    async with serve(handle, port=0) as server, wire(server) as connection:
        answer = await connection.upgrade()
        assert answer.get("Sec-WebSocket-Accept") == ACCEPT
        assert answer.get("Upgrade") == "websocket"
        assert answer.get("Connection") == "Upgrade"
        assert answer.get("Sec-WebSocket-Extensions") is None
        assert answer.get("Sec-WebSocket-Protocol") is None
        assert answer.get("Content-Length") is None


def _simple_cookie() -> SimpleCookie:
    cookie = SimpleCookie()
    cookie["a"] = "1"
    cookie["a"]["path"] = "/x"
    return cookie


@pytest.mark.parametrize(
    ("cookies", "lines"),
    [
        (["a=1; Path=/; HttpOnly", "b=2"], ["a=1; Path=/; HttpOnly", "b=2"]),
        ({"a": "1", "b": "two words"}, ["a=1", 'b="two words"']),
        (_simple_cookie(), ["a=1; Path=/x"]),
        ([], []),
    ],
)
async def test_cookies_may_be_given_in_three_forms(cookies: Any, lines: list[str]) -> None:
    handle = Handle()
    Gate(handle, cookies=cookies)
    async with serve(handle, port=0) as server, wire(server) as connection:
        assert (await connection.upgrade()).all("Set-Cookie") == lines


async def test_an_upgrade_may_come_later_from_an_async_handler() -> None:
    handle = Handle()
    handle.websocket("room")(lambda message, ws: ws.send(message))

    @handle.get("/ws")
    async def enter(request: Request) -> HandlerStatus:
        await turns()
        request.send_upgrade("room").send("first")
        await turns()
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"second"))
        assert await connection.frame() == (TEXT, b"first")
        assert await connection.frame() == (TEXT, b"second")


async def test_the_id_is_known_before_the_upgrade() -> None:
    handle = Handle()
    ids: list[int] = []

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        ids.append(request.get_websocket_id())
        assert request.get_websocket_id() == ids[0]
        assert WebSocket(ids[0]).is_dead()
        ids.append(request.send_upgrade("room").id)
        assert not WebSocket(ids[0]).is_dead()
        ids.append(request.get_websocket_id())
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        assert ids[0] == ids[1] == ids[2]


async def test_a_second_upgrade_raises() -> None:
    handle = Handle()
    kept: list[Request] = []

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("room")
        with pytest.raises(AlreadyAnsweredError):
            request.send_upgrade("room")
        kept.append(request)
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        with pytest.raises(AlreadyAnsweredError):
            kept[0].send_upgrade("room")


async def test_an_upgrade_after_the_response_raises() -> None:
    handle = Handle()
    kept: list[Request] = []

    @handle.get("/ws")
    def enter(request: Request) -> str:
        kept.append(request)
        return "no"

    async with serve(handle, port=0) as server:
        assert (await ask(server, handshake())).body == b"no"
        with pytest.raises(AlreadyAnsweredError):
            kept[0].send_upgrade("room")


async def test_a_response_after_the_upgrade_is_logged_and_dropped(
    error_log: list[logging.LogRecord],
) -> None:
    handle = Handle()

    @handle.get("/ws")
    def enter(request: Request) -> str:
        request.send_upgrade("room").send("hello")
        return "a response"

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        assert await connection.frame() == (TEXT, b"hello")
    assert "has its answer" in error_log[0].getMessage()


async def test_an_exception_after_the_upgrade_closes_with_1011(
    error_log: list[logging.LogRecord],
) -> None:
    handle = Handle()

    @handle.get("/ws")
    def enter(request: Request) -> None:
        request.send_upgrade("room").send("hello")
        raise RuntimeError("swordfish")

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        assert await connection.frame() == (TEXT, b"hello")
        assert await connection.closing() == (1011, "")
    assert len(error_log) == 1


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\r\nX: y", "a\0b"])
def test_a_line_break_in_a_response_is_a_value_error(bad: str) -> None:
    for arguments in (
        {"headers": {"X-A": bad}},
        {"headers": {bad: "x"}},
        {"headers": [("X-A", bad)]},
        {"reason": bad},
        {"content_type": bad},
    ):
        with pytest.raises(ValueError, match=r"."):
            Response("x", **arguments)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_what_says_where_a_response_ends_cannot_be_set(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is made from the response"):
        Response("x", headers={name: "1"})


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\r\nX: y", "a\0b"])
async def test_a_line_break_in_an_upgrade_is_a_value_error(bad: str) -> None:
    handle = Handle()
    handle.group("room", subprotocols="chat")
    jar = SimpleCookie()
    jar["a"] = bad

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        mistakes: list[dict[str, Any]] = [
            {"headers": {"X-A": bad}},
            {"headers": {bad: "x"}},
            {"headers": [("X-A", bad)]},
            {"cookies": [f"a={bad}"]},
            {"cookies": {bad: "x"}},
            {"cookies": {"a": bad}},
            {"cookies": jar},
            {"subprotocol": bad},
        ]
        for mistake in mistakes:
            with pytest.raises(ValueError, match=r"."):
                request.send_upgrade("room", **mistake)
        request.send_upgrade("room")
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server, wire(server) as connection:
        assert "X" not in dict((await connection.upgrade()).headers)


@pytest.mark.parametrize(
    "name", ["Connection", "upgrade", "Sec-WebSocket-Accept", "Content-Length", "transfer-encoding"]
)
async def test_headers_of_the_handshake_cannot_be_set(name: str) -> None:
    handle = Handle()

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        with pytest.raises(ValueError, match="cannot be set"):
            request.send_upgrade("room", headers={name: "x"})
        request.send_upgrade("room")
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()


# --- subprotocols and origins ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("offers", "agreed"),
    [
        (["Sec-WebSocket-Protocol: old, new"], "new"),
        (["Sec-WebSocket-Protocol: old", "Sec-WebSocket-Protocol: new"], "new"),
        (["Sec-WebSocket-Protocol: old"], "old"),
        (["Sec-WebSocket-Protocol: NEW"], None),
        (["Sec-WebSocket-Protocol: other"], None),
        ([], None),
    ],
)
async def test_the_server_prefers_among_the_subprotocols_offered(
    offers: list[str], agreed: str | None
) -> None:
    handle = Handle()
    handle.group("room", subprotocols=["new", "old"])
    gate = Gate(handle)
    async with serve(handle, port=0) as server, wire(server) as connection:
        answer = await connection.upgrade("/ws", *offers)
        assert answer.get("Sec-WebSocket-Protocol") == agreed
        assert (await gate.next()).subprotocol == agreed


async def test_a_handler_may_choose_the_subprotocol_among_those_offered() -> None:
    handle = Handle()

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        with pytest.raises(ValueError, match="was not offered"):
            request.send_upgrade("room", subprotocol="c")
        request.send_upgrade("room", subprotocol=request.subprotocols[-1])
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server, wire(server) as connection:
        answer = await connection.upgrade("/ws", "Sec-WebSocket-Protocol: a, b")
        assert answer.get("Sec-WebSocket-Protocol") == "b"


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        (None, "http://test", 101),
        (None, "http://test:80", 101),
        (None, "http://other.example", 403),
        ("*", "http://other.example", 101),
        ("*", "null", 101),
        (["https://other.example"], "https://other.example", 101),
        (["https://other.example/"], "https://other.example", 101),
        ("https://other.example", "https://other.example", 101),
        (["https://other.example"], "http://other.example", 403),
        (["https://other.example"], "https://other.example.evil", 403),
        (["https://other.example"], "http://test", 101),
        ([], "http://test", 101),
        ([], "http://other.example", 403),
    ],
)
@pytest.mark.parametrize("of_the_group", [False, True])
async def test_origins_say_which_pages_may_connect(
    origins: Any, origin: str, status: int, of_the_group: bool
) -> None:
    handle = Handle() if of_the_group else Handle(origins=origins)
    if of_the_group:
        handle.group("room", origins=origins)
    Gate(handle)
    async with serve(handle, port=0) as server:
        assert (await ask(server, handshake("/ws", f"Origin: {origin}"))).status == status


async def test_a_refused_origin_is_logged_with_what_to_set(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handle = Handle()
    Gate(handle)
    async with serve(handle, port=0) as server:
        await ask(server, handshake("/ws", "Origin: http://other.example"))
    assert "Handle(origins=['http://other.example'])" in caplog.text


async def test_what_one_group_allows_another_does_not() -> None:
    handle = Handle()
    handle.group("open", origins="*")
    Gate(handle, "open", "/open")
    Gate(handle, "closed", "/closed")
    async with serve(handle, port=0) as server:
        assert (await ask(server, handshake("/open", "Origin: http://a"))).status == 101
        assert (await ask(server, handshake("/closed", "Origin: http://a"))).status == 403


def _steps(data: bytes, step: int) -> Iterator[bytes]:
    return (data[i : i + step] for i in range(0, len(data), step))
