"""What is asked for: whether it is a picture, whether its link is ours, and what the log says."""

import re
import time
from typing import NamedTuple

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.errors import ImageError
from imgprocessor.request.signing import Signing
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.understanding import Planned, Understood
from imgprocessor.web.caching import until
from imgprocessor.web.incoming import Environ, asked_of_cache, named_in_path
from imgprocessor.web.log import Entry, planned_entry

PLACES = ("images", "image", "media")
"""First segments of paths of pictures; the first has them by a query, too."""

NAME = r"(?!-(?:/|$))[^/](?:.|\n)*"
"""A pattern of what names a picture in a path; what begins with `-` is the operator's."""

_PICTURE = re.compile(rf"/{PLACES[0]}/|/(?:{'|'.join(PLACES)})/({NAME})")


UNDERSTOOD, FOUND, FAILED, TRIED = (
    f"imgprocessor.{word}" for word in ("understood", "found", "failed", "tried")
)
"""By which WSGI's environment has what was found out of a request already: an `Understood`, a
`Found` that is good for one trial, what was raised when it was to be found or answered, and how
many trials purges have spoilt.
"""


class CheckedLink(NamedTuple):
    """What is known of a request's link."""

    wrong: ImageError | None = None
    """Why it is no link of ours, where links must be signed."""
    expires: int | None = None
    """In seconds since 1970, if ever."""

    def left(self, freshness: FreshnessSettings) -> FreshnessSettings:
        """Return how long an answer that is sent now may be kept: no copy outlives its link."""
        if self.expires is None:
            return freshness
        return until(freshness, max(0, int(self.expires - time.time())))


def checked_link(
    signing: Signing | None, asked: Understood, *, is_full: bool = False
) -> CheckedLink:
    """Check a request's link, where it must be signed; `is_full` where it is for an original."""
    if signing is None:
        return CheckedLink()
    try:
        return CheckedLink(None, signing.require(asked.first.parsed, time.time(), is_full=is_full))
    except ImageError as error:
        return CheckedLink(error)


def is_picture(environ: Environ) -> bool:
    """Whether a picture is asked for by a path that may name one."""
    known = _PICTURE.fullmatch(str(environ.get("PATH_INFO", "")))
    return known is not None and (known[1] is None or names_picture(environ))


def names_picture(environ: Environ) -> bool:
    """Whether the path, as it came, names a picture: a slash that is escaped names nothing."""
    path = named_in_path(environ)
    return path is not None and "%2f" not in path.lower()


def decided(delivery: Delivery, environ: Environ, planned: Planned) -> Entry:
    """Say what was decided and why: behind a cache, why it spelled the request so."""
    asked = asked_of_cache(environ)
    reasons = planned.decision
    for reading in delivery.understand(asked).readings if asked else ():
        if isinstance(reading.outcome, Planned):
            reasons = reading.outcome.decision
            if reading.outcome.imagekey == planned.imagekey:
                break
    return planned_entry(planned, reasons)
