"""The picture sent instead, when something went wrong: at the size that was asked for."""

from dataclasses import dataclass, replace
from pathlib import Path

from imgprocessor.errors import ImageError
from imgprocessor.query import PLAINEST, readable_part, spell
from imgprocessor.render import Rendition, render
from imgprocessor.service import Planned, Request, Service
from imgprocessor.settings import OriginalsSettings, PixelsSettings


@dataclass(frozen=True)
class Stand:
    """A placeholder, planned, and rendered unless nobody asked for pixels."""

    planned: Planned
    rendition: Rendition | None
    trouble: str
    """Why it could not be rendered, for the log; otherwise empty."""


class Placeholder:
    """Renders the operator's placeholder picture for requests that failed."""

    def __init__(
        self, file: Path, service: Service, pixels: PixelsSettings, limits: OriginalsSettings
    ) -> None:
        self._file = file
        self._service = service
        self._max_side = pixels.max_output_side_pixels
        self._limits = limits

    def stand_in(self, request: Request, *, with_pixels: bool = True) -> Stand:
        """Render the placeholder with the size, fit, quality and budget that the request would
        have got.

        Of a request that makes no sense, what does make sense counts. Never raises for a
        placeholder that is missing or broken.
        """
        asked = readable_part(request.query_string, self._max_side)
        query = replace(
            asked,
            name=self._file.name,
            spelled_name=spell(self._file.name),
            # The format that costs least to make: failures come in floods.
            format=PLAINEST,
        )
        planned = replace(
            self._service.plan(query, request.headers),
            # One URL has one Vary, whether its picture is there or not.
            vary=self._service.vary(asked),
        )
        if not with_pixels:
            return Stand(planned, None, "")
        try:
            with self._file.open("rb") as file:
                return Stand(planned, render(file, planned.plan, self._limits), "")
        except (OSError, ImageError) as error:
            return Stand(planned, None, f"placeholder {self._file}: {error}")
