"""The picture sent instead, when something went wrong: at the size that was asked for."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import ImageError
from imgprocessor.formats import PLAINEST
from imgprocessor.images.pipeline import Rendition
from imgprocessor.originals.folder import Folder
from imgprocessor.policy.imagekey import tags
from imgprocessor.request.hints import Hints
from imgprocessor.request.parameters import AUTHORS, ImageQuery
from imgprocessor.service.delivery import Delivery, Found
from imgprocessor.service.understanding import Planned, Understood
from imgprocessor.storage.locks import Locks
from imgprocessor.timing import Timings

_PLAIN_WIDTH = 320

_COUNTS = ("width", "height", "max_height", "fit", "quality", "max_bytes")
"""What counts of what a page's author writes: room and weight, but nothing that is done to pixels,
for a placeholder may hold words.
"""

_LOCK = "placeholder"


@dataclass(frozen=True)
class StandIn:
    """A placeholder, planned, and rendered unless the client wants no pixels."""

    planned: Planned
    rendition: Rendition | None
    trouble: str
    """Why it could not be rendered, for the log; otherwise empty."""


class Placeholder:
    """Renders the operator's placeholder picture for requests that failed.

    One is rendered at a time, over all processes; it takes no place from pictures. A request that
    fails meanwhile gets the plain one, which was rendered before.
    """

    def __init__(
        self, file: Path, delivery: Delivery, locks: Locks, limits: OriginalsSettings
    ) -> None:
        self._file = file
        self._originals = Folder(file.parent, limits.max_bytes)
        self._delivery = delivery
        self._locks = locks
        self._plain: StandIn | None = None
        self._plain_version = ""

    def plain(self) -> StandIn:
        """Return the placeholder at one small size. Once it was rendered it costs nothing; no
        request waits for it.
        """
        return self._plain or self.prepare(may_wait=False)

    def prepare(self, *, may_wait: bool = True) -> StandIn:
        """Render the plain one before it is needed."""
        planned = self._planned(ImageQuery(width=_PLAIN_WIDTH), Hints(), may_choose=True)
        stand_in, version = self._rendered(planned, may_wait=may_wait)
        if stand_in.rendition is not None:
            self._plain, self._plain_version = stand_in, version
        return stand_in

    def stand_in(
        self, request: Understood, *, with_pixels: bool = True, may_choose: bool = True
    ) -> StandIn:
        """Return the placeholder with the size, fit, quality and budget that the request would
        have got, or the plain one while another is rendered.

        A client who may not choose, because the link is not signed, gets what the table has for
        this visitor: no failure may be used to have sizes made. For the same reason no size counts
        that the policy does not allow. Of a request that makes no sense, what does make sense
        counts. Never raises for a placeholder that is missing or broken.
        """
        # Where nothing of the visitor counts for the picture, nothing does for what stands in.
        hints = request.hints if request.vary else Hints()
        planned = replace(
            self._planned(request.last.permitted, hints, may_choose=may_choose),
            # One URL has one Vary, whether its picture is there or not, and is forgotten with it.
            vary=request.vary,
            tags=tags(request.names),
        )
        if not with_pixels:
            return StandIn(planned, None, "")
        try:
            found = self._found(planned)
        except ImageError as error:
            return self._failed(planned, error)
        kept = self._delivery.kept(found)
        if kept is not None:
            return StandIn(planned, kept.rendition, "")
        with self._locks.held_if_possible(_LOCK, 0) as mine:
            if mine:
                if self._plain_version != found.original.validator:
                    self.prepare()  # the file is another one, or nothing could be rendered so far
                return self._rendered(planned)[0]
        plain = self.plain()
        # Another picture, but the same URL: caches tell it apart and forget it as that.
        return replace(plain, planned=replace(plain.planned, vary=planned.vary, tags=planned.tags))

    def _planned(self, asked: ImageQuery, hints: Hints, *, may_choose: bool) -> Planned:
        counts = _COUNTS if may_choose else ()
        left_out = {row.name: row.default for row in AUTHORS if row.name not in counts}
        # The format that costs least to make: failures come in floods.
        query = replace(asked, **left_out | {"name": self._file.name, "format": PLAINEST})
        return self._delivery.plan(query, hints)

    def _rendered(self, planned: Planned, *, may_wait: bool = True) -> tuple[StandIn, str]:
        """Return the placeholder, and the version of its file."""
        try:
            found = self._found(planned, may_wait=may_wait)
            answer = self._delivery.answer(found, takes_place=False)
        except ImageError as error:
            return self._failed(planned, error), ""
        return StandIn(planned, answer.rendition, ""), answer.found.original.validator

    def _found(self, planned: Planned, *, may_wait: bool = True) -> Found:
        timings = Timings() if may_wait else Timings(wait=math.inf)
        original = self._originals.find(self._file.name)
        return Found(planned, original, timings, self._delivery.generation())

    def _failed(self, planned: Planned, error: ImageError) -> StandIn:
        return StandIn(planned, None, f"placeholder {self._file}: {error}")
