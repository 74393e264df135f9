"""Which URLs of originals are well formed, and which hosts are on the operator's list."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urldefrag, urljoin

from imgprocessor.config.types import LABEL
from imgprocessor.request.number_patterns import literal

CHARACTER = r"[A-Za-z0-9._~!$'()*+,;:@/?=%-]"
"""What may stand in a query string unescaped (RFC 3986, 3.4), but for `&`, which ends a value."""

PORTS = {"http": 80, "https": 443}
"""The port of each scheme; either may be named with either scheme, and no other."""

_COLON, _SLASH = "(?::|%3[Aa])", "(?:/|%2[Ff])"
_NAME = rf"{LABEL}(?:[.]{LABEL})*"
_PORT = "(?:80|443)"

_URL = re.compile(rf"(https?)://({_NAME})(?::({_PORT}))?([/?].*)?", re.DOTALL)

_TARGET_SAFE = "%/?:@!$&'()*+,;=-._~"
"""What stays as it is in a request's target; all else is escaped, as browsers do."""

_MAX_HOST_CHARACTERS = 253
"""Of names in the DNS (RFC 1035)."""


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
    name = literal(known.removeprefix("*."))
    return f"(?:{LABEL}[.])+{name}" if known.startswith("*.") else name
