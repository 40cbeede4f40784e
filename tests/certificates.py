"""Certificates for the tests: an authority of their own, and what it signs."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import Any

import trustme

DAYS = 90  # what a certificate is valid for


class Certificates:
    """An authority, a server's certificate for 127.0.0.1 and localhost, and more on demand.

    Args:
        directory: where the files go.

    Attributes:
        ca: path of the authority's certificate.
        cert, key: paths of the server's.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = trustme.CA()
        self.ca = self._write("ca.pem", self._authority.cert_pem.bytes())
        self.cert, self.key = self.issue("server")

    def issue(self, name: str) -> tuple[str, str]:
        """Return the paths of another certificate and its key; its common name is `name`."""
        now = datetime.datetime.now(datetime.UTC)
        issued = self._authority.issue_cert(
            "localhost",
            "127.0.0.1",
            common_name=name,
            not_before=now - datetime.timedelta(days=1),
            not_after=now + datetime.timedelta(days=DAYS - 1),
        )
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        cert = self._write(f"{name}.pem", chain)
        return cert, self._write(f"{name}.key.pem", issued.private_key_pem.bytes())

    def _write(self, name: str, data: bytes) -> str:
        path = self._directory / name
        path.write_bytes(data)
        return str(path)

    @property
    def options(self) -> dict[str, Any]:
        """ServerConfig options that serve TLS."""
        return {"ssl_certfile": self.cert, "ssl_keyfile": self.key}

    def client(self) -> ssl.SSLContext:
        """Return a context for clients, which trusts the authority and nobody else."""
        return ssl.create_default_context(cafile=self.ca)
