"""What clients and caches may keep, for how long, and whether a copy is still good."""

from dataclasses import replace

from werkzeug.datastructures import ETags
from werkzeug.http import parse_date, parse_etags

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.web.incoming import Environ

_CONDITIONS = {"HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"}


def has_conditions(environ: Environ) -> bool:
    """Whether the client has a copy of its own, and says which."""
    return not _CONDITIONS.isdisjoint(environ)


def is_current(environ: Environ, etag: str, modified_seconds: int) -> bool:
    """Whether the client's own copy is still good (RFC 9110, 13.2.2), by when the original was
    modified, in seconds since 1970.
    """
    if not has_conditions(environ):
        return False
    etags = _etags(environ)
    if etags:
        return etags.contains_weak(etag)
    try:
        since = parse_date(_header(environ, "HTTP_IF_MODIFIED_SINCE"))
    except OverflowError:  # a year or a zone that no calendar has
        return False
    return since is not None and modified_seconds <= since.timestamp()


def has_copy(environ: Environ, etag: str) -> bool:
    """Whether the client has the very answer that this is the validator of."""
    return _etags(environ).contains_weak(etag)


def _etags(environ: Environ) -> ETags:
    return parse_etags(_header(environ, "HTTP_IF_NONE_MATCH"))


def _header(environ: Environ, name: str) -> str | None:
    value = environ.get(name)
    return None if value is None else str(value)


def browsers_seconds(most: int, asked: int | None) -> int:
    """Return how long browsers may keep an answer, in seconds: the request's `ct` can lower it."""
    return most if asked is None else min(most, asked)


def of_quick(freshness: FreshnessSettings) -> FreshnessSettings:
    """Return how long a picture may be kept that was made quickly: a better one is on its way."""
    most = freshness.quick_max_age_seconds
    return replace(
        freshness,
        max_age_seconds=min(freshness.max_age_seconds, most),
        degraded_max_age_seconds=min(freshness.degraded_max_age_seconds, most),
        shared_max_age_seconds=min(freshness.shared_max_age_seconds, most),
        stale_while_revalidate_seconds=min(freshness.stale_while_revalidate_seconds, most),
    )


def until(freshness: FreshnessSettings, left_seconds: int) -> FreshnessSettings:
    """Return how long the answer to a link may be kept that ends in so many seconds.

    A cache may hand on its copy on the last second, without saying how old that is, to a browser
    that keeps it as long again: both times together are no longer than what is left. Nothing is
    sent when it is old.
    """
    shared = min(freshness.shared_max_age_seconds, left_seconds // 2)
    own = left_seconds - shared
    return replace(
        freshness,
        max_age_seconds=min(freshness.max_age_seconds, own),
        degraded_max_age_seconds=min(freshness.degraded_max_age_seconds, own),
        shared_max_age_seconds=shared,
        stale_while_revalidate_seconds=0,
        stale_if_error_seconds=0,
        not_found_max_age_seconds=min(freshness.not_found_max_age_seconds, left_seconds // 2),
    )
