"""What operators and their machines ask for: whether this node is well, and purging."""

import json
from collections.abc import Callable

from flask import Flask, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import NotFound as RouteNotFound
from werkzeug.wrappers import Response

from imgprocessor.errors import BadQuery
from imgprocessor.service.purge import PURGE_PATH, Purger, PurgeRequest
from imgprocessor.service.readiness import Readiness, are_enough
from imgprocessor.web.incoming import came_by_proxy
from imgprocessor.web.log import MAX_TOLD_CHARACTERS
from imgprocessor.web.metrics import CONTENT_TYPE, METRICS_PATH, Metrics

_HEALTH, _READY, _METRICS = "health", "ready", "metrics"

UNLOGGED = {_HEALTH, _READY, _METRICS}
"""Endpoints that machines ask for every other second."""

_PURGE_PARAMETERS = ("name", "imagekey", "all", "local")
_MAX_FORM_BYTES = 65_536
"""As much as the virtual host lets through."""


def add_health(web: Flask, readiness: Readiness, policy_digest: str) -> None:
    """Say whether this process answers at all, and whether this node should be sent visitors."""

    def route(endpoint: str, view: Callable[[], Response]) -> None:
        web.add_url_rule(
            f"/images/-/{endpoint}",
            endpoint,
            view,
            methods=["GET", "HEAD"],
            provide_automatic_options=False,
        )

    def health() -> Response:
        return _as_json({"status": "alive", "policy": policy_digest}, 200)

    def ready() -> Response:
        checks = readiness.checks()
        is_ready = are_enough(checks)
        status = "ready" if is_ready else "not ready"
        return _as_json({"status": status, "checks": checks}, 200 if is_ready else 503)

    route(_HEALTH, health)
    route(_READY, ready)


def add_metrics(web: Flask, metrics: Metrics) -> None:
    """Show what was counted, but not through a proxy."""

    @web.route(
        METRICS_PATH, endpoint=_METRICS, methods=["GET", "HEAD"], provide_automatic_options=False
    )
    def show() -> Response:
        if came_by_proxy(request.environ):
            raise RouteNotFound  # the proxy's client may be anybody
        headers = {"Cache-Control": "no-store"}
        return Response(metrics.text(), headers=headers, content_type=CONTENT_TYPE)


def add_purge(web: Flask, purger: Purger) -> None:
    """Purge by HTTP as well, for clients with the token."""

    @web.route(PURGE_PATH, methods=["POST"], provide_automatic_options=False)
    def purge() -> Response:
        if not purger.may(request.headers.get("Authorization", "")):
            response = _as_json({"error": "the header must be Authorization: Bearer TOKEN"}, 401)
            response.headers["WWW-Authenticate"] = 'Bearer realm="purge"'
            return response
        try:
            wanted, local = _wanted()
            purged = purger.purge(wanted, local=local)
        except BadQuery as error:
            return _as_json({"error": error.public}, 400)
        g.entry["purged"] = str(wanted)[:MAX_TOLD_CHARACTERS]
        told = {"removed": purged.removed, "failed": purged.failed}
        return _as_json(told, 502 if purged.failed else 200)


def _wanted() -> tuple[PurgeRequest, bool]:
    """Read what is to be purged, and whether on this node alone.

    Raises:
        BadQuery: it makes no sense.
    """
    try:
        if (request.content_length or 0) > _MAX_FORM_BYTES:
            raise BadQuery([f"the body must have no more than {_MAX_FORM_BYTES} bytes"])
        given = request.values.to_dict(flat=False)
    except HTTPException as error:
        raise BadQuery([f"the body cannot be read: {error.name}"]) from error
    except UnicodeDecodeError as error:
        raise BadQuery(["the query must be UTF-8, percent-encoded"]) from error
    problems = [
        f"{name[:50]!r}: no such parameter; there are {', '.join(_PURGE_PARAMETERS)}"
        for name in given
        if name not in _PURGE_PARAMETERS
    ]
    problems += [
        f"{name}: must be 1" for name in ("all", "local") if given.get(name, ["1"]) != ["1"]
    ]
    if problems:
        raise BadQuery(problems)
    names, keys = given.get("name", []), given.get("imagekey", [])
    return PurgeRequest(names, keys, "all" in given), "local" in given


def _as_json(told: object, status: int) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(json.dumps(told) + "\n", status, headers, mimetype="application/json")
