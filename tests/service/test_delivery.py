"""The core without the web: the straight line, and that equal keys mean equal bytes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import images
import pytest
import strategies
from conftest import find
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from imgprocessor.config.settings import Settings
from imgprocessor.errors import BadQuery, Busy, NotFound
from imgprocessor.parts import make_delivery
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.understanding import Incoming
from imgprocessor.storage.locks import Locks


def test_a_request_becomes_a_picture(delivery: Delivery) -> None:
    answer = delivery.answer(
        delivery.find(
            delivery.understand(Incoming("name=nasa.jpeg&width=340&height=400", {"ect": "2g"}))
        )
    )

    assert answer.found.planned.imagekey.startswith(
        "nasa.jpeg_340x400_inside_-_1x_2g_-_gif+png+jpeg_-_"
    )
    assert images.decoded(answer.rendition.body).size == (340, 227)


def test_finding_opens_nothing(delivery: Delivery, originals: Path) -> None:
    """What cannot be decoded is found all the same: a HEAD never touches pixels."""
    (originals / "broken.jpg").write_bytes(b"broken")

    assert find(delivery, "name=broken.jpg").original.size_bytes == 6


@pytest.mark.parametrize(
    ("query_string", "error"), [("name=none.jpg", NotFound), ("width=1", BadQuery)]
)
def test_a_request_that_fails_says_how(
    delivery: Delivery, query_string: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        find(delivery, query_string)


def test_a_replaced_original_is_never_served_under_the_old_validator(
    delivery: Delivery, originals: Path
) -> None:
    found = find(delivery, "name=nasa.jpeg&width=10")
    images.save(originals / "nasa.jpeg", images.four_colours((400, 300)), "JPEG")

    answer = delivery.answer(found)

    assert found.etag != answer.found.etag
    assert answer.found.etag == find(delivery, "name=nasa.jpeg&width=10").etag
    assert images.corner_colours(images.decoded(answer.rendition.body))[0] == "red"


def test_what_was_made_once_is_not_made_again(delivery: Delivery) -> None:
    request = Incoming("name=nasa.jpeg&width=300", {})
    made, kept = delivery.answer(find(delivery, request)), delivery.answer(find(delivery, request))

    assert (made.source, kept.source) == ("original", "store")
    assert kept.rendition == made.rendition
    assert kept.found.etag == made.found.etag


def test_of_many_threads_one_renders(delivery: Delivery) -> None:
    request = Incoming("name=nasa.jpeg&width=300", {})
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: delivery.answer(find(delivery, request)), range(12)))

    assert sorted(answer.source for answer in answers) == ["original"] + ["store"] * 11
    assert len({answer.rendition.body for answer in answers}) == 1


def test_waiting_for_somebody_else_ends(delivery: Delivery, settings: Settings) -> None:
    found = find(delivery, "name=nasa.jpeg&width=300")
    hasty = make_delivery(
        replace(settings, rendering=replace(settings.rendering, single_flight_seconds=0)),
        keeps=True,
    )
    name = f"rendition {found.original.identity} {found.planned.imagekey}"
    locks = Locks(settings.disk_cache.folder / "locks")

    with locks.held(name, 0), pytest.raises(Busy):
        hasty.answer(found)
    assert hasty.answer(found).source == "original"


def test_where_nothing_can_be_kept_everything_is_still_answered(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    nowhere = replace(settings.disk_cache, folder=tmp_path / "file" / "cache")
    delivery = make_delivery(replace(settings, disk_cache=nowhere), keeps=True)
    request = Incoming("name=nasa.jpeg&width=300", {})

    for _ in range(2):
        assert delivery.answer(find(delivery, request)).source == "original"


def test_a_purge_forgets_one_original(delivery: Delivery, originals: Path) -> None:
    images.save(originals / "other.jpeg", images.texture((300, 200)), "JPEG")
    requests = [Incoming(f"name={name}&width=100", {}) for name in ("nasa.jpeg", "other.jpeg")]
    for request in requests:
        delivery.answer(find(delivery, request))
    (originals / "nasa.jpeg").rename(originals / "away")

    assert delivery.purge("nasa.jpeg") > 0
    (originals / "away").rename(originals / "nasa.jpeg")
    sources = [delivery.answer(find(delivery, request)).source for request in requests]
    assert sources == ["original", "store"]


def test_a_purge_stays_among_the_originals(delivery: Delivery) -> None:
    with pytest.raises(NotFound):
        delivery.purge("../nasa.jpeg")


def test_long_requests_are_understood_and_not_remembered(delivery: Delivery) -> None:
    for number in range(3):
        delivery.find(
            delivery.understand(Incoming(f"name=nasa.jpeg&width=300&x={'x' * 2000}{number}", {}))
        )
    remembered = delivery.understand.__self__._remembered  # type: ignore[attr-defined] # noqa: SLF001
    assert remembered.cache_info().currsize == 0
    for _ in range(3):
        delivery.find(
            delivery.understand(
                Incoming("name=nasa.jpeg&width=300", {"ect": "2g", "user-agent": "x"})
            )
        )
    assert remembered.cache_info().currsize == 1


@pytest.mark.slow
@hypothesis_settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_equal_keys_mean_equal_bytes_and_validators(
    settings: Settings, data: st.DataObject
) -> None:
    """Two requests for one picture, so that keys are often equal; small, so that it is quick. All
    are made directly.
    """
    delivery = make_delivery(settings, keeps=False)
    seen: dict[str, tuple[bytes, str]] = {}
    for _ in range(4):
        values = data.draw(strategies.parameters) | {"name": "nasa.jpeg", "screen": "phone"}
        values["width"] = data.draw(st.sampled_from(["40", "0"]))
        values["height"] = values["page"] = ""
        request = Incoming(strategies.query_string(values), data.draw(strategies.headers))
        answer = delivery.render(find(delivery, request))
        came = (answer.rendition.body, answer.found.etag)
        assert came == seen.setdefault(answer.found.planned.imagekey, came)
