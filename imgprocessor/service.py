"""The request's path, as one straight line: from a query string and headers to a picture.

Knows the parts, not the web: the web server and the command line both call it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from imgprocessor.client import resolve_client, vary
from imgprocessor.decision import Decision, decide, require_offered, uses
from imgprocessor.imagekey import etag, imagekey
from imgprocessor.originals import Original, Originals
from imgprocessor.plan import Plan, make_plan
from imgprocessor.policy import Policy
from imgprocessor.query import ImageQuery, parse_query
from imgprocessor.render import SHAPED_BY, Rendition, render
from imgprocessor.settings import OriginalsSettings, PixelsSettings


@dataclass(frozen=True)
class Request:
    """What came in."""

    query_string: str
    """As it came, percent-encoded."""
    headers: Mapping[str, str]
    """Names in lower case."""


@dataclass(frozen=True)
class Planned:
    """All of an answer that the request, the settings and the policy decide."""

    decision: Decision
    plan: Plan
    imagekey: str
    vary: str


@dataclass(frozen=True)
class Found:
    """A planned answer whose original is there, not opened yet."""

    planned: Planned
    original: Original
    etag: str
    find_milliseconds: float


class Service:
    """Answers requests for pictures."""

    def __init__(
        self,
        *,
        policy: Policy,
        originals: Originals,
        pixels: PixelsSettings,
        limits: OriginalsSettings,
    ) -> None:
        self._policy = policy
        self._originals = originals
        self._pixels = pixels
        self._limits = limits

    def find(self, request: Request) -> Found:
        """Do all that needs no pixels: enough for a HEAD or a 304.

        Raises:
            ImageError: as `parse_query` and `Originals.find` do.
        """
        begin = time.perf_counter()
        query = parse_query(request.query_string, self._pixels.max_output_side_pixels)
        require_offered(query, self._policy)
        planned = self.plan(query, request.headers)
        original = self._originals.find(query.name)
        spent = (time.perf_counter() - begin) * 1000
        return Found(planned, original, etag(planned.imagekey, original.version), spent)

    def plan(self, query: ImageQuery, headers: Mapping[str, str]) -> Planned:
        """Decide what this visitor gets, and what it is called."""
        decision = decide(query, resolve_client(headers), self._policy)
        plan = make_plan(query, decision, self._pixels, SHAPED_BY)
        return Planned(decision, plan, imagekey(plan), self.vary(query))

    def vary(self, query: ImageQuery) -> str:
        """Return the `Vary` of a URL's answers."""
        return vary(uses(query, self._policy))

    def render(self, found: Found) -> tuple[Found, Rendition]:
        """Make the picture. The original may have been replaced since it was found, so what was
        really rendered comes back with it.

        Raises:
            ImageError: as `Originals.open` and `render` do.
        """
        planned = found.planned
        with self._originals.open(found.original) as (file, opened):
            rendition = render(file, planned.plan, self._limits)
        really = Found(
            planned, opened, etag(planned.imagekey, opened.version), found.find_milliseconds
        )
        return really, rendition
