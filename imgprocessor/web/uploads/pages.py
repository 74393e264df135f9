"""Pages with a form for files: what browsers get where programs get JSON."""

from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Response

from imgprocessor.errors import ImageError
from imgprocessor.web.problems import in_words
from imgprocessor.web.responses import PAGE_SECURITY, page_text


class FormPages:
    """Answers of one path, whose page is made of a template."""

    def __init__(self, template: str, **known: Any) -> None:
        """Use a template, and what is the same on each of its pages."""
        self._template = template
        self._known = known

    def page(self, status: int = 200, **shown: Any) -> Response:
        """Return the page; without more it is as it is at first."""
        known = {"problem": None, "status": HTTPStatus(status).phrase, **self._known}
        headers = {
            "Content-Security-Policy": PAGE_SECURITY,
            # Or forms would come with `Origin: null`, which may be any site's.
            "Referrer-Policy": "same-origin",
            "X-Robots-Tag": "noindex, nofollow",
            "Cache-Control": "no-store",
            "Vary": "Accept",
        }
        text = page_text(self._template, **{**known, **shown})
        return Response(text, status, headers, mimetype="text/html")

    def failed(self, error: Exception) -> Response:
        """Say what is wrong."""
        answer = in_words(error, self._failed)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def _failed(self, error: ImageError) -> Response:
        return self.page(error.status, problem=error.public)
