"""The context that TLS is served with."""

from __future__ import annotations

import ssl
from pathlib import Path

# Of TLS 1.2, what Mozilla's "intermediate" recommends; those of TLS 1.3 are all good. Each client
# picks the one that its hardware is good at.
_CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)


def make_context(
    certfile: str,
    keyfile: str | None = None,
    password: str | None = None,
    client_ca: str | None = None,
) -> ssl.SSLContext:
    """Return a context for a server: TLS 1.2 and 1.3, forward secrecy only, no renegotiation.

    Args:
        certfile: PEM file with the certificate and those that lead to its root.
        keyfile: PEM file with its private key; None when that is in `certfile`.
        password: of the private key, if it has one.
        client_ca: PEM file of authorities; clients must show a certificate that one of them signed.

    Raises:
        OSError: a file cannot be read.
        ValueError: what is in it cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    # Python lets us choose one curve, and this is what everybody has. Left to itself OpenSSL adds
    # two that Mozilla's recommendation leaves out.
    context.set_ecdh_curve("prime256v1")
    context.set_alpn_protocols(["http/1.1"])
    _load_certificate(context, certfile, keyfile, password)
    if client_ca is not None:
        _check("ssl_ca_certs", client_ca, "CERTIFICATE")
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise ValueError(f"ssl_ca_certs {client_ca!r} cannot be used: {error}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load_certificate(
    context: ssl.SSLContext, certfile: str, keyfile: str | None, password: str | None
) -> None:
    named = f"ssl_certfile {certfile!r}" if keyfile is None else f"ssl_keyfile {keyfile!r}"

    def ask() -> str:  # else OpenSSL would ask at the terminal
        if password is None:
            raise ValueError(f"the private key in {named} has a password: ssl_keyfile_password")
        return password

    _check("ssl_certfile", certfile, "CERTIFICATE")
    _check(named.partition(" ")[0], keyfile or certfile, "PRIVATE KEY")
    try:
        context.load_cert_chain(certfile, keyfile, ask)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            what = f"the private key in {named} does not belong to ssl_certfile {certfile!r}"
        elif password is not None:
            what = f"the private key in {named} cannot be read; is ssl_keyfile_password right?"
        else:
            what = f"ssl_certfile {certfile!r} with its private key cannot be used: {error}"
        raise ValueError(what) from None


def _check(option: str, path: str, content: str) -> None:
    """Say what is wrong with a file where OpenSSL would not."""
    try:
        text = Path(path).read_text("ascii", "replace")
    except OSError as error:
        raise OSError(error.errno, f"{option} {path!r} cannot be read: {error.strerror}") from None
    if f"{content}-----" not in text:
        raise ValueError(f"{option} {path!r} has no '{content}' in it; it is to be in PEM format")
