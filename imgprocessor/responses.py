"""Answers as HTTP: status, headers and body, for pictures and for failures."""

import json
import time
from dataclasses import dataclass
from email.utils import formatdate

from werkzeug.wrappers import Response

from imgprocessor.errors import ImageError, NotFound
from imgprocessor.placeholder import Stand
from imgprocessor.render import Rendition
from imgprocessor.service import Found, Planned
from imgprocessor.settings import FreshnessSettings

IMAGEKEY = "imagekey"
IMAGE_DECISION = "image-decision"
IMAGE_ERROR = "image-error"
IMAGE_ERROR_DETAIL = "image-error-detail"

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


def picture(found: Found, rendition: Rendition | None, freshness: FreshnessSettings) -> Response:
    """Answer with the picture; without a rendition, with all that is known before rendering."""
    response = _response(found.planned, rendition)
    _add_kept(response, found, freshness)
    if rendition is not None:
        spent = {"find": found.find_milliseconds, **rendition.milliseconds}
        timing = ", ".join(f"{part};dur={ms:.1f}" for part, ms in spent.items())
        response.headers["Server-Timing"] = timing
    return response


def not_modified(found: Found, freshness: FreshnessSettings) -> Response:
    """Answer that the copy the client has is still good."""
    response = Response(status=304)
    _add_kept(response, found, freshness)
    return response


def failure(
    error: ImageError, stand: Stand, freshness: FreshnessSettings, *, as_json: bool
) -> Response:
    """Answer with the right status and the placeholder; with text where there is no picture."""
    if as_json:
        response = Response(_problem(error), mimetype="application/problem+json")
    elif not stand.trouble:
        response = _response(stand.planned, stand.rendition)
    else:
        response = Response(error.public + "\n", mimetype="text/plain")
    response.status_code = error.status
    response.headers[IMAGEKEY] = stand.planned.imagekey
    response.headers[IMAGE_ERROR] = error.code
    response.headers[IMAGE_ERROR_DETAIL] = error.public
    # Caches would keep even a 503 that has a max-age; and who asks for JSON must not leave JSON
    # in a cache for who asks for a picture.
    keep_seconds = freshness.not_found_max_age_seconds
    if isinstance(error, NotFound) and keep_seconds and not as_json:
        response.headers["Cache-Control"] = f"public, max-age={keep_seconds}"
        _add_vary(response, stand.planned)
    else:
        response.headers["Cache-Control"] = "no-store"
    return response


def _response(planned: Planned, rendition: Rendition | None) -> Response:
    """Return a picture with the headers that describe it, be it the one asked for or not."""
    if rendition is None:
        # Which format weighs least nobody knows yet, nor the length, and 0 would be a lie.
        response = Response()
        del response.headers["Content-Type"]
        if len(planned.plan.formats) == 1:
            response.mimetype = f"image/{planned.plan.formats[0]}"
        response.automatically_set_content_length = False
    else:
        response = Response(rendition.body, mimetype=rendition.mime)
        response.headers["X-Content-Type-Options"] = "nosniff"
        density = planned.plan.reached_density(rendition.original_size, rendition.size)
        if density is not None:
            response.headers["Content-DPR"] = f"{density.normalize():f}"
    response.headers[IMAGE_DECISION] = _decision(planned, rendition)
    return response


def _add_kept(response: Response, found: Found, freshness: FreshnessSettings) -> None:
    """Add what a 200 and its 304 have in common."""
    planned, valid = found.planned, validators(found)
    response.headers[IMAGEKEY] = planned.imagekey
    response.headers["ETag"] = f'"{valid.etag}"'
    response.headers["Last-Modified"] = formatdate(valid.modified_seconds, usegmt=True)
    response.headers["Cache-Control"] = _cache_control(planned, freshness)
    _add_vary(response, planned)


def _add_vary(response: Response, planned: Planned) -> None:
    if planned.vary:
        response.headers["Vary"] = planned.vary


def _cache_control(planned: Planned, freshness: FreshnessSettings) -> str:
    degraded = planned.decision.is_degraded
    max_age = freshness.degraded_max_age_seconds if degraded else freshness.max_age_seconds
    return (
        f"public, max-age={max_age}, s-maxage={freshness.shared_max_age_seconds}"
        f", stale-while-revalidate={freshness.stale_while_revalidate_seconds}"
        f", stale-if-error={freshness.stale_if_error_seconds}"
    )


def _decision(planned: Planned, rendition: Rendition | None) -> str:
    """Say in words what was decided: only what the imagekey and the original determine, so that
    a cache never repeats one visitor's reasons to another.
    """
    words = {"bandwidth": planned.decision.bandwidth}
    if planned.decision.screen is not None:
        words["screen"] = planned.decision.screen
    words["cell"] = str(planned.plan.cell)
    if planned.plan.budget_bytes is not None:
        words["budget"] = str(planned.plan.budget_bytes)
    if rendition is not None:
        words["original"] = str(rendition.original_size)
        words["size"] = str(rendition.size)
        words["format"] = rendition.format
        words["quality"] = str(rendition.quality)
        if rendition.score is not None:
            words["score"] = f"{rendition.score:.0f}"
        if rendition.limited:
            words["limited"] = rendition.limited
    return "; ".join(f"{word}={value}" for word, value in words.items())


def _problem(error: ImageError) -> str:
    """Describe a failure for programs (RFC 9457)."""
    return json.dumps({"title": error.public, "status": error.status, "code": error.code})
