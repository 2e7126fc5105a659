"""Which network addresses a registry may send us to. Pure, but for ``resolve``.

A registry answers with addresses of its own choice: redirects of blobs, a place for tokens, a place
for uploads. One on the internet must not reach into the network of whoever pulls (SSRF), and none
may reach a cloud's metadata at 169.254.169.254.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from enum import IntEnum

MAX_ADDRESSES = 4
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out to the world; more may be later."""


class Reach(IntEnum):
    """How near an address is. What is at one reach may lead to the same or a lower one."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    NEVER = 3


def reach_of(address: str) -> Reach:
    """Of an IP address as ``resolve`` gives it."""
    found = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    if found.is_loopback:
        return Reach.LOOPBACK
    if found.is_link_local or found.is_multicast or found.is_unspecified:
        return Reach.NEVER
    if found.is_global and (found.version == 4 or found in _UNICAST):
        return Reach.PUBLIC
    return Reach.NEVER if found.is_reserved else Reach.PRIVATE


def is_loopback_host(host: str) -> bool:
    """Whether the name, without port, is this machine's own: plain HTTP to it is safe."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises OSError."""
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:MAX_ADDRESSES]


def limit_of(addresses: Sequence[str]) -> Reach:
    """How near a registry at these addresses may lead: as near as its farthest one. One that a
    user put at a link-local address counts as private."""
    reach = min(map(reach_of, addresses))
    return Reach.PRIVATE if reach == Reach.NEVER else reach


def within(addresses: Sequence[str], limit: Reach) -> list[str]:
    """Those at most as near as ``limit``."""
    return [address for address in addresses if reach_of(address) <= limit]


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that a gateway or the kernel would unpack."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
