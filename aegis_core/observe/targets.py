"""Where an outgoing message may go: a name is resolved once, judged, and that very address is connected to."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aegis_core.protocol.errors import ChannelError

_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_METADATA = frozenset({ip_address("168.63.129.16"), ip_address("192.0.0.192")})
"""Metadata services at addresses that `ipaddress` may call global (Azure's, Oracle's); all others are link-local,
private or shared."""
_RESERVED = tuple(map(ip_network, ("192.0.0.0/24", "::/96", "3fff::/20", "5f00::/16")))
"""Protocol assignments, IPv4 in the outdated form ``::127.0.0.1``, documentation and segment routing: older versions of
Python call them global."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """True for an address of the open internet; false for loopback, private, link-local, multicast and metadata ones,
    also where an IPv6 address only wraps one of those."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64[0]:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address in _NAT64[1] or address.is_site_local:
            return False
    reserved = address in _METADATA or any(address in network for network in _RESERVED)
    return address.is_global and not address.is_multicast and not reserved


async def resolve(host: str, port: int, *, allow_private: bool, private_variable: str) -> str:
    """The one address to connect to. `private_variable`: the setting that would allow a private one.

    Raises:
        ChannelError: the name leads nowhere, or to an address that is not public.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ChannelError(f"{host} cannot be resolved: {error.strerror}") from None
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not allow_private:
        for address in addresses:  # one bad address is enough: which one is connected to is not left to chance
            if not is_public(address):
                raise ChannelError(
                    f"{host} leads to {address}, which is not a public address; if it is meant, set {private_variable}"
                )
    return str(addresses[0])
