"""Addresses of the Internet: which URLs may be fetched, and which IP addresses connected to.

Decides, and asks nobody. What may be connected to is told by what is known to be everybody's, never
by listing what is not. Python's own `is_global` is not enough: that of 3.11 calls `64:ff9b::7f00:1`
(127.0.0.1 by NAT64), `::127.0.0.1`, multicast and the old site-local addresses global.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urldefrag, urljoin

from imgprocessor.readers import LABEL

CHARACTER = r"[A-Za-z0-9._~!$'()*+,;:@/?=%-]"
"""What may stand in a query string unescaped (RFC 3986, 3.4), but for `&`, which ends a value."""

PORTS = {"http": 80, "https": 443}
"""The port of each scheme; either may be named with either scheme, and no other."""

_COLON, _SLASH = "(?::|%3[Aa])", "(?:/|%2[Ff])"
_NAME = rf"{LABEL}(?:[.]{LABEL})*"
_PORT = "(?:80|443)"

_URL = re.compile(rf"(https?)://({_NAME})(?::({_PORT}))?([/?].*)?", re.DOTALL)

_SCHEMES = tuple(f"{scheme}://" for scheme in PORTS)

_TARGET_SAFE = "%/?:@!$&'()*+,;=-._~"
"""What stays as it is in a request's target; all else is escaped, as browsers do."""

_MAX_HOST_CHARACTERS = 253
"""Of names in the DNS (RFC 1035)."""

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


@dataclass(frozen=True)
class RemoteUrl:
    """A URL that is well formed; whether its host may be asked is another question."""

    scheme: str
    host: str
    """A name in lower case."""
    port: int
    target: str
    """Path and query, as they go out."""

    def __str__(self) -> str:
        """Return the one spelling of it."""
        return f"{self.origin}{self.target}"

    @property
    def origin(self) -> str:
        """What is connected to, and how: scheme, host, and a port that is not the scheme's own."""
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def is_url(name: str) -> bool:
    """Whether what an original is called is a URL. No file's name is: it has no empty parts."""
    return name.startswith(_SCHEMES)


def read_url(text: str) -> RemoteUrl:
    """Read a URL that is decoded.

    Raises:
        ValueError: it is none that could ever be fetched; the message says what would be right.
    """
    if re.search(r"[\x00-\x1f\x7f\\#]", text):
        raise ValueError("must have no control characters, no backslashes and no #")
    found = _URL.fullmatch(text)
    if not found or len(found[2]) > _MAX_HOST_CHARACTERS:
        raise ValueError(
            "must be such as https://images.example.org/a.jpg: http or https, a host's name, port"
            " 80 or 443 if any, no user"
        )
    scheme, host, port, target = found.groups(default="")
    target = quote(target if target.startswith("/") else f"/{target}", safe=_TARGET_SAFE)
    return RemoteUrl(scheme, host.lower(), int(port or PORTS[scheme]), target)


def redirected(url: RemoteUrl, location: str) -> RemoteUrl:
    """Return where a redirect leads.

    Raises:
        ValueError: as `read_url` does; or from https to http, where anybody may change what comes.
    """
    if re.search(r"[\x00-\x20\x7f\\]", location):
        raise ValueError("must have no control characters, no blanks and no backslashes")
    there = read_url(urldefrag(urljoin(str(url), location)).url)
    if url.scheme == "https" and there.scheme != "https":
        raise ValueError("must not lead from https to http")
    return there


def is_allowed(host: str, hosts: Sequence[str]) -> bool:
    """Whether a host is on the list: by its name, or under one that begins with `*.`."""
    return any(host.endswith(known[1:]) if known[:2] == "*." else host == known for known in hosts)


def spelled_url(hosts: Sequence[str] | None = None) -> str:
    """Return a pattern of URLs as they are spelled in a query string, of these hosts alone, where
    they are given. Scheme, host and port have no escapes but for `:` and `/`, so that caches in
    front read them as this server does.
    """
    host = _NAME if hosts is None else "|".join(map(_host_pattern, hosts))
    return (
        f"https?{_COLON}{_SLASH}{{2}}(?i:{host})(?:{_COLON}{_PORT})?"
        f"(?:(?:[/?]|%2[Ff]|%3[Ff]){CHARACTER}*)?"
    )


def _host_pattern(known: str) -> str:
    name = known.removeprefix("*.").replace(".", "[.]")
    return f"(?:{LABEL}[.])+{name}" if known.startswith("*.") else name


def is_global(text: str) -> bool:
    """Whether an IP address is everybody's: neither this machine's, nor a network's own, nor one
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
