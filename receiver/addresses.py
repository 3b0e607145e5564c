"""Whose request it is: the address of a client, also behind proxies. Does no I/O."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address

#: Entries of a forwarding header that are looked at, from the right: longer chains of proxies are nobody's.
_HOPS: Final = 16
#: Bits of an IPv6 address that name a customer; the rest is the customer's own to choose.
#: https://www.rfc-editor.org/rfc/rfc6177
_CUSTOMER_BITS: Final = 64
#: `192.0.2.1:443` and `[2001:db8::1]:443`, as some proxies write them.
_WITH_PORT: Final = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


def client_address(environ: Mapping[str, Any], trusted: Sequence[Network]) -> str:
    """Return the address that a WSGI request comes from; "" when there is none, as over a Unix socket.

    Only a trusted proxy is believed: `X-Forwarded-For` is read from the right, past all that are trusted, and what
    stands left of the first address that is not may be anybody's invention.
    """
    peer = _parsed(str(environ.get("REMOTE_ADDR") or ""))
    if peer is None:
        return ""
    forwarded = str(environ.get("HTTP_X_FORWARDED_FOR", ""))
    for entry in reversed(forwarded.rsplit(",", _HOPS)[-_HOPS:]):
        if not _is_in(peer, trusted) or (before := _parsed(entry)) is None:
            break
        peer = before
    return str(peer)


def neighbourhood(address: str) -> str:
    """Return what one client can change its address within: the address itself, of IPv6 its /64."""
    parsed = _parsed(address)
    if not isinstance(parsed, IPv6Address):
        return address
    return str(ip_network((int(parsed), _CUSTOMER_BITS), strict=False))


def _is_in(address: _Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _parsed(text: str) -> _Address | None:
    text = text.strip()
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # What a listener for both families sees of IPv4.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
