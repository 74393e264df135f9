"""What clients and caches may keep, for how long, and whether a copy is still good."""

import time
from dataclasses import dataclass, replace

from flask import Request

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.service.delivery import Found

_CONDITIONS = {"HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"}

_NS = 1_000_000_000


@dataclass(frozen=True)
class Validators:
    """What a browser or cache may ask with whether its copy is still good."""

    etag: str
    modified_seconds: int


def validators(found: Found) -> Validators:
    """Return the validators of a picture whose original was found."""
    # A modification in the future would be a validator that never gets old (RFC 9110, 8.8.2.1).
    modified = min(found.original.modified_ns // _NS, int(time.time()))
    return Validators(found.etag, modified)


def is_current(request: Request, found: Found) -> bool:
    """Whether the client's own copy is still good (RFC 9110, 13.2.2)."""
    if not _CONDITIONS & request.environ.keys():
        return False
    valid = validators(found)
    if request.if_none_match:
        return request.if_none_match.contains_weak(valid.etag)
    try:
        since = request.if_modified_since
    except OverflowError:  # a year or a zone that no calendar has
        return False
    return since is not None and valid.modified_seconds <= since.timestamp()


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
