"""What proxies say about clients: X-Forwarded-*, Forwarded (RFC 7239), the PROXY protocol.

None of it is believed unless the peer that says it is a proxy that the configuration names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from wsgroups.connection.address import address_key, format_address, pack_address
from wsgroups.connection.head import RequestHead
from wsgroups.errors import HTTPError

Address = tuple[str, int]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# One `name=value` of a Forwarded element, and what ends it (RFC 7239 section 4).
_PAIR = re.compile(r'\s*([!#$%&\'*+\-.^_`|~\w]+)=("(?:[^"\\]|\\.)*"|[^\s";,]*)\s*([;,]|$)', re.A)
_HOST = re.compile(r"[0-9A-Za-z._~%!$&'()*+;=:\[\]-]+\Z")

_V1_LONGEST = 107  # "The PROXY protocol", section 2.1
_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V2_LONGEST = 4096  # the format allows 64 KiB of further fields, which nobody needs
_V2_SIZES = {0x11: 4, 0x21: 16}  # TCP over IPv4 and IPv6: bytes of one address


class Proxies:
    """The proxies that are believed.

    Args:
        trusted: addresses and networks (`10.0.0.0/8`), `unix` for whoever comes through a Unix
            socket, `*` for everybody.
        header: `x-forwarded-for`, with -proto and -host beside it, or `forwarded`: the one that
            your proxy sets. The other could come from anybody.

    Raises:
        ValueError: for what is no address and no network, or another header.
    """

    def __init__(self, trusted: Iterable[str], header: str) -> None:
        names = set(trusted)
        if header not in ("x-forwarded-for", "forwarded"):
            raise ValueError(
                f"forwarded_header must be 'x-forwarded-for' or 'forwarded', not {header!r}"
            )
        self._uses_forwarded = header == "forwarded"
        self._trusts_all = "*" in names
        self._trusts_unix = self._trusts_all or "unix" in names
        try:
            self._networks: list[Network] = [
                ipaddress.ip_network(name, strict=False) for name in names - {"*", "unix"}
            ]
        except ValueError as error:
            raise ValueError(f"trusted_proxies: {error}") from None

    def trusts(self, peer: bytes) -> bool:
        """True for the `sockaddr` of a proxy that is believed."""
        address = format_address(peer)
        return self._trusts_unix if address is None else self._knows(address[0])

    def _knows(self, host: str) -> bool:
        if self._trusts_all:
            return True
        address = ipaddress.ip_address(host)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    # --- what a request says ----------------------------------------------------------------

    def client(self, peer: bytes, head: RequestHead) -> Address | None:
        """Return the client's address and port, the port 0 when it is not told.

        Each proxy appends whom it has seen. From the right, the first that is no proxy of ours is
        the client; what stands before that is the client's own invention.
        """
        found = format_address(peer)
        if not self.trusts(peer):
            return found
        for text in reversed(self._reported(head)):
            address = _address(text)
            if address is None:
                break
            found = address
            if not self._knows(address[0]):
                break
        return found

    def scheme(self, peer: bytes, head: RequestHead, seen: str) -> str:
        """Return `http` or `https`, as the client used it; `seen` is what we see ourselves."""
        told = self._told(peer, head, "proto", b"x-forwarded-proto").lower()
        told = {"ws": "http", "wss": "https"}.get(told, told)
        return told if told in ("http", "https") else seen

    def host(self, peer: bytes, head: RequestHead, seen: str) -> str:
        """Return the Host header as the client sent it; `seen` is the one that came to us."""
        told = self._told(peer, head, "host", b"x-forwarded-host")
        return told if _HOST.match(told) else seen

    def client_key(self, peer: bytes, head: RequestHead) -> bytes | None:
        """Return what stands for the client where connections are counted."""
        address = self.client(peer, head)
        return None if address is None else address_key(pack_address(*address))

    def _reported(self, head: RequestHead) -> list[str]:
        """The addresses that proxies have appended, the nearest proxy's last."""
        if self._uses_forwarded:
            return [element.get("for", "") for element in _elements(head)]
        return _members(head, b"x-forwarded-for")

    def _told(self, peer: bytes, head: RequestHead, parameter: str, header: bytes) -> str:
        """What the proxy next to us says; empty when it is none of ours or says nothing."""
        if not self.trusts(peer):
            return ""
        if self._uses_forwarded:
            elements = _elements(head)
            return elements[-1].get(parameter, "") if elements else ""
        members = _members(head, header)
        return members[-1] if members else ""


def _members(head: RequestHead, name: bytes) -> list[str]:
    return [part.strip() for line in head.get(name) for part in line.decode("latin-1").split(",")]


def _elements(head: RequestHead) -> list[dict[str, str]]:
    """The elements of all Forwarded lines; one that is malformed is empty, and ends its line."""
    found: list[dict[str, str]] = []
    for line in head.get(b"forwarded"):
        found += _elements_of(line.decode("latin-1"))
    return found


def _elements_of(line: str) -> Iterator[dict[str, str]]:
    element: dict[str, str] = {}
    position = 0
    while position < len(line):
        pair = _PAIR.match(line, position)
        if pair is None:
            yield {}
            return
        name, value, end = pair.groups()
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        element[name.lower()] = value
        position = pair.end()
        if end != ";":
            yield element
            element = {}


def _address(text: str) -> Address | None:
    """The address in `1.2.3.4`, `1.2.3.4:5678`, `2001:db8::1` or `[2001:db8::1]:5678`."""
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ipaddress.ip_address(host)
        number = int(port) if port.isascii() and port.isdigit() else 0
    except ValueError:  # "unknown", a name, an invention
        return None
    return str(address), number if number < 65536 else 0


# --- the PROXY protocol ---------------------------------------------------------------------


def read_proxy_header(data: bytes) -> tuple[int, bytes | None] | None:
    """Take a PROXY header of version 1 or 2 off the beginning of a connection.

    Returns:
        How many bytes it has, and the client's `sockaddr`, or None for that when the proxy speaks
        for itself (a health check). None alone when there are more bytes to come.

    Raises:
        HTTPError: for anything else.
    """
    if data.startswith(_V2_SIGNATURE[: len(data)]):
        return _read_v2(data) if len(data) >= 16 else None
    if data.startswith(b"PROXY "[: len(data)]):
        return _read_v1(data)
    raise HTTPError(400, "A PROXY header is missing.")


def _read_v1(data: bytes) -> tuple[int, bytes | None] | None:
    end = data.find(b"\r\n", 0, _V1_LONGEST)
    if end < 0:
        if len(data) >= _V1_LONGEST:
            raise HTTPError(400, "The PROXY header is too long.")
        return None
    match data[:end].split(b" "):
        case [b"PROXY", b"UNKNOWN", *_]:
            return end + 2, None
        case [b"PROXY", (b"TCP4" | b"TCP6") as family, source, _, port, _]:
            address = _address(source.decode("latin-1"))
            is_v6 = address is not None and ":" in address[0]
            if address and is_v6 == (family == b"TCP6") and port.isdigit() and int(port) < 65536:
                return end + 2, pack_address(address[0], int(port))
    raise HTTPError(400, "The PROXY header is malformed.")


def _read_v2(data: bytes) -> tuple[int, bytes | None] | None:
    command, family, size = data[12], data[13], int.from_bytes(data[14:16], "big")
    if command not in (0x20, 0x21) or size > _V2_LONGEST:
        raise HTTPError(400, "The PROXY header is malformed.")
    if len(data) < 16 + size:
        return None
    width = _V2_SIZES.get(family)
    if command == 0x20 or width is None:  # the proxy itself, or something without an IP address
        return 16 + size, None
    if size < 2 * width + 4:
        raise HTTPError(400, "The PROXY header is malformed.")
    host = str(ipaddress.ip_address(data[16 : 16 + width]))
    port = int.from_bytes(data[16 + 2 * width : 18 + 2 * width], "big")
    return 16 + size, pack_address(host, port)
