"""The picture sent instead, when something went wrong: at the size that was asked for."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from imgprocessor.config.settings import OriginalsSettings, PixelsSettings
from imgprocessor.errors import ImageError
from imgprocessor.formats import PLAINEST
from imgprocessor.images.pipeline import Rendition
from imgprocessor.originals.folder import Originals
from imgprocessor.policy.imagekey import EVERY_TAG, original_tag
from imgprocessor.request.parameters import ImageQuery, readable_part, spell
from imgprocessor.service.delivery import Delivery, Found, Incoming, Planned
from imgprocessor.timing import Timings

_PLAIN_WIDTH = 320


@dataclass(frozen=True)
class StandIn:
    """A placeholder, planned, and rendered unless nobody asked for pixels."""

    planned: Planned
    rendition: Rendition | None
    trouble: str
    """Why it could not be rendered, for the log; otherwise empty."""


class Placeholder:
    """Renders the operator's placeholder picture for requests that failed."""

    def __init__(
        self, file: Path, delivery: Delivery, pixels: PixelsSettings, limits: OriginalsSettings
    ) -> None:
        self._file = file
        self._originals = Originals(file.parent, limits)
        self._delivery = delivery
        self._max_side = pixels.max_output_side_pixels
        self._plain: StandIn | None = None

    def plain(self) -> StandIn:
        """Return the placeholder at one small size: once it was made it costs nothing, for failures
        that come because there is too much to do. Nobody waits for it.
        """
        return self._plain or self.prepare(may_wait=False)

    def prepare(self, *, may_wait: bool = True) -> StandIn:
        """Have that one made before it is needed."""
        request = Incoming(f"name={spell(self._file.name)}&width={_PLAIN_WIDTH}", {})
        stand = self.stand_in(request, may_wait=may_wait)
        if stand.rendition is not None:
            self._plain = stand
        return stand

    def stand_in(
        self,
        request: Incoming,
        *,
        with_pixels: bool = True,
        may_wait: bool = True,
        may_choose: bool = True,
    ) -> StandIn:
        """Render the placeholder with the size, fit, quality and budget that the request would
        have got.

        Who may not choose, because the link is not signed, gets what the table has for this
        visitor: no failure may be used to have sizes made. For the same reason no size counts
        that the policy does not allow. Of a request that makes no sense, what does make sense
        counts. Never raises for a placeholder that is missing or broken.
        """
        asked = self._delivery.permitted_part(readable_part(request.query_string, self._max_side))
        if not may_choose:
            asked = _visitors_part(asked)
        query = replace(
            asked,
            name=self._file.name,
            spelled_name=spell(self._file.name),
            # The format that costs least to make: failures come in floods.
            format=PLAINEST,
        )
        planned = replace(
            self._delivery.plan(query, request.headers),
            # One URL has one Vary, whether its picture is there or not, and is forgotten with it.
            name=asked.name,
            vary=self._delivery.vary(asked),
            tags=f"{original_tag(asked.name)} {EVERY_TAG}",
        )
        if not with_pixels:
            return StandIn(planned, None, "")
        try:
            began = self._delivery.generation()
            original = self._originals.find(self._file.name)
            timings = Timings() if may_wait else Timings(wait=math.inf)
            found = Found(planned, self._originals, original, timings, began)
            return StandIn(planned, self._delivery.answer(found).rendition, "")
        except ImageError as error:
            return StandIn(planned, None, f"placeholder {self._file}: {error}")


def _visitors_part(query: ImageQuery) -> ImageQuery:
    """Return a query without what a page's author writes, but for the name."""
    return ImageQuery(
        query.name,
        query.spelled_name,
        bandwidth=query.bandwidth,
        screen=query.screen,
        dpr=query.dpr,
    )
