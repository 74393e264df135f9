"""Originals as they are, over HTTP: sent by Apache, where it does that, else by this program."""

import re
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import quote

from flask import Request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Response
from werkzeug.wsgi import wrap_file

from imgprocessor.config.settings import FreshnessSettings
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.service.full import FullOriginal, FullOriginals
from imgprocessor.web.caching import browsers_seconds, is_current
from imgprocessor.web.responses import saved_as

_INNER = "IMG_INNER"
"""Where the virtual host has the folder of originals for such answers, and for nobody else: it says
so itself, and a client cannot.
"""

_ONE_RANGE = "bytes=([0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})"


def full(
    request: Request,
    whole: FullOriginal,
    originals: FullOriginals,
    *,
    query: ImageQuery,
    freshness: FreshnessSettings,
    shared: Mapping[str, str],
) -> Response:
    """Answer with an original as it is.

    Args:
        request: its method, conditions and range, and whether Apache sends the file.
        whole: what was found.
        originals: where it was found.
        query: what of it counts is `ct` and `download`.
        freshness: how long browsers may keep it. No cache does: it would be kept twice.
        shared: headers that all answers have where this program sends them.

    Raises:
        NotFound, OriginalsUnavailable: as `FullOriginals.open` does.
    """
    max_age = browsers_seconds(freshness.max_age_seconds, query.ct)
    headers = {"Cache-Control": f"private, max-age={max_age}", **saved_as(query, whole.format)}
    inner = request.environ.get(_INNER)
    if inner is not None and whole.path is not None:
        return _left_to_apache(str(inner), whole, whole.path, {**headers, **shared})
    return _sent(request, whole, originals, headers)


def _left_to_apache(
    inner: str, whole: FullOriginal, path: str, headers: Mapping[str, str]
) -> Response:
    """Tell Apache to answer with the file, with ranges and conditions, as a CGI program does (RFC
    3875, 6.2.2). It forgets the headers of this answer, so the URL says them.
    """
    said = "&".join(f"{name}={quote(value, safe='/')}" for name, value in headers.items())
    # Where a symbolic link leads, names may be no UTF-8.
    spelled = quote(path.encode("utf-8", "surrogateescape"))
    place = f"{inner}/{whole.place}" if whole.place else inner
    return Response(headers={"Location": f"{place}/{whole.format}/{spelled}?{said}"})


def _sent(
    request: Request, whole: FullOriginal, originals: FullOriginals, headers: Mapping[str, str]
) -> Response:
    original = whole.original
    validators = {
        "ETag": f'"{original.validator}"',
        "Last-Modified": formatdate(original.modified_seconds, usegmt=True),
    }
    if is_current(request.environ, original.validator, original.modified_seconds):
        return Response(status=304, headers={**headers, **validators})
    environ = request.environ
    if not re.fullmatch(_ONE_RANGE, environ.get("HTTP_RANGE", "")):
        # What is no range, or several, counts for nothing (RFC 9110, 14.2).
        environ = {key: value for key, value in environ.items() if key != "HTTP_RANGE"}
    file = originals.open(whole)
    response = Response(
        wrap_file(environ, file),
        headers={**headers, **validators},
        mimetype=f"image/{whole.format}",
        direct_passthrough=True,
    )
    response.call_on_close(file.close)
    size = response.content_length = original.size_bytes
    try:
        response.make_conditional(environ, accept_ranges=True, complete_length=size)
    except RequestedRangeNotSatisfiable:
        response.close()
        return Response(status=416, headers={"Content-Range": f"bytes */{size}"})
    except OverflowError:  # a year or a zone that no calendar has
        return response
    if response.status_code == HTTPStatus.PRECONDITION_FAILED:
        response.close()
        return Response(status=response.status_code)
    return response
