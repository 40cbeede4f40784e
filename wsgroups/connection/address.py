"""Addresses of peers, as the kernel gives them."""

from __future__ import annotations

import socket
import sys

SOCKADDR_SIZE = 28  # of a sockaddr_in6

_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address in an IPv6 one (RFC 4291 section 2.5.5.2)


def format_address(address: bytes) -> tuple[str, int] | None:
    """Return `(address, port)` of a `sockaddr_in` or `sockaddr_in6`; None for a Unix socket.

    An inherited socket may take IPv4 as well (IPV6_V6ONLY is off): its clients have IPv4 addresses.
    """
    family = int.from_bytes(address[:2], sys.byteorder)
    port = int.from_bytes(address[2:4], "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, address[4:8]), port
    if family == socket.AF_INET6:
        if address[8:20] == _MAPPED:
            return socket.inet_ntop(socket.AF_INET, address[20:24]), port
        return socket.inet_ntop(socket.AF_INET6, address[8:24]), port
    return None


def pack_address(host: str, port: int) -> bytes:
    """Return the `sockaddr_in` or `sockaddr_in6` of an IP address, as long as the longer one."""
    if ":" in host:
        family, packed = socket.AF_INET6, bytes(4) + socket.inet_pton(socket.AF_INET6, host)
    else:
        family, packed = socket.AF_INET, socket.inet_pton(socket.AF_INET, host)
    address = family.to_bytes(2, sys.byteorder) + port.to_bytes(2, "big") + packed
    return address.ljust(SOCKADDR_SIZE, b"\0")


def address_key(address: bytes) -> bytes | None:
    """Return what stands for one client: an IPv4 address, or the network of an IPv6 address.

    Who has one IPv6 address has at least 2**64 of them (RFC 6177). None for a Unix socket.
    """
    family = int.from_bytes(address[:2], sys.byteorder)
    if family == socket.AF_INET:
        return address[4:8]
    if family == socket.AF_INET6:
        if address[8:20] == _MAPPED:
            return address[20:24]
        return address[8:16]
    return None


def describe_address(address: bytes) -> str:
    """Return the same for a line of the log."""
    found = format_address(address)
    return "a Unix socket" if found is None else f"{found[0]} port {found[1]}"
