"""Records of uploads, read strictly: pictures have width and height, documents have none."""

from typing import Any

import pytest

from imgprocessor.cli.uploads.records import read_record

IDENT = "0123456789abcdef" * 2


def _record(**said: Any) -> dict[str, Any]:
    return {
        "ident": IDENT, "format": "jpeg", "width": 4, "height": 3, "is_animated": False,
        "bytes": 1, "sha256": "a" * 64, "sent_bytes": 1, "sent_sha256": IDENT * 2,
        "metadata": "none", "uploaded_ns": 0, "by": "somebody", "sizes": [], **said,
    }  # fmt: skip


@pytest.mark.parametrize(
    "said", [{}, {"format": "pdf", "width": None, "height": None, "metadata": "all"}]
)
def test_records_of_pictures_and_documents_are_read(said: dict[str, Any]) -> None:
    assert read_record(_record(**said), IDENT) == _record(**said)


@pytest.mark.parametrize(
    "said",
    [
        {"width": None}, {"width": None, "height": None}, {"format": "pdf"},
        {"format": "pdf", "width": None}, {"format": "html", "width": None, "height": None},
        {"format": None}, {"width": 0}, {"width": True},
    ],
)  # fmt: skip
def test_a_record_that_is_of_neither_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="its record says"):
        read_record(_record(**said), IDENT)
