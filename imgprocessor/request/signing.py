"""Signed links: what is signed, how, and whether a signature is right."""

import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

from imgprocessor.errors import BadSignature
from imgprocessor.request.names import spell
from imgprocessor.request.parameters import AUTHORS, PROOFS, ImageQuery
from imgprocessor.request.query import ParsedQuery, as_sent, parse, parse_path, url_parts

EXPIRES, SIGNATURE = PROOFS

SIGNATURE_PATTERN = "[A-Za-z0-9_-]{43}"
"""Base64url without padding (RFC 4648, 5) of 256 bits."""

EXPIRES_PATTERN = "[1-9][0-9]{0,11}"
"""Seconds since 1970. One spelling for each, so that caches keep no link twice."""

_PURPOSE = "imgprocessor link 1\n"
"""Before what is signed, so that the same key signs nothing else, and no later form, alike."""

_FULL_PURPOSE = "imgprocessor full 1\n"
"""The same for originals as they are: no link to a picture opens one."""

_LONGEST_SIDE = 999_999_999
"""As long as a side can be spelled: only the server knows the limit."""


@dataclass(frozen=True)
class Signing:
    """Tells links that were signed from others."""

    keys: tuple[str, ...] = field(repr=False)
    """Any of them may have signed."""

    def require(self, parsed: ParsedQuery, now: float, *, is_full: bool = False) -> int | None:
        """Check a link, be it to a picture or to an original as it is; return when it expires, in
        seconds since 1970, if ever.

        Raises:
            BadSignature: it is not signed, or not rightly, or it has expired.
            BadQuery: as `ParsedQuery.require` does; what makes no sense cannot be signed.
        """
        query = parsed.require()
        signature, expires = _read_proof(parsed)
        signed = canonical(query, expires, is_whole_path=parsed.is_whole_path)
        # Every key is tried, and each comparison takes as long as any other: how long it took
        # tells nothing about what would have been right.
        right = [
            hmac.compare_digest(
                _signature(signed, key, is_full=is_full).encode(), signature.encode()
            )
            for key in self.keys
        ]
        if not any(right):
            raise BadSignature(f"no key signs {signed!r} like that")
        if expires is not None and now >= expires:
            raise BadSignature(expired=True)
        return expires


def sign(url: str, key: str, expires: int | None = None) -> str:
    """Return a URL, or a query string alone, with its signature.

    A signature and an expiry that are there already are replaced.

    Args:
        url: as it will stand in the page. All that follows its first `?` is the query string; where
            there is none, all of it is, unless it is a path with a name.
        key: a line of the file of keys.
        expires: seconds since 1970; from then on the link is a 403. None: never.

    Raises:
        BadQuery: as `parse_query` does; but how long a side may be, only the server knows.
        ValueError: it cannot expire then.
    """
    if expires is not None and not re.fullmatch(EXPIRES_PATTERN, str(expires)):
        raise ValueError("must be seconds since 1970, from 1 to 999999999999")
    before, path, asked, fragment, is_full = url_parts(url)
    parts = [part for part in asked.split("&") if _word(part) not in {"", SIGNATURE, EXPIRES}]
    query_string = as_sent("&".join(parts))
    if path is None:
        parsed = parse(query_string, _LONGEST_SIDE)
    else:
        parsed = parse_path(path, query_string, _LONGEST_SIDE)[0]
    signed = canonical(parsed.require(), expires, is_whole_path=parsed.is_whole_path)
    if expires is not None:
        parts.append(f"{EXPIRES}={expires}")
    parts.append(f"{SIGNATURE}={_signature(signed, key, is_full=is_full)}")
    mark, hash_mark = "?" if before else "", "#" if fragment else ""
    return f"{before}{mark}{'&'.join(parts)}{hash_mark}{fragment}"


def canonical(query: ImageQuery, expires: int | None = None, *, is_whole_path: bool = False) -> str:
    """Return the one spelling of all links that mean the same to their author.

    It has what was understood: the name decoded and spelled anew, numbers without leading zeros,
    new spellings for old ones, nothing that is at its default; by parameter, in the order of their
    names. A name from a path stands before them with a slash, whatever is read out of it: which
    reading counts depends on what is there.
    """
    rows = ((row, getattr(query, row.name)) for row in AUTHORS)
    said = {row.name: row.value.write(value) for row, value in rows if value != row.default}
    if expires is not None:
        said[EXPIRES] = str(expires)
    path = f"/{spell(query.name)}?" if is_whole_path else ""
    if is_whole_path:
        del said["name"]
    return path + "&".join(f"{name}={value}" for name, value in sorted(said.items()))


def _signature(signed: str, key: str, *, is_full: bool) -> str:
    purpose = _FULL_PURPOSE if is_full else _PURPOSE
    digest = hmac.digest(key.encode(), (purpose + signed).encode(), "sha256")
    return urlsafe_b64encode(digest).decode().rstrip("=")


def _read_proof(parsed: ParsedQuery) -> tuple[str, int | None]:
    """Return signature and expiry as they are spelled; each has one spelling."""
    values = dict(parsed.proofs)
    signature, expires = values.get(SIGNATURE, ""), values.get(EXPIRES)
    if len(values) < len(parsed.proofs):
        raise BadSignature("signature or expires is given twice")
    if not re.fullmatch(SIGNATURE_PATTERN, signature):
        raise BadSignature("no signature, or it is not spelled as one")
    if expires is None:
        return signature, None
    if not re.fullmatch(EXPIRES_PATTERN, expires):
        raise BadSignature("expires is not spelled as a moment")
    return signature, int(expires)


def _word(part: str) -> str:
    return part.partition("=")[0]
