"""A server over TLS, by its options, over real sockets."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

import wsgroups
from tests.certificates import Certificates
from tests.support import (
    PATIENCE,
    TEXT,
    frame,
    handshake,
    quiet_handle,
    request,
    soon,
    until,
    wire,
)
from wsgroups import Handle, HandlerStatus, Request, Server, WebSocket, testing
from wsgroups.server.certificates import make_context


def echo_handle() -> Handle:
    """Return an echo on `/ws` that says on `/who` how it was asked."""
    handle = Handle()

    @handle.get("/ws")
    def upgrade(request: Request) -> HandlerStatus:
        request.send_upgrade("echo")
        return HandlerStatus.HANDLED

    @handle.get("/who")
    def who(request: Request) -> list[Any]:
        certificate = request.peer_certificate
        return [request.scheme, certificate and dict(certificate["subject"][-1])["commonName"]]

    @handle.websocket("echo")
    def echo(message: str | bytes, ws: WebSocket) -> None:
        ws.send(message)

    @handle.websocket("whoami")
    def whoami(message: str, ws: WebSocket) -> None:
        assert ws.request is not None
        certificate = ws.request.peer_certificate
        assert certificate is not None
        ws.send(dict(certificate["subject"][-1])["commonName"])

    @handle.get("/whoami")
    def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("whoami")
        return HandlerStatus.HANDLED

    return handle


async def dial(server: Server, context: ssl.SSLContext) -> ssl.SSLObject:
    """Do a handshake, let go of the connection, and return what was agreed on."""
    reader, writer = await soon(
        asyncio.open_connection("127.0.0.1", server.port, ssl=context, server_hostname="localhost")
    )
    try:
        found = writer.get_extra_info("ssl_object")
        assert isinstance(found, ssl.SSLObject)
        writer.write(request("/who", "Connection: close"))
        await soon(reader.read())
        return found
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await soon(writer.wait_closed())


# --- what clients see --------------------------------------------------------------------------


async def test_everything_about_the_server_says_https(certificates: Certificates) -> None:
    async with testing.start(echo_handle(), **certificates.options) as app:
        assert app.url == f"https://127.0.0.1:{app.server.port}"
        assert app.ws_url == f"wss://127.0.0.1:{app.server.port}"
        assert (await app.get("/who")).json() == ["https", None]
        async with app.connect("/ws") as client:
            await client.send("hello")
            await client.expect("hello")


async def test_a_context_of_the_application(certificates: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.cert, certificates.key)
    async with testing.start(echo_handle(), ssl=context) as app:
        assert app.url.startswith("https://")
        async with app.connect("/ws") as client:
            await client.send("hello")
            await client.expect("hello")


async def test_a_unix_socket(certificates: Certificates, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with testing.start(echo_handle(), uds=path, **certificates.options) as app:
        assert app.url == f"https+unix://{path}"
        async with app.connect("/ws") as client:
            await client.send("hello")
            await client.expect("hello")


async def test_pages_of_the_same_origin_are_https(certificates: Certificates) -> None:
    async with testing.start(echo_handle(), **certificates.options) as app:
        async with app.connect("/ws", origin=app.url):
            pass
        with pytest.raises(wsgroups.HandshakeFailedError) as caught:
            await app.connect("/ws", origin=app.url.replace("https", "http"))
        assert caught.value.status == 403


async def test_our_client_checks_the_certificate(certificates: Certificates) -> None:
    async with testing.start(echo_handle(), **certificates.options) as app:
        with pytest.raises(ssl.SSLCertVerificationError):
            await soon(wsgroups.connect(app.ws_url + "/ws"))
        async with wsgroups.connect(app.ws_url + "/ws", ssl=certificates.client()) as client:
            await client.send("hello")
            assert await client.recv(5) == "hello"


async def test_alpn_is_http_1_1(certificates: Certificates) -> None:
    async with testing.start(echo_handle(), **certificates.options) as app:
        for offered, agreed in (
            (["http/1.1"], "http/1.1"),
            (["h2", "http/1.1"], "http/1.1"),
            ([], None),
            (["h2"], None),
        ):
            context = certificates.client()
            if offered:
                context.set_alpn_protocols(offered)
            found = await dial(app.server, context)
            assert found.selected_alpn_protocol() == agreed


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("old", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_versions_are_refused(certificates: Certificates, old: ssl.TLSVersion) -> None:
    context = certificates.client()
    context.minimum_version = context.maximum_version = old
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with testing.start(echo_handle(), **certificates.options) as app:
        with pytest.raises(ssl.SSLError, match=r"(?i)version"):
            await dial(app.server, context)


@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"])
async def test_weak_ciphers_are_refused(certificates: Certificates, ciphers: str) -> None:
    context = certificates.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    async with testing.start(echo_handle(), **certificates.options) as app:
        with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
            await dial(app.server, context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed_by_its_ticket(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = certificates.client()
    context.minimum_version = context.maximum_version = version
    async with testing.start(echo_handle(), **certificates.options) as app:

        def twice() -> list[bool | None]:
            reused, session = [], None
            for _ in range(2):
                with (
                    socket.create_connection(("127.0.0.1", app.server.port)) as sock,
                    context.wrap_socket(
                        sock, server_hostname="localhost", session=session
                    ) as client,
                ):
                    client.sendall(request("/who", "Connection: close"))
                    while client.recv(1000):
                        pass
                    session = client.session
                    reused.append(client.session_reused)
            return reused

        assert await soon(asyncio.to_thread(twice)) == [False, True]


async def test_a_client_that_speaks_plain_http_is_let_go(certificates: Certificates) -> None:
    async with (
        testing.start(echo_handle(), **certificates.options) as app,
        wire(app.server) as peer,
    ):
        await peer.send(handshake("/ws"))
        await peer.read_all()
        assert not peer.was_reset


async def test_who_is_over_a_limit_is_let_go_without_a_handshake(
    certificates: Certificates,
) -> None:
    async with testing.start(echo_handle(), max_connections=1, **certificates.options) as app:
        async with app.connect("/ws") as client:
            with pytest.raises(OSError):  # noqa: PT011 - what it is depends on how far both got
                await dial(app.server, certificates.client())
            await client.send("hello")
            await client.expect("hello")
        async with app.connect("/ws"):
            pass


async def test_shutting_down_in_the_middle_of_a_handshake(certificates: Certificates) -> None:
    """FT-21."""
    async with (
        testing.start(echo_handle(), **certificates.options) as app,
        app.connect("/ws") as client,
        wire(app.server) as half,
    ):
        await half.send(b"\x16\x03\x01\x02\x00\x01\x00")
        async with asyncio.timeout(5):
            closing = asyncio.create_task(app.server.close())
            assert await half.read_all() == b""
            await client.expect_close(1001)
            await closing


async def test_a_proxy_header_comes_before_tls(certificates: Certificates) -> None:
    handle = Handle()
    handle.get("/")(lambda request: [request.scheme, request.client])
    async with testing.start(
        handle, proxy_protocol=True, trusted_proxies=["127.0.0.1"], **certificates.options
    ) as app:
        for first in (b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n", b"NOT A PROXY\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", app.server.port)
            try:
                writer.write(first)
                if first.startswith(b"PROXY"):
                    await soon(writer.start_tls(certificates.client(), server_hostname="localhost"))
                    writer.write(request("/", "Connection: close"))
                    answer = await soon(reader.read())
                    assert answer.endswith(b'["https",["192.0.2.7",1234]]')
                else:
                    assert await soon(reader.read()) == b""
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await soon(writer.wait_closed())


async def test_who_does_not_read_is_not_read_and_goes_on_where_he_stopped(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    """RX-09 over TLS: what was decrypted or not, and held, comes in order and complete."""
    handle = echo_handle()
    group = handle.group("echo", ping_interval=None)
    context = certificates.client()
    context.maximum_version = version
    messages = [str(number).rjust(1000).encode() for number in range(20_000)]
    async with testing.start(handle, **certificates.options) as app:
        reader, writer = await soon(
            asyncio.open_connection("localhost", app.server.port, ssl=context, limit=1 << 14)
        )
        try:
            writer.write(handshake("/ws"))
            await soon(reader.readuntil(b"\r\n\r\n"))
            for message in messages:
                writer.write(frame(TEXT, message))
            (ws,) = group
            await until(lambda: ws.buffered_amount > 1 << 16)
            for _ in range(200):
                await asyncio.sleep(0)
            assert ws.buffered_amount < 1 << 19
            for message in messages:
                assert (await soon(reader.readexactly(1004)))[4:] == message
            await until(lambda: ws.buffered_amount == 0)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.mark.filterwarnings("ignore:The asyncore module:DeprecationWarning")
@pytest.mark.parametrize("kind", ["update_not_requested", "update_requested"])
async def test_a_client_may_change_its_keys_whenever_it_likes(
    certificates: Certificates, kind: str
) -> None:
    """RFC 8446 section 4.6.3; asked for, we change ours as well. Others have their turn."""

    from tlslite.api import HandshakeSettings, TLSConnection
    from tlslite.constants import KeyUpdateMessageType

    def talk(port: int) -> bytes:
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = (3, 4)
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            client = TLSConnection(sock)
            client.handshakeClientCert(serverName="localhost", settings=settings)
            client.write(handshake("/ws"))
            assert client.read(max=1000).startswith(b"HTTP/1.1 101 ")
            echoed = b""
            for _ in range(5):
                for _ in range(300):
                    for _ in client.send_keyupdate_request(getattr(KeyUpdateMessageType, kind)):
                        pass
                client.write(frame(TEXT, b"hello"))
                echoed += client.read(min=7, max=7)
            return echoed

    async with (
        testing.start(echo_handle(), **certificates.options) as app,
        app.connect("/ws") as other,
    ):
        talking = asyncio.create_task(asyncio.to_thread(talk, app.server.port))
        while not talking.done():
            await other.send("tweet")
            await other.expect("tweet")
        assert await talking == b"\x81\x05hello" * 5


# --- mutual TLS --------------------------------------------------------------------------------


async def test_clients_must_show_a_certificate(certificates: Certificates) -> None:
    cert, key = certificates.issue("ann")
    async with testing.start(
        echo_handle(), ssl_ca_certs=certificates.ca, **certificates.options
    ) as app:
        with pytest.raises((OSError, wsgroups.HandshakeFailedError)):
            await app.connect("/ws")
        app.tls.load_cert_chain(cert, key)
        assert (await app.get("/who")).json() == ["https", "ann"]
        async with app.connect("/whoami") as client:
            await client.send("?")
            await client.expect("ann")


async def test_a_certificate_of_another_authority_is_refused(
    certificates: Certificates, tmp_path: Path
) -> None:
    strangers = Certificates(tmp_path)
    async with testing.start(
        echo_handle(), ssl_ca_certs=certificates.ca, **certificates.options
    ) as app:
        app.tls.load_cert_chain(*strangers.issue("eve"))
        with pytest.raises((OSError, wsgroups.HandshakeFailedError)):
            await app.connect("/ws")


# --- options that cannot work ------------------------------------------------------------------


def test_files_that_do_not_fit(certificates: Certificates, tmp_path: Path) -> None:
    _, other = certificates.issue("other")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-in", other, "-aes256", "-passout", "pass:secret", "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    handle = quiet_handle()
    cert, key = certificates.cert, certificates.key
    for options, kind, message in (
        ({"ssl_certfile": cert, "ssl_keyfile": other}, ValueError, "does not belong to"),
        ({"ssl_certfile": cert}, ValueError, "ssl_certfile .* has no 'PRIVATE KEY'"),
        ({"ssl_certfile": key}, ValueError, "ssl_certfile .* has no 'CERTIFICATE'"),
        ({"ssl_certfile": str(empty)}, ValueError, "has no 'CERTIFICATE'"),
        ({"ssl_certfile": "none.pem"}, FileNotFoundError, "ssl_certfile 'none.pem' cannot be read"),
        ({"ssl_certfile": cert, "ssl_keyfile": "no"}, FileNotFoundError, "ssl_keyfile 'no'"),
        ({"ssl_keyfile": key}, ValueError, "ssl_keyfile must be None without ssl_certfile"),
        ({"ssl_ca_certs": cert}, ValueError, "ssl_ca_certs must be None without ssl_certfile"),
        (
            {"ssl_certfile": cert, "ssl_keyfile": key, "ssl_ca_certs": key},
            ValueError,
            "ssl_ca_certs .* has no 'CERTIFICATE'",
        ),
        (
            {"ssl_certfile": cert, "ssl_keyfile": str(locked)},
            ValueError,
            "has a password: ssl_keyfile_password",
        ),
        (
            {"ssl_certfile": cert, "ssl_keyfile": str(locked), "ssl_keyfile_password": "wrong"},
            ValueError,
            "is ssl_keyfile_password right",
        ),
        (
            {"ssl": make_context(cert, key), "ssl_certfile": cert},
            ValueError,
            "ssl_certfile must be None with ssl",
        ),
        ({"ssl": ssl.create_default_context()}, ValueError, "ssl must be a context for servers"),
    ):
        with pytest.raises(kind, match=message) as caught:
            wsgroups.serve(handle, **options)
        assert "wrong" not in str(caught.value)


async def test_a_key_with_a_password(certificates: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    key = certificates.key
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:secret", "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    options = {**certificates.options, "ssl_keyfile": str(locked)}
    async with testing.start(echo_handle(), ssl_keyfile_password="secret", **options) as app:
        assert "secret" not in repr(app.server.config)
        async with app.connect("/ws"):
            pass
