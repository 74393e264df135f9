"""Understanding a request: what it may mean, and what is planned for each of its readings."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial, reduce
from operator import or_

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.errors import BadQuery, ImageError
from imgprocessor.images.pipeline import SHAPED_BY, Rendition
from imgprocessor.policy.imagekey import imagekey, tags
from imgprocessor.policy.negotiation import Decision, negotiate, permit, uses
from imgprocessor.policy.plan import Plan, make_plan
from imgprocessor.policy.table import Policy
from imgprocessor.request.hints import HINT_HEADERS, Hints, read_hints, vary
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.request.query import ParsedQuery, forbidden, parse, parse_path
from imgprocessor.request.shorthands import UPLOAD
from imgprocessor.request.sizes import shape

_MAX_REMEMBERED = 2048
_MAX_CHARACTERS = 1000
"""Requests that are remembered, and how long they may be: some six megabytes, all of them full."""


@dataclass(frozen=True)
class Incoming:
    """What came in."""

    query_string: str
    """As it came, percent-encoded."""
    headers: Mapping[str, str]
    """Names in lower case."""
    path: str | None = None
    """What names a picture in the path, as it came; None where nothing does."""


@dataclass(frozen=True)
class Planned:
    """All of an answer that the request, the settings and the policy decide."""

    query: ImageQuery
    decision: Decision
    plan: Plan
    imagekey: str
    vary: str
    tags: str
    """By which caches forget the answer."""

    @property
    def hurried(self) -> Plan:
        """What is done for the first visitor, where the best is made behind that answer. Who is on
        a good network waits for bytes less than for an encoder.
        """
        if self.plan.effort != "behind":
            return self.plan
        return replace(self.plan, effort="quick" if self.decision.is_degraded else "at once")

    def expects_better(self, rendition: Rendition) -> bool:
        """Whether a better picture is to take the place of one that was made."""
        return self.plan.effort == "behind" and rendition.is_quick


Refusal = Callable[[], ImageError]
"""Makes the error that says why a request is refused: a new one each time, because errors remember
where they were raised.
"""


@dataclass(frozen=True)
class Reading:
    """What a request may mean."""

    parsed: ParsedQuery
    permitted: ImageQuery
    """The part of the query that the policy permits."""
    outcome: Planned | Refusal
    if_kept: Planned | None = None
    """What is planned if the size is one that an upload keeps, which anybody may ask for."""

    def require(self) -> Planned:
        """Return what is planned.

        Raises:
            BadQuery: a parameter makes no sense, or is not allowed.
            OriginForbidden: the original is on a host that is not allowed.
        """
        if not isinstance(self.outcome, Planned):
            raise self.outcome()
        return self.outcome


@dataclass(frozen=True)
class Understood:
    """A request after its one parse."""

    readings: tuple[Reading, ...]
    """The first counts whose original is there; only names in paths have more than one."""
    hints: Hints
    vary: str
    """Of all answers to the URL."""

    @property
    def names(self) -> list[str]:
        """What the original may be called."""
        return [reading.parsed.query.original for reading in self.readings]

    @property
    def first(self) -> Reading:
        """The reading with all that names the picture, as a link's author signs it."""
        return self.readings[0]

    @property
    def last(self) -> Reading:
        """The reading that says most of the size: that of what is not there."""
        return self.readings[-1]


class Understanding:
    """Understands requests under one policy."""

    def __init__(self, policy: Policy, hosts: Sequence[str], pixels: PixelsSettings) -> None:
        """Originals are fetched from `hosts` alone."""
        self._policy = policy
        self._hosts = hosts
        self._pixels = pixels
        self._remembered = lru_cache(_MAX_REMEMBERED)(self._understand)

    def understand(self, request: Incoming) -> Understood:
        """Parse a request, and decide what is answered if the original is there. Never fails."""
        hints = tuple(request.headers.get(name) for name in HINT_HEADERS)
        texts = (request.path, request.query_string, *hints)
        size = sum(len(text) for text in texts if text)
        # Equal requests are understood alike, so the outcome is remembered.
        understand = self._remembered if size <= _MAX_CHARACTERS else self._understand
        return understand(request.path, request.query_string, hints)

    def _understand(
        self, path: str | None, query_string: str, headers: tuple[str | None, ...]
    ) -> Understood:
        max_side = self._pixels.max_output_side_pixels
        if path is None:
            parsed: Sequence[ParsedQuery] = (parse(query_string, max_side),)
        else:
            parsed = parse_path(path, query_string, max_side)
        pairs = zip(HINT_HEADERS, headers, strict=True)
        hints = read_hints({name: header for name, header in pairs if header})
        # A URL has one Vary, whichever of its readings counts.
        queries = [permit(parsed[0].query, self._policy)[0]]
        if len(parsed) > 1:
            queries.append(replace(queries[0], width=queries[0].width or 1))
        varies = self._vary(*queries)
        readings = [self._reading(one, hints) for one in parsed]
        understood = Understood(tuple(readings), hints, varies)
        if len(readings) == 1:
            return understood
        # What comes to stand before the original that counts takes its place.
        names = understood.names
        told = (self._told(one, varies, names[: index + 1]) for index, one in enumerate(readings))
        return replace(understood, readings=tuple(told))

    def _reading(self, parsed: ParsedQuery, hints: Hints) -> Reading:
        permitted, refused = permit(parsed.query, self._policy)
        outcome: Planned | Refusal
        if parsed.problems or refused:
            outcome = partial(BadQuery, list(parsed.problems or refused))
        else:
            outcome = forbidden(permitted, self._hosts) or self.plan(permitted, hints)
        # Hardly any name is an upload's.
        if_kept = None
        is_upload = re.fullmatch(UPLOAD, parsed.query.name) is not None
        if is_upload and not parsed.problems and shape(parsed.query) is not None:
            if_kept = self.plan(parsed.query, hints)
        return Reading(parsed, permitted, outcome, if_kept)

    def _told(self, reading: Reading, varies: str, names: Sequence[str]) -> Reading:
        """Return one of several readings with the headers that hold for all of them."""

        def told(planned: Planned) -> Planned:
            return replace(planned, vary=varies, tags=tags(names, planned.imagekey))

        if reading.if_kept is not None:
            reading = replace(reading, if_kept=told(reading.if_kept))
        if isinstance(reading.outcome, Planned):
            reading = replace(reading, outcome=told(reading.outcome))
        return reading

    def plan(self, query: ImageQuery, hints: Hints) -> Planned:
        """Decide what this client gets, and what it is called."""
        decision = negotiate(query, hints, self._policy)
        plan = make_plan(query, decision, self._pixels, SHAPED_BY, self._policy.effort)
        key = imagekey(query.original, plan)
        return Planned(query, decision, plan, key, self._vary(query), tags([query.original], key))

    def _vary(self, *queries: ImageQuery) -> str:
        """Return the `Vary` of the answers to a URL, by the queries that it may stand for."""
        return vary(reduce(or_, (uses(query, self._policy) for query in queries)))
