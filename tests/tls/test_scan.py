"""TLS-01: what a scanner says of our defaults."""

import asyncio
import datetime
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support import soon
from tests.tls.test_serving import echo_handle
from wsgroups import testing


def write_certificates(directory: Path) -> tuple[Path, Path, Path]:
    """Make an authority and a certificate for localhost as the Web's rules want them.

    The scanner looks at more than a browser does; those of the other tests would not do.

    Returns:
        the paths of the authority's certificate, the server's, and its key.
    """
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    authority, name = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
        for text in ("Tests", "localhost")
    )
    signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    paths = [directory / f"{part}.pem" for part in ("ca", "cert", "key")]
    for subject, key, path, extensions in (
        (
            authority,
            keys[0],
            paths[0],
            [(x509.BasicConstraints(ca=True, path_length=0), True), (signs, True)],
        ),
        (
            name,
            keys[1],
            paths[1],
            [
                (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
                (
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()),
                    False,
                ),
            ],
        ),
    ):
        builder = (
            x509.CertificateBuilder(authority, subject, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=89))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, is_critical)
        path.write_bytes(builder.sign(keys[0], hashes.SHA256()).public_bytes(Encoding.PEM))
    paths[2].write_bytes(keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths[0], paths[1], paths[2]


async def test_the_defaults_are_what_mozilla_recommends(tmp_path: Path) -> None:
    ca, cert, key = write_certificates(tmp_path)
    async with testing.start(echo_handle(), ssl_certfile=str(cert), ssl_keyfile=str(key)) as app:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sslyze", "--mozilla_config=intermediate"),
            *(f"--certinfo_ca_file={ca}", f"localhost:{app.server.port}"),
            stdout=PIPE,
            stderr=STDOUT,
        )
        output, _ = await soon(process.communicate())
        assert "OK - Compliant" in output.decode(), output.decode()
        assert process.returncode == 0
        async with app.connect("/ws") as client:  # the scanner's attacks are over
            await client.send("hello")
            await client.expect("hello")
