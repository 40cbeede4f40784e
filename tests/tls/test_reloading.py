"""Certificates that change while the server runs; TLS-07."""

import asyncio
import contextlib
import logging
import shutil
import signal
import ssl
import textwrap
from pathlib import Path
from typing import Any

import pytest

import wsgroups
from tests.certificates import Certificates
from tests.support import Program, quiet_handle, soon, until
from tests.tls.test_serving import echo_handle
from wsgroups import testing

MANY = 300


class Files:
    """A certificate and its key at fixed paths, which can be replaced."""

    def __init__(self, certificates: Certificates, directory: Path) -> None:
        self._certificates = certificates
        self.cert, self.key = directory / "cert.pem", directory / "key.pem"
        self.replace("first")

    def replace(self, name: str) -> None:
        """Put another certificate there."""
        cert, key = self._certificates.issue(name)
        shutil.copy(cert, self.cert)
        shutil.copy(key, self.key)

    @property
    def options(self) -> dict[str, Any]:
        return {"ssl_certfile": str(self.cert), "ssl_keyfile": str(self.key)}


@pytest.fixture
def files(certificates: Certificates, tmp_path: Path) -> Files:
    return Files(certificates, tmp_path)


async def served(port: int, certificates: Certificates) -> str:
    """Return the common name of the certificate that a newcomer is shown."""
    _, writer = await soon(asyncio.open_connection("127.0.0.1", port, ssl=certificates.client()))
    try:
        found = writer.get_extra_info("peercert")["subject"]
        return str(dict(part for parts in found for part in parts)["commonName"])
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_newcomers_get_the_new_certificate_and_nobody_is_dropped(
    certificates: Certificates, files: Files
) -> None:
    async with testing.start(echo_handle(), **files.options) as app:
        clients = [await app.connect("/ws") for _ in range(MANY)]
        assert await served(app.server.port, certificates) == "first"
        files.replace("second")
        assert app.server.reload_certificates()
        assert await served(app.server.port, certificates) == "second"
        for client in clients:
            await client.send("still here")
            await client.expect("still here")


async def test_the_old_certificate_stays_when_the_new_one_cannot_be_used(
    certificates: Certificates, files: Files, error_log: list[logging.LogRecord]
) -> None:
    async with testing.start(echo_handle(), **files.options) as app:
        files.key.write_text(Path(certificates.key).read_text())
        assert not app.server.reload_certificates()
        files.cert.unlink()
        assert not app.server.reload_certificates()
        assert await served(app.server.port, certificates) == "first"
        assert [record.getMessage() for record in error_log] == [
            "the old certificate stays in use: the private key in ssl_keyfile "
            f"{str(files.key)!r} does not belong to ssl_certfile {str(files.cert)!r}",
            "the old certificate stays in use: [Errno 2] ssl_certfile "
            f"{str(files.cert)!r} cannot be read: No such file or directory",
        ]
        files.replace("second")
        assert app.server.reload_certificates()
        assert await served(app.server.port, certificates) == "second"


async def test_only_certificates_of_files_can_be_read_anew(certificates: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.cert, certificates.key)
    for server in (wsgroups.serve(quiet_handle(), ssl=context), wsgroups.serve(quiet_handle())):
        with pytest.raises(RuntimeError, match="ssl_certfile"):
            server.reload_certificates()


APPLICATION = """
    from wsgroups import Handle, HandlerStatus

    handle = Handle()


    @handle.get("/ws")
    def upgrade(request):
        request.send_upgrade("echo")
        return HandlerStatus.HANDLED


    @handle.websocket("echo")
    def echo(message, ws):
        ws.send(message)
"""


async def test_sighup_to_the_program(
    certificates: Certificates, files: Files, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(textwrap.dedent(APPLICATION))
    options = [f"--{name.replace('_', '-')}={path}" for name, path in files.options.items()]
    with Program("-m", "wsgroups", "app", "--port=0", *options, cwd=tmp_path) as program:
        port = int(program.wait_for(r"listening on https://127.0.0.1:(\d+)"))
        context = certificates.client()
        url = f"wss://127.0.0.1:{port}/ws"
        clients = [await wsgroups.connect(url, ssl=context) for _ in range(MANY)]
        files.replace("second")
        program.send_signal(signal.SIGHUP)
        program.wait_for("new connections get the certificate")
        assert await served(port, certificates) == "second"
        files.cert.write_text("nonsense")
        program.send_signal(signal.SIGHUP)
        program.wait_for("the old certificate stays in use: .* has no 'CERTIFICATE' in it")
        assert await served(port, certificates) == "second"
        for client in clients:
            await client.send("still here")
            assert await client.recv(5) == "still here"
        program.send_signal(signal.SIGTERM)
        await until(lambda: all(client.close_info for client in clients))
        assert {client.close_info.code for client in clients if client.close_info} == {1001}
        assert program.wait() == 0
