"""The placeholder: at the size asked, and never a second failure."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import images
import pytest

from imgprocessor.config.settings import OriginalsSettings, Settings
from imgprocessor.errors import Busy
from imgprocessor.parts import make_delivery
from imgprocessor.rendering.job import DirectRenderer, Job, Rendered
from imgprocessor.rendering.masters import Masters
from imgprocessor.rendering.process import make_masters
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.placeholder import Placeholder, StandIn
from imgprocessor.service.understanding import Incoming


def _placeholder(file: Path, delivery: Delivery) -> Placeholder:
    return Placeholder(file, delivery, delivery._locks, OriginalsSettings())  # noqa: SLF001


def _stand(file: Path, delivery: Delivery, query_string: str) -> StandIn:
    return _placeholder(file, delivery).stand_in(delivery.understand(Incoming(query_string, {})))


@pytest.mark.parametrize(
    ("query_string", "size"),
    [
        ("name=none.jpg&width=120", (120, 90)),
        ("name=none.jpg&width=120&height=120&fit=cover", (120, 120)),
        ("name=none.jpg&width=300&height=10&fit=force", (300, 10)),
        ("name=none.jpg&bandwidth=2g&screen=phone", (640, 480)),
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


def test_it_is_never_mirrored(delivery: Delivery, settings: Settings) -> None:
    file = settings.placeholder.file
    one, other = (
        _stand(file, delivery, f"name=none.jpg&width=120{more}") for more in ("", "&flip=h")
    )

    assert one.planned.imagekey == other.planned.imagekey


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
    placeholder = _placeholder(settings.placeholder.file, delivery)
    asked = delivery.understand(Incoming("name=none.jpg", {}))

    assert placeholder.stand_in(asked, with_pixels=False).rendition is None


def test_the_picture_that_is_delivered_is_one(settings: Settings) -> None:
    with settings.placeholder.file.open("rb") as file:
        assert images.decoded(file.read()).size == (1600, 1200)


class Slow(DirectRenderer):
    """Renders when it may; says when it begins."""

    def __init__(self, masters: Masters) -> None:
        super().__init__(masters)
        self.jobs: list[Job] = []
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()

    def render(self, job: Job) -> Rendered:
        """Render once it may."""
        self.jobs.append(job)
        self.begun.set()
        assert self.may_end.wait(10)
        return super().render(job)


def test_one_is_rendered_at_a_time_and_others_get_the_plain_one(settings: Settings) -> None:
    """A flood of 404s, each of another size, takes one worker, and no place from pictures."""
    slow = Slow(make_masters(settings, keeps=False))
    delivery = make_delivery(settings, keeps=True, renderer=slow)
    placeholder = _placeholder(settings.placeholder.file, delivery)
    plain = placeholder.plain()
    slow.may_end.clear()
    slow.begun.clear()

    def asked(width: int) -> StandIn:
        query_string = f"name=none.jpg&width={width}"
        return placeholder.stand_in(delivery.understand(Incoming(query_string, {})))

    with ThreadPoolExecutor() as pool:
        first = pool.submit(asked, 200)
        assert slow.begun.wait(10)
        meanwhile = [asked(width) for width in range(201, 210)]
        slow.may_end.set()
        rendition = first.result().rendition

    assert rendition is not None
    assert rendition.size.width == 200
    assert [stand_in.rendition for stand_in in meanwhile] == [plain.rendition] * 9
    assert len(slow.jobs) == 2
    assert not any(job.takes_place for job in slow.jobs)


def test_what_was_rendered_is_sent_while_another_is(settings: Settings) -> None:
    slow = Slow(make_masters(settings, keeps=False))
    delivery = make_delivery(settings, keeps=True, renderer=slow)
    placeholder = _placeholder(settings.placeholder.file, delivery)
    asked = delivery.understand(Incoming("name=none.jpg&width=200", {}))
    before = placeholder.stand_in(asked)

    with delivery._locks.held("placeholder", 0) as mine:  # noqa: SLF001 - as another process does
        assert mine
        assert placeholder.stand_in(asked) == before
    assert len(slow.jobs) == 2  # with the plain one


class Absent(DirectRenderer):
    """Renders once it is there."""

    is_there = False

    def render(self, job: Job) -> Rendered:
        """Render, or be busy."""
        if not self.is_there:
            raise Busy
        return super().render(job)


def _meanwhile(placeholder: Placeholder, delivery: Delivery, width: int) -> StandIn:
    """Return what a failure gets while another placeholder is rendered."""
    with delivery._locks.held("placeholder", 0) as mine:  # noqa: SLF001 - as another process does
        assert mine
        asked = delivery.understand(Incoming(f"name=none.jpg&width={width}", {}))
        return placeholder.stand_in(asked)


def test_the_plain_one_is_there_as_soon_as_anything_could_be_rendered(settings: Settings) -> None:
    absent = Absent(make_masters(settings, keeps=False))
    delivery = make_delivery(settings, keeps=True, renderer=absent)
    placeholder = _placeholder(settings.placeholder.file, delivery)
    placeholder.prepare()
    assert _meanwhile(placeholder, delivery, 201).rendition is None

    absent.is_there = True
    assert placeholder.stand_in(delivery.understand(Incoming("name=none.jpg", {}))).rendition
    absent.is_there = False

    assert _meanwhile(placeholder, delivery, 202).rendition is not None


def test_the_plain_one_is_the_file_of_today(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "404.png"
    images.save(file, images.texture((400, 300)), "PNG")
    delivery = make_delivery(settings, keeps=True)
    placeholder = _placeholder(file, delivery)
    placeholder.prepare()
    before = _meanwhile(placeholder, delivery, 201).rendition

    images.save(file, images.texture((300, 300)), "PNG")
    placeholder.stand_in(delivery.understand(Incoming("name=none.jpg&width=203", {})))
    after = _meanwhile(placeholder, delivery, 202).rendition

    assert before is not None
    assert after is not None
    assert (before.size.height, after.size.height) == (240, 300)
