"""Addresses of the public internet, and an HTTP client that connects to no others.

A name is looked up when a connection is made, and a server may redirect: the address that a socket is opened for is the
only one to judge.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .errors import Forbidden

_HOLD_IPV4 = [ipaddress.ip_network(network) for network in ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")]
"""IPv6 addresses that end in the IPv4 address that they stand for."""
_PRIVATE = [ipaddress.ip_network(network) for network in ("192.0.0.0/24", "64:ff9b:1::/48", "5f00::/16")]
"""What Python's table calls global, or did in some versions."""
_ADVICE = "is in a private network: let whoever runs this service make a datastore of it"


def is_public(address: str) -> bool:
    """Whether anyone could reach the address: it is not loopback, link-local, private, shared or multicast.

    An IPv6 address that stands for an IPv4 address is as public as that.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if any(ip in network for network in _HOLD_IPV4):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _PRIVATE)


def check_public(url: str) -> None:
    """Refuse a URL whose host is in a private network as far as this machine knows. Raises Forbidden.

    A host that is not known here is left to the machine that fetches.
    """
    try:
        parts = urlsplit(url)
        found = socket.getaddrinfo(parts.hostname or "", parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return
    if not all(is_public(str(entry[4][0])) for entry in found):
        raise Forbidden(f"{parts.hostname!r} {_ADVICE}")


async def _public_client(**options: Any) -> Any:
    import aiohttp

    # One address after the other: an error of ours that is raised in a race between them would be lost.
    connector = aiohttp.TCPConnector(socket_factory=_open_public, happy_eyeballs_delay=None)
    return aiohttp.ClientSession(connector=connector, **options)


def _open_public(about: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, address = about
    if not is_public(str(address[0])):
        raise Forbidden(f"{address[0]} {_ADVICE}")
    return socket.socket(family=family, type=kind, proto=protocol)


PUBLIC_ONLY: Mapping[str, Any] = {"get_client": _public_client}
"""fsspec options of a web server that is reached on the public internet only."""
