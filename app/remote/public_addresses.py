"""Which addresses a URL of a stranger may lead to: those of the public internet, and no other."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address

from engines.errors import InvalidInputError

# Python's is_global depends on its patch release: 3.11.7 still calls 192.0.0.192 and all of 2002::/16 global.
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")  # the only part that IANA has opened
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # IPv4 in its last 32 bits
_6TO4 = ipaddress.IPv6Network("2002::/16")
_NOT_PUBLIC_IPV4 = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments; Oracle's metadata service
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's, behind an address that looks public
)


async def resolve_public(host: str, port: int) -> str:
    """Return an address of `host` to connect to, once all of its addresses are known to be public.

    Raises:
        InvalidInputError: when the host is unknown or any of its addresses is not public.
    """
    try:
        addresses = await _resolve(host, port)
    except (OSError, UnicodeError):
        addresses = []
    if not addresses:
        raise InvalidInputError("the host of the image URL cannot be found")
    if not all(map(is_public, addresses)):
        raise InvalidInputError("the host of the image URL is not on the public internet")
    return next((address for address in addresses if ":" not in address), addresses[0])


def is_public(address: str) -> bool:
    """Say whether an address belongs to the public internet, as does any IPv4 address inside it."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # such as a link-local one with its interface, "fe80::1%eth0"
        return False
    if isinstance(ip, IPv6Address):
        embedded = _embedded_ipv4(ip)
        if embedded is not None:
            return _is_public_ipv4(embedded)
        return ip.is_global and ip in _PUBLIC_IPV6 and ip not in _6TO4
    return _is_public_ipv4(ip)


def _is_public_ipv4(ip: IPv4Address) -> bool:
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC_IPV4)


def _embedded_ipv4(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that packets to `ip` reach; 6to4 has no such use any more and is refused."""
    return ip.ipv4_mapped or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
