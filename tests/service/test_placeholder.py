"""The placeholder: at the size asked, and never a second failure."""

from pathlib import Path

import images
import pytest

from imgprocessor.config.settings import OriginalsSettings, PixelsSettings, Settings
from imgprocessor.service.delivery import Delivery, Incoming
from imgprocessor.service.placeholder import Placeholder, StandIn


def _stand(file: Path, delivery: Delivery, query_string: str) -> StandIn:
    placeholder = Placeholder(file, delivery, PixelsSettings(), OriginalsSettings())
    return placeholder.stand_in(Incoming(query_string, {}))


@pytest.mark.parametrize(
    ("query_string", "size"),
    [
        ("name=none.jpg&width=120", (120, 90)),
        ("name=none.jpg&width=120&height=120&fit=cover", (120, 120)),
        ("name=none.jpg&width=300&height=10&fit=force", (300, 10)),
        ("name=none.jpg&bandwidth=2g&screen=phone", (360, 270)),
        ("name=../x&width=120&height=oops", (120, 90)),
        ("", (1600, 1200)),
    ],
)
def test_it_has_the_size_and_fit_that_were_asked(
    delivery: Delivery, settings: Settings, query_string: str, size: tuple[int, int]
) -> None:
    stand = _stand(settings.placeholder.file, delivery, query_string)

    assert stand.rendition is not None
    assert images.decoded(stand.rendition.body).size == size
    assert stand.planned.imagekey.startswith("404image.png_")


def test_it_has_the_quality_that_was_asked(delivery: Delivery, settings: Settings) -> None:
    file = settings.placeholder.file
    low, high = (_stand(file, delivery, f"width=400&quality={q}").rendition for q in (10, 70))

    assert low is not None
    assert high is not None
    assert len(low.body) < len(high.body)


@pytest.mark.parametrize("content", [None, b"", b"broken", b"\x89PNG\r\n\x1a\nbroken"])
def test_one_that_is_missing_or_broken_is_no_second_failure(
    delivery: Delivery, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "404image.png"
    if content is not None:
        file.write_bytes(content)

    stand = _stand(file, delivery, "name=none.jpg")

    assert stand.rendition is None
    assert str(file) in stand.trouble


def test_a_head_asks_for_no_pixels(delivery: Delivery, settings: Settings) -> None:
    placeholder = Placeholder(
        settings.placeholder.file, delivery, PixelsSettings(), OriginalsSettings()
    )

    assert placeholder.stand_in(Incoming("name=none.jpg", {}), with_pixels=False).rendition is None


def test_the_picture_that_is_delivered_is_one(settings: Settings) -> None:
    with settings.placeholder.file.open("rb") as file:
        assert images.decoded(file.read()).size == (1600, 1200)
