"""Who may change something: by a token, or as a program on this machine; never another site."""

import hmac
import ipaddress
import re
from collections.abc import Sequence

from flask import g
from werkzeug.wrappers import Request

from imgprocessor.config.secrets import bearer_token
from imgprocessor.config.upload_tokens import LOOPBACK, UploadRight, UploadToken, token_hash
from imgprocessor.errors import Forbidden, ImageError, NotAuthorized, TooLarge, TooManyRequests
from imgprocessor.reporting import complain
from imgprocessor.storage.uploads.allowance import Allowance
from imgprocessor.storage.uploads.durable import told_in_words
from imgprocessor.web.incoming import Environ, came_by_proxy

_HOST = r"(\[[0-9a-f:.]+\]|[^][/:@?#\s,]+)(?::([0-9]{1,5}))?"
_PORTS = {"http": "80", "https": "443"}

_ANOTHER_SITE = "Pages of other sites may not send this."
_NOT_HERE = (
    "Where there are no tokens, only programs on this machine may, and not by way of a proxy."
)
_NOT_THIS_HOST = "Where there are no tokens, pages may only be those of localhost."


class Permission:
    """Lets requests through that change something, and counts them."""

    def __init__(self, tokens: Sequence[UploadToken], allowance: Allowance) -> None:
        """Use tokens; without any, programs on this machine may all."""
        self._tokens = tokens
        self._allowance = allowance

    def require(self, request: Request, right: UploadRight, size_bytes: int) -> str:
        """Let a request do what needs a right; return whom to name as the one who did it: the
        token, or `loopback`. The log's line has it as `by`.

        `size_bytes` is what the request says that its body has, before any of it is read. It is not
        given back where less arrives, or the upload is refused: or a client could send for ever.

        Raises:
            NotAuthorized: there are tokens, and the request has none of them.
            Forbidden: another site's page sends it, the token has not the right, or there are no
                tokens and it comes from elsewhere.
            TooLarge: it is more than the token may send in an hour.
            TooManyRequests: it is more than is left of this hour.
            NoRoom, UploadsUnavailable: it cannot be counted.
        """
        _require_own_page(request.environ)
        if not self._tokens:
            _require_this_machine(request.environ)
            g.entry["by"] = LOOPBACK
            return LOOPBACK
        token = self._token(request)
        g.entry["by"] = token.name
        if right not in token.may:
            may = ", ".join(sorted(token.may))
            raise Forbidden(f"This token may not do that ({right}), but: {may}.")
        self._count(token, size_bytes)
        return token.name

    def _token(self, request: Request) -> UploadToken:
        # Not `request.authorization`, which fails on some headers.
        given = bearer_token(request.headers.get("Authorization", ""))
        if not given:
            raise NotAuthorized("no token")
        digest = token_hash(given)
        # All of them, so that the time says nothing of which is like it.
        found = [one for one in self._tokens if hmac.compare_digest(one.sha256, digest)]
        if not found:
            raise NotAuthorized("a token that is not known")
        return found[0]

    def _count(self, token: UploadToken, size_bytes: int) -> None:
        if size_bytes > token.max_bytes_an_hour:
            raise TooLarge(token.max_bytes_an_hour)
        try:
            with told_in_words():
                wait_seconds = self._allowance.take(
                    token.name,
                    requests=1,
                    size_bytes=size_bytes,
                    max_requests=token.max_requests_an_hour,
                    max_bytes=token.max_bytes_an_hour,
                )
        except ImageError as error:
            complain(f"cannot count what tokens have used: {error}")
            raise
        if wait_seconds is not None:
            raise TooManyRequests(wait_seconds)


def _is_browsers(environ: Environ) -> bool:
    return "HTTP_ORIGIN" in environ or "HTTP_SEC_FETCH_SITE" in environ


def _require_own_page(environ: Environ) -> None:
    """Refuse what a browser sends for another site's page.

    Raises:
        Forbidden: it is that, or may be.
    """
    if not _is_browsers(environ):
        return
    origin, site = environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE")
    if origin is None:
        is_own = site in {"same-origin", "none"}
    elif origin == "null":
        # A form of a page that sends no referrer: only the browser's own word tells it from others.
        is_own = site == "same-origin"
    else:
        is_own = site in {"same-origin", "none", None} and _is_this_host(
            str(origin), str(environ.get("HTTP_HOST", ""))
        )
    if not is_own:
        raise Forbidden(_ANOTHER_SITE, f"origin {origin!a:.200}, site {site!a:.50}")


def _is_this_host(origin: str, host: str) -> bool:
    """Whether an origin is the host that the request names, by name and port: of the scheme a proxy
    may have said nothing.
    """
    named = re.fullmatch(f"(https?)://{_HOST}", origin.lower())
    here = re.fullmatch(_HOST, host.lower())
    if named is None or here is None:
        return False
    port = _PORTS[named[1]]
    return (named[2], named[3] or port) == (here[1], here[2] or port)


def _require_this_machine(environ: Environ) -> None:
    """Refuse what does not come from a program on this machine.

    Raises:
        Forbidden: it comes from elsewhere, or may.
    """
    address = str(environ.get("REMOTE_ADDR", ""))
    if not _is_loopback(address) or came_by_proxy(environ):
        raise Forbidden(_NOT_HERE, f"from {address!a:.100}")
    # Another site's name may lead to this machine, and its pages are of one origin with it then.
    host = re.fullmatch(_HOST, str(environ.get("HTTP_HOST", "")).lower())
    name = host[1].strip("[]") if host else ""
    is_local = _is_loopback(name) or name == "localhost" or name.endswith(".localhost")
    if _is_browsers(environ) and not is_local:
        raise Forbidden(_NOT_THIS_HOST, f"host {name!a:.100}")


def _is_loopback(address: str) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(known, "ipv4_mapped", None) or known).is_loopback
