"""The page of jobs: pictures are handed in there, and thumbnails shown."""

from werkzeug.wrappers import Response

from imgprocessor.jobs.records import JobRecord
from imgprocessor.request.parameters import PARAMETERS
from imgprocessor.request.values import Word
from imgprocessor.web.uploads.pages import FormPages, TakenDocuments


class ConvertPages(FormPages):
    """Answers of jobs, for browsers."""

    def __init__(
        self,
        max_bytes: int,
        max_side_pixels: int,
        *,
        needs_token: bool,
        documents: TakenDocuments = TakenDocuments(),
    ) -> None:
        """Have forms name these bounds, and ask for a token where one is needed."""
        super().__init__(
            "convert.html",
            documents,
            max_bytes=max_bytes,
            max_side_pixels=max_side_pixels,
            needs_token=needs_token,
            fits=_words("fit"),
            formats=_words("format"),
            job=None,
        )

    def of_job(self, record: JobRecord, status: int) -> Response:
        """Show how a job stands."""
        return self.page(status, job=record)


def _words(name: str) -> list[str]:
    """Return what a parameter may be, its default first."""
    row = PARAMETERS[name]
    if not isinstance(row.value, Word):
        raise TypeError(name)
    default = row.value.write(row.default)
    return [default, *(word for word in row.value.words if word != default)]
