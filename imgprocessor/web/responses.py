"""Answers as HTTP: status, headers and body, for pictures and for failures."""

import json
import random
import re
import unicodedata
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import PurePosixPath
from urllib.parse import quote

from jinja2 import Environment, PackageLoader
from werkzeug.http import dump_options_header
from werkzeug.wrappers import Response

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.errors import (
    ImageError,
    MethodNotAllowed,
    NoSuchUpload,
    NotAuthorized,
    NotFound,
    PageBeingMade,
)
from imgprocessor.formats import FILE_SUFFIXES, Format
from imgprocessor.images.pipeline import Rendition
from imgprocessor.request.parameters import YES, ImageQuery
from imgprocessor.service.delivery import Answer, Found
from imgprocessor.service.placeholder import StandIn
from imgprocessor.service.understanding import Planned
from imgprocessor.web.caching import browsers_seconds, of_quick

IMAGEKEY = "imagekey"
IMAGE_DECISION = "image-decision"
IMAGE_ERROR = "image-error"
IMAGE_ERROR_DETAIL = "image-error-detail"

SECURE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Referrer-Policy": "no-referrer",
}
"""On all answers but a 304, which leaves those of the copy as they are. Whatever an answer is taken
for, it runs nothing and loads nothing; other sites' pages may show it. The same for all clients, so
that caches have nothing to tell apart.
"""

PAGE_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""`Content-Security-Policy` of pages that have scripts."""

_TEMPLATES = Environment(
    loader=PackageLoader("imgprocessor.web"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)

_MAX_RETRY_SECONDS = 3

_BEING_MADE_SECONDS = 1
"""A placeholder that a page will take the place of is kept for so long: clients who all ask at once
are one to this server.
"""

_MAX_DETAIL_CHARACTERS = 3000
"""More than any message has: what is too long for a header, or has other than ASCII, would be a
failure of the server's.
"""


def cross_origin(allow_origin: str | None) -> dict[str, str]:
    """Return what lets scripts of an origin's pages read pictures, and what they took. It is the
    same for all clients, whatever `Origin` they say, so that caches keep one copy.
    """
    if allow_origin is None:
        return {}
    names = ("Access-Control-Allow-Origin", "Timing-Allow-Origin")
    return dict.fromkeys(names, allow_origin)


def picture(told: Found | Answer, freshness: FreshnessSettings) -> Response:
    """Answer with the picture; without one, with all that is known before rendering."""
    if isinstance(told, Answer):
        return Response(told.rendition.body, headers=picture_headers(told, freshness))
    headers = {**_kept(told, freshness), "Server-Timing": _spent(told)}
    return _response(told.planned, None, headers)


def picture_headers(answer: Answer, freshness: FreshnessSettings) -> dict[str, str]:
    """Return all headers of an answer with a picture."""
    found, rendition = answer.found, answer.rendition
    headers = {**_kept(answer, freshness), "Server-Timing": _spent(found)}
    headers |= saved_as(found.planned.query, rendition.format)
    if rendition.is_damaged:
        # The original may be on its way here still. A 304 would say that the copy is good for long.
        for name in ("ETag", "Last-Modified"):
            headers.pop(name, None)
        seconds = freshness.not_found_max_age_seconds
        kept = f"public, max-age={seconds}, s-maxage={seconds}, must-revalidate"
        headers["Cache-Control"] = kept if seconds else "no-store"
    described = _described(found.planned, rendition, headers)
    if answer.is_quick:
        described[IMAGE_DECISION] += "; effort=quick"
    return described


def _spent(found: Found) -> str:
    return ", ".join(f"{part};dur={ms:.1f}" for part, ms in found.timings.items())


def not_modified(told: Found | Answer, freshness: FreshnessSettings) -> Response:
    """Answer that the copy the client has is still good."""
    return Response(status=304, headers=_kept(told, freshness))


def refusal_headers(error: ImageError, stand: StandIn) -> dict[str, str]:
    """Return all headers of a failure that no cache keeps, with the placeholder."""
    return _described(stand.planned, stand.rendition, _failed(error, stand))


def failure(
    error: ImageError, stand: StandIn, freshness: FreshnessSettings, *, as_json: bool
) -> Response:
    """Answer with the right status and the placeholder; with text where there is no picture."""
    headers = _failed(error, stand)
    keep_seconds = freshness.not_found_max_age_seconds
    # An upload may come at any time, and is there at once then.
    is_kept = isinstance(error, NotFound | PageBeingMade) and not isinstance(error, NoSuchUpload)
    if isinstance(error, PageBeingMade):
        keep_seconds = min(keep_seconds, _BEING_MADE_SECONDS)
    if is_kept and keep_seconds and not as_json:
        headers["Cache-Control"] = f"public, max-age={keep_seconds}"
        headers |= _vary(stand.planned) | _tags(stand.planned)
    if as_json:
        headers["Content-Type"] = "application/problem+json"
        return Response(problem(error), error.status, SECURE | headers)
    if stand.trouble:
        headers["Content-Type"] = "text/plain; charset=utf-8"
        return Response(error.public + "\n", error.status, SECURE | headers)
    response = _response(stand.planned, stand.rendition, headers)
    response.status_code = error.status
    return response


def _failed(error: ImageError, stand: StandIn) -> dict[str, str]:
    return {IMAGEKEY: stand.planned.imagekey, **failure_headers(error)}


def failure_headers(error: ImageError) -> dict[str, str]:
    """Return what every answer that failed has, whatever stands in it."""
    headers = {
        IMAGE_ERROR: error.code,
        IMAGE_ERROR_DETAIL: re.sub("[^ -~]", "?", error.public[:_MAX_DETAIL_CHARACTERS]),
        # Caches would keep even a 503 that has a max-age; and JSON for one client must not be kept
        # in a cache for another that wants a picture.
        "Cache-Control": "no-store",
    }
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allowed
    if isinstance(error, NotAuthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="uploads"'
    if error.retry_seconds is not None:
        headers["Retry-After"] = str(error.retry_seconds)
    elif error.is_passing:
        # Not the same for all, or all would be back at the same moment.
        headers["Retry-After"] = str(random.randint(1, _MAX_RETRY_SECONDS))  # noqa: S311
    return headers


def _response(
    planned: Planned, rendition: Rendition | None, headers: Mapping[str, str]
) -> Response:
    """Return a picture with the headers that describe it, be it the one asked for or not."""
    # All at once, because a header that is set later is looked for among all others.
    described = _described(planned, rendition, headers)
    if rendition is None:
        # Neither the lightest format nor the length is known yet, and 0 would be wrong.
        response = Response(headers=described)
        del response.headers["Content-Type"]
        if len(planned.plan.formats) == 1:
            response.mimetype = f"image/{planned.plan.formats[0]}"
        response.automatically_set_content_length = False
        return response
    return Response(rendition.body, headers=described)


def _described(
    planned: Planned, rendition: Rendition | None, headers: Mapping[str, str]
) -> dict[str, str]:
    # First what will be looked for.
    described = {**SECURE, IMAGE_DECISION: _decision(planned, rendition), **headers}
    if rendition is not None:
        if rendition.density is not None:
            described["Content-DPR"] = rendition.density
        described["Content-Type"] = rendition.mime
    return described


def _kept(told: Found | Answer, freshness: FreshnessSettings) -> dict[str, str]:
    """Return what a 200 and its 304 have in common."""
    found = told.found if isinstance(told, Answer) else told
    planned = found.planned
    headers = {
        IMAGEKEY: planned.imagekey,
        "ETag": f'W/"{told.etag}"',
        "Last-Modified": formatdate(found.original.modified_seconds, usegmt=True),
        "Cache-Control": _cache_control(planned, freshness),
        **_vary(planned),
        **_tags(planned),
    }
    if isinstance(told, Answer) and told.is_quick:
        headers["Cache-Control"] = _cache_control(planned, of_quick(freshness))
        del headers["Last-Modified"]  # the original's, which the best has, too
    return headers


def _tags(planned: Planned) -> dict[str, str]:
    """Name an answer for caches that forget by name: Varnish's xkey, and CDNs'."""
    return {"xkey": planned.tags, "Surrogate-Key": planned.tags}


def _vary(planned: Planned) -> dict[str, str]:
    return {"Vary": planned.vary} if planned.vary else {}


def saved_as(query: ImageQuery, file_format: Format) -> dict[str, str]:
    """Return the header that has browsers save what is sent, where `download` asks for that."""
    if query.download is None:
        return {}
    name = query.original if query.download == YES else query.download
    return {"Content-Disposition": _attachment(name, file_format)}


def _attachment(name: str, file_format: Format) -> str:
    """Return the `Content-Disposition` (RFC 6266) of a picture that is to be saved. Its name ends
    as the format's files do, whatever it ended with, and is spelled in ASCII for old clients, too.
    """
    stem = PurePosixPath(name).name
    if PurePosixPath(stem).suffix.lower() not in FILE_SUFFIXES[file_format]:
        stem = PurePosixPath(stem).stem + FILE_SUFFIXES[file_format][0]
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    plain = re.sub(r"""[/\\:;<>|*?%"']""", "_", plain)  # which other letters come to
    names = {"filename": f"picture{plain}" if plain.startswith(".") else plain}
    if plain != stem:
        names["filename*"] = f"UTF-8''{quote(stem, safe='')}"
    return dump_options_header("attachment", names)


def _cache_control(planned: Planned, freshness: FreshnessSettings) -> str:
    degraded = planned.decision.is_degraded
    max_age = freshness.degraded_max_age_seconds if degraded else freshness.max_age_seconds
    max_age = browsers_seconds(max_age, planned.query.ct)
    while_revalidate = freshness.stale_while_revalidate_seconds
    if_error = freshness.stale_if_error_seconds
    # Where nothing old may be sent, caches must be told so: some would, when all else fails.
    stale = f"stale-while-revalidate={while_revalidate}, stale-if-error={if_error}"
    stale = stale if while_revalidate or if_error else "must-revalidate"
    return f"public, max-age={max_age}, s-maxage={freshness.shared_max_age_seconds}, {stale}"


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
        if rendition.is_original:
            words["sent"] = "original"
        else:
            words["quality"] = str(rendition.quality)
        if rendition.score is not None:
            words["score"] = f"{rendition.score:.0f}"
        if rendition.limited:
            words["limited"] = rendition.limited
        if rendition.is_damaged:
            words["damaged"] = "original"
    return "; ".join(f"{word}={value}" for word, value in words.items())


def problem(error: ImageError) -> str:
    """Describe a failure for programs (RFC 9457)."""
    return json.dumps({"title": error.public, "status": error.status, "code": error.code})


def page_text(template: str, **shown: object) -> str:
    """Return a page's HTML, in which whatever is shown is escaped."""
    return _TEMPLATES.get_template(template).render(**shown)
