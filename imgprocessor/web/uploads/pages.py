"""Pages with a form for files: what browsers get where programs get JSON."""

from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Response

from imgprocessor.config.settings import Settings
from imgprocessor.errors import ImageError
from imgprocessor.images.previews.registry import KINDS
from imgprocessor.policy.table import Policy
from imgprocessor.request.parameters import PARAMETERS
from imgprocessor.web.problems import in_words
from imgprocessor.web.responses import PAGE_SECURITY, page_text


@dataclass(frozen=True)
class TakenDocuments:
    """What forms take beside pictures."""

    kinds: Collection[str] = ()
    """As `DocumentKind.name`."""
    has_pages: bool = False
    """Whether any page but the first may be asked for."""
    is_signed: bool = False
    """Whether links to pages must be signed, which these forms do not do."""


def taken_documents(settings: Settings, policy: Policy) -> TakenDocuments:
    """Return what forms take beside pictures, by the settings."""
    if not settings.previews.enabled:
        return TakenDocuments()
    has_pages = policy.allowed.of(PARAMETERS["page"]) != ()
    is_signed = settings.signing.keys_file is not None
    return TakenDocuments(settings.previews.kinds, has_pages, is_signed)


class FormPages:
    """Answers of one path, whose page is made of a template."""

    def __init__(self, template: str, documents: TakenDocuments, **known: Any) -> None:
        """Use a template, and what is the same on each of its pages."""
        self._template = template
        taken = [kind for kind in KINDS if kind.name in documents.kinds]
        self._known = {
            "documents": {kind.name: kind.title for kind in taken},
            "suffixes": [suffix for kind in taken for suffix in kind.suffixes],
            "has_pages": bool(taken) and documents.has_pages,
            "turns": bool(taken) and documents.has_pages and not documents.is_signed,
            **known,
        }

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
