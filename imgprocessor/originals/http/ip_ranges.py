"""Which IP addresses may be connected to: public ones.

Told by what is known to be public, never by listing what is not. Python's own `is_global` is
not enough: that of 3.11 calls `64:ff9b::7f00:1` (127.0.0.1 by NAT64), `::127.0.0.1`, multicast and
the old site-local addresses global.
"""

import ipaddress

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The only IPv6 addresses that were ever given to anybody (IANA)."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as a network without IPv4 sees them (RFC 6052): what the IPv4 address is."""

_RESERVED_6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # for protocols (RFC 2928): Teredo, which holds an IPv4 address, and others
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4 (RFC 3056), which holds an IPv4 address
        "3fff::/20",  # documentation (RFC 9637), later than Python 3.11
    )
)
_RESERVED_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "192.0.0.0/24",  # for protocols (RFC 6890), and a cloud's metadata at .192
        "192.88.99.0/24",  # 6to4's relays (RFC 7526)
        "168.63.129.16/32",  # the platform's own address on every machine of Azure
    )
)

_ISATAP = 0x5EFE
"""In the middle of an interface's identifier, before an IPv4 address (RFC 5214); the bit that says
whether that is unique in the world may be set.
"""
_ISATAP_UNIQUE = 0x0200_0000


def is_global(text: str) -> bool:
    """Whether an IP address is public: neither this machine's, nor a network's own, nor one
    that stands for such.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return _is_global_4(address)
    return address.scope_id is None and _is_global_6(address)


def _is_global_6(address: ipaddress.IPv6Address) -> bool:
    isatap = (int(address) >> 32 & 0xFFFF_FFFF) & ~_ISATAP_UNIQUE == _ISATAP
    if (address in _NAT64 or isatap) and not _is_global_4(_last_four(address)):
        return False
    if address in _NAT64:
        return True
    reserved = any(address in network for network in _RESERVED_6)
    return address in _GLOBAL_UNICAST and address.is_global and not reserved


def _is_global_4(address: ipaddress.IPv4Address) -> bool:
    reserved = any(address in network for network in _RESERVED_4)
    return address.is_global and not address.is_multicast and not reserved


def _last_four(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
