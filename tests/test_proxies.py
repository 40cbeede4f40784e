"""Behind proxies: what they say of clients is believed of those that are named, of nobody else."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Answer, Wire, ask, handshake, quiet_handle, request, until, wire
from wsgroups import Handle, HandlerStatus, Request, Server, serve
from wsgroups.connection.address import format_address
from wsgroups.connection.forwarding import read_proxy_header
from wsgroups.errors import HTTPError

LOCAL = ["127.0.0.0/8"]


def telling() -> Handle:
    """A route that says who asks, and one that upgrades."""
    handle = quiet_handle()

    @handle.get("/who")
    def who(request: Request) -> list[Any]:
        return [request.client, request.scheme]

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        ws = request.send_upgrade("room")
        ws.send_json([ws.request.client, ws.request.scheme])
        return HandlerStatus.HANDLED

    return handle


async def who(config: dict[str, Any], *headers: str) -> tuple[Any, str]:
    """Return what the handler saw, without the port of a client that connected itself."""
    async with serve(telling(), port=0, **config) as server:
        import json

        client, scheme = json.loads((await ask(server, request("/who", *headers))).body)
    return client if client is None or client[1] == 0 else tuple(client), scheme


# --- headers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"],
        ["Forwarded: for=203.0.113.9;proto=https"],
        ["X-Real-IP: 203.0.113.9"],
    ],
)
@pytest.mark.parametrize("config", [{}, {"trusted_proxies": ["10.0.0.0/8", "unix"]}])
async def test_nobody_else_is_believed(config: dict[str, Any], lines: list[str]) -> None:  # HS-34
    client, scheme = await who(config, *lines)
    assert client[0] == "127.0.0.1"
    assert scheme == "http"


@pytest.mark.parametrize(
    ("trusted", "line", "client"),
    [
        (LOCAL, "203.0.113.9", "203.0.113.9"),
        (LOCAL, "198.51.100.7, 203.0.113.9", "203.0.113.9"),
        ([*LOCAL, "203.0.113.0/24"], "198.51.100.7, 203.0.113.9", "198.51.100.7"),
        ([*LOCAL, "203.0.113.9"], "6.6.6.6, 198.51.100.7, 203.0.113.9", "198.51.100.7"),
        (["*"], "198.51.100.7, 203.0.113.9", "198.51.100.7"),
        (LOCAL, "2001:db8::1", "2001:db8::1"),
        (LOCAL, "203.0.113.9, unknown", "127.0.0.1"),
        (LOCAL, "", "127.0.0.1"),
        (LOCAL, "203.0.113.9,", "127.0.0.1"),
        (LOCAL, "not an address", "127.0.0.1"),
        ([*LOCAL, "203.0.113.9"], "nonsense, 203.0.113.9", "203.0.113.9"),
    ],
)
async def test_the_first_from_the_right_that_is_no_proxy_of_ours_is_the_client(
    trusted: list[str], line: str, client: str
) -> None:
    seen, _ = await who({"trusted_proxies": trusted}, f"X-Forwarded-For: {line}")
    assert seen[0] == client


async def test_several_lines_are_one_list() -> None:
    lines = ["X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 203.0.113.9"]
    assert (await who({"trusted_proxies": LOCAL}, *lines))[0] == ["203.0.113.9", 0]


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("203.0.113.9:1234", ("203.0.113.9", 1234)),
        ("[2001:db8::1]:1234", ("2001:db8::1", 1234)),
        ("[2001:db8::1]", ["2001:db8::1", 0]),
        ("203.0.113.9:99999", ["203.0.113.9", 0]),
        ("203.0.113.9:", ["203.0.113.9", 0]),
    ],
)
async def test_a_port_may_stand_behind_the_address(address: str, client: Any) -> None:
    config = {"trusted_proxies": LOCAL}
    assert (await who(config, f"X-Forwarded-For: {address}"))[0] == client
    config["forwarded_header"] = "forwarded"  # type: ignore[assignment]
    assert (await who(config, f'Forwarded: for="{address}"'))[0] == client


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [
        (["X-Forwarded-Proto: https"], "https"),
        (["X-Forwarded-Proto: HTTPS"], "https"),
        (["X-Forwarded-Proto: wss"], "https"),
        (["X-Forwarded-Proto: http, https"], "https"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"], "http"),
        (["X-Forwarded-Proto: gopher"], "http"),
        (["Forwarded: proto=https"], "http"),
        ([], "http"),
    ],
)
async def test_the_scheme_is_what_the_nearest_proxy_says(lines: list[str], scheme: str) -> None:
    assert (await who({"trusted_proxies": LOCAL}, *lines))[1] == scheme


@pytest.mark.parametrize(
    ("line", "client", "scheme"),
    [
        ("for=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9", "https"),
        ('For="203.0.113.9" ; Proto="https"', "203.0.113.9", "https"),
        ("for=198.51.100.7, for=203.0.113.9;proto=https", "203.0.113.9", "https"),
        ('for=_hidden;proto="ht\\tps"', "127.0.0.1", "https"),
        ('for="203.0.113.9', "127.0.0.1", "http"),
        ("for=203.0.113.9, =;;", "127.0.0.1", "http"),
        ("for=203.0.113.9;proto", "127.0.0.1", "http"),
    ],
)
async def test_the_header_of_rfc_7239_where_it_is_asked_for(
    line: str, client: str, scheme: str
) -> None:
    config = {"trusted_proxies": LOCAL, "forwarded_header": "forwarded"}
    invented = ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https"] if scheme == "http" else []
    seen = await who(config, f"Forwarded: {line}", *invented)
    assert (seen[0][0], seen[1]) == (client, scheme)


async def test_it_can_still_be_asked_after_the_upgrade() -> None:
    lines = ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"]
    async with serve(telling(), port=0, trusted_proxies=LOCAL) as server, wire(server) as client:
        await client.upgrade("/ws", *lines)
        assert await client.frame() == (1, b'[["203.0.113.9",0],"https"]')


@pytest.mark.parametrize(
    ("origin", "lines", "status"),
    [
        ("https://shop.example", ["X-Forwarded-Proto: https"], 101),
        ("https://shop.example", [], 403),
        ("http://shop.example", ["X-Forwarded-Proto: https"], 403),
        ("https://a.example", ["X-Forwarded-Proto: https", "X-Forwarded-Host: a.example"], 101),
        ("https://a.example", ["X-Forwarded-Proto: https", "X-Forwarded-Host: b.example"], 403),
        ("https://a.example", ["X-Forwarded-Proto: https", "X-Forwarded-Host: a/b c"], 403),
    ],
)
async def test_the_same_origin_is_that_of_the_client(
    origin: str, lines: list[str], status: int
) -> None:
    async with serve(telling(), port=0, trusted_proxies=LOCAL) as server, wire(server) as client:
        data = handshake("/ws", f"Origin: {origin}", *lines, host="shop.example")
        assert (await client.ask(data)).status == status


async def test_clients_behind_a_proxy_are_counted_and_not_the_proxy() -> None:
    config: dict[str, Any] = {"trusted_proxies": LOCAL, "max_connections_per_ip": 2}
    async with (
        serve(telling(), port=0, **config) as server,
        contextlib.AsyncExitStack() as stack,
    ):

        async def come(client: str) -> tuple[Wire, Answer]:
            connection = await stack.enter_async_context(wire(server))
            await connection.send(handshake("/ws", f"X-Forwarded-For: {client}"))
            return connection, await connection.answer()

        statuses = [(await come(f"203.0.113.{n}"))[1].status for n in range(5)]
        assert statuses == [101] * 5
        first, answer = await come("198.51.100.7")
        assert [answer.status, (await come("198.51.100.7"))[1].status] == [101, 101]
        _, refused = await come("198.51.100.7")
        assert (refused.status, refused.get("Retry-After")) == (503, "1")
        first.reset()
        await until(lambda: len(handle_group(server)) == 6)
        assert (await come("198.51.100.7"))[1].status == 101


def handle_group(server: Server) -> Any:
    return server._app.group("room")  # type: ignore[attr-defined]


async def test_whoever_comes_through_a_unix_socket_may_be_a_proxy(tmp_path: Path) -> None:
    line = "X-Forwarded-For: 203.0.113.9"
    assert (await who({"uds": str(tmp_path / "a")}, line))[0] is None
    config = {"uds": str(tmp_path / "b"), "trusted_proxies": ["unix"]}
    assert (await who(config, line))[0] == ["203.0.113.9", 0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"trusted_proxies": ["nonsense"]}, "trusted_proxies: 'nonsense' does not appear"),
        ({"trusted_proxies": "127.0.0.1"}, "trusted_proxies must be a list, not '127"),
        ({"forwarded_header": "x-real-ip"}, "forwarded_header must be 'x-forwarded-for' or"),
        ({"proxy_protocol": True}, "proxy_protocol must be False without trusted_proxies"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        serve(Handle(), **config)


# --- the PROXY protocol ---------------------------------------------------------------------

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int, family: int, body: bytes) -> bytes:
    return V2 + bytes([command, family]) + len(body).to_bytes(2, "big") + body


TCP4 = bytes([203, 0, 113, 9, 10, 0, 0, 1]) + (4711).to_bytes(2, "big") + (80).to_bytes(2, "big")
TCP6 = bytes.fromhex("20010db8000000000000000000000001") + bytes(16) + b"\x12\x67\x00\x50"

GOOD = [
    (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n", ("203.0.113.9", 4711)),
    (b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", ("2001:db8::1", 4711)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    (v2(0x21, 0x11, TCP4), ("203.0.113.9", 4711)),
    (v2(0x21, 0x11, TCP4 + b"\x04\x00\x03abc"), ("203.0.113.9", 4711)),
    (v2(0x21, 0x21, TCP6), ("2001:db8::1", 4711)),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0x11, TCP4), None),
    (v2(0x21, 0x31, bytes(216)), None),
]
BAD = [
    b"GET / HTTP/1.1\r\n",
    b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n",
    b"PROXY TCP4 2001:db8::1 ::1 4711 80\r\n",
    b"PROXY TCP6 203.0.113.9 10.0.0.1 4711 80\r\n",
    b"PROXY TCP4 203.0.113.9 10.0.0.1 99999 80\r\n",
    b"PROXY TCP4 203.0.113.9 10.0.0.1 -1 80\r\n",
    b"PROXY TCP4  203.0.113.9 10.0.0.1 1 80\r\n",
    b"PROXY UDP4 203.0.113.9 10.0.0.1 1 80\r\n",
    b"PROXY " + b"x" * 200,
    v2(0x22, 0x11, TCP4),
    v2(0x11, 0x11, TCP4),
    v2(0x21, 0x11, TCP4[:11]),
    V2 + b"\x21\x11\xff\xff",
]


@pytest.mark.parametrize(("header", "client"), GOOD)
def test_a_proxy_header_is_read_from_any_beginning_on(header: bytes, client: Any) -> None:
    for size in range(len(header)):
        assert read_proxy_header(header[:size]) is None
    for behind in (b"", b"GET / HTTP/1.1\r\n"):
        found = read_proxy_header(header + behind)
        assert found is not None
        assert found[0] == len(header)
        assert (format_address(found[1]) if found[1] else None) == client


@pytest.mark.parametrize("header", BAD)
def test_a_bad_proxy_header_is_refused(header: bytes) -> None:
    with pytest.raises(HTTPError) as caught:
        read_proxy_header(header)
    assert caught.value.status == 400


@contextlib.asynccontextmanager
async def behind_a_proxy(**config: Any) -> AsyncIterator[Server]:
    async with serve(
        telling(), port=0, **{"trusted_proxies": LOCAL, "proxy_protocol": True, **config}
    ) as server:
        yield server


@pytest.mark.parametrize(("header", "client"), GOOD)
@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_a_connection_begins_with_its_proxy_header(
    header: bytes, client: Any, step: int
) -> None:
    async with behind_a_proxy() as server, wire(server) as connection:
        data = header + request("/who")
        await connection.send_in_parts(
            data[position : position + step] for position in range(0, len(data), step)
        )
        answer = await connection.answer()
        assert answer.status == 200
        expected = f'[["{client[0]}",{client[1]}],"http"]'.encode() if client else b'[["127.0.0.1"'
        assert answer.body.startswith(expected)
        assert (await connection.ask(request("/who"))).body == answer.body, "one for all requests"


@pytest.mark.parametrize("header", [BAD[0], BAD[1], BAD[8], BAD[9], BAD[12]])
async def test_without_a_good_one_the_request_is_refused(header: bytes) -> None:
    async with behind_a_proxy() as server, wire(server) as connection:
        assert (await connection.ask(header + request("/who"))).status == 400
        assert await connection.read_all() == b""


async def test_from_a_stranger_it_is_no_request() -> None:
    async with behind_a_proxy(trusted_proxies=["10.0.0.1"]) as server:
        assert (await ask(server, GOOD[0][0] + request("/who"))).status == 400
        assert (await ask(server, request("/who"))).status == 200


async def test_where_it_is_not_asked_for_it_is_no_request() -> None:  # HS-24
    async with serve(telling(), port=0, trusted_proxies=LOCAL) as server:
        assert (await ask(server, GOOD[0][0] + request("/who"))).status == 400


async def test_a_proxy_that_says_nothing_has_no_more_time() -> None:
    async with (
        behind_a_proxy(handshake_timeout=0.2) as server,
        wire(server) as silent,
        wire(server) as slow,
    ):
        await slow.send(b"PROXY TCP4 ")
        assert await silent.read_all() == b""
        await slow.read_all()


async def test_addresses_of_proxy_headers_are_counted() -> None:
    async with behind_a_proxy(max_connections_per_ip=1) as server, wire(server) as first:
        assert (await first.ask(GOOD[0][0] + request("/who"))).status == 200
        async with wire(server) as second:
            assert (await second.ask(GOOD[4][0] + request("/who"))).status == 503
        async with wire(server) as other:
            assert (await other.ask(GOOD[1][0] + request("/who"))).status == 200


async def test_after_its_header_a_proxy_may_say_more_in_others() -> None:
    """The address of the PROXY header is then a proxy's as well, if it is one of ours."""
    async with behind_a_proxy(trusted_proxies=[*LOCAL, "203.0.113.9"]) as server:
        line = "X-Forwarded-For: 198.51.100.7"
        answer = await ask(server, GOOD[0][0] + request("/who", line))
        assert answer.body == b'[["198.51.100.7",0],"http"]'
        answer = await ask(server, GOOD[1][0] + request("/who", line))
        assert answer.body == b'[["2001:db8::1",4711],"http"]'
