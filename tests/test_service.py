"""The core without the web: the straight line, and that equal keys mean equal bytes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import images
import pytest
import strategies
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from imgprocessor.app import make_service
from imgprocessor.errors import BadQuery, Busy, NotFound
from imgprocessor.gate import Gate
from imgprocessor.service import Request, Service
from imgprocessor.settings import Settings


def test_a_request_becomes_a_picture(service: Service) -> None:
    answer = service.answer(
        service.find(Request("name=nasa.jpeg&width=340&height=400", {"ect": "2g"}))
    )

    assert answer.found.planned.imagekey.startswith("nasa.jpeg_340x400_inside_1x_2g_-_jpeg_-_")
    assert images.decoded(answer.rendition.body).size == (340, 227)


def test_finding_opens_nothing(service: Service, originals: Path) -> None:
    """What cannot be decoded is found all the same: a HEAD never touches pixels."""
    (originals / "broken.jpg").write_bytes(b"broken")

    assert service.find(Request("name=broken.jpg", {})).original.size_bytes == 6


@pytest.mark.parametrize(
    ("query_string", "error"), [("name=none.jpg", NotFound), ("width=1", BadQuery)]
)
def test_a_request_that_fails_says_how(
    service: Service, query_string: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        service.find(Request(query_string, {}))


def test_a_replaced_original_is_never_served_under_the_old_validator(
    service: Service, originals: Path
) -> None:
    found = service.find(Request("name=nasa.jpeg&width=10", {}))
    images.save(originals / "nasa.jpeg", images.four_colours((400, 300)), "JPEG")

    answer = service.answer(found)

    assert found.etag != answer.found.etag
    assert answer.found.etag == service.find(Request("name=nasa.jpeg&width=10", {})).etag
    assert images.corner_colours(images.decoded(answer.rendition.body))[0] == "red"


def test_what_was_made_once_is_not_made_again(service: Service) -> None:
    request = Request("name=nasa.jpeg&width=300", {})
    made, kept = service.answer(service.find(request)), service.answer(service.find(request))

    assert (made.source, kept.source) == ("original", "store")
    assert kept.rendition == made.rendition
    assert kept.found.etag == made.found.etag


def test_of_many_threads_one_renders(service: Service) -> None:
    request = Request("name=nasa.jpeg&width=300", {})
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: service.answer(service.find(request)), range(12)))

    assert sorted(answer.source for answer in answers) == ["original"] + ["store"] * 11
    assert len({answer.rendition.body for answer in answers}) == 1


def test_waiting_for_somebody_else_ends(service: Service, settings: Settings) -> None:
    found = service.find(Request("name=nasa.jpeg&width=300", {}))
    hasty = make_service(
        replace(settings, store=replace(settings.store, max_wait_seconds=0)), keeps=True
    )
    name = f"rendition {found.original.identity} {found.planned.imagekey}"
    gate = Gate(Path(settings.store.folder) / "locks")

    with gate.held(name, 0), pytest.raises(Busy):
        hasty.answer(found)
    assert hasty.answer(found).source == "original"


def test_where_nothing_can_be_kept_everything_is_still_answered(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    nowhere = replace(settings.store, folder=str(tmp_path / "file" / "cache"))
    service = make_service(replace(settings, store=nowhere), keeps=True)
    request = Request("name=nasa.jpeg&width=300", {})

    for _ in range(2):
        assert service.answer(service.find(request)).source == "original"


def test_a_purge_forgets_one_original(service: Service, originals: Path) -> None:
    images.save(originals / "other.jpeg", images.texture((300, 200)), "JPEG")
    requests = [Request(f"name={name}&width=100", {}) for name in ("nasa.jpeg", "other.jpeg")]
    for request in requests:
        service.answer(service.find(request))
    (originals / "nasa.jpeg").rename(originals / "away")

    assert service.purge("nasa.jpeg") > 0
    (originals / "away").rename(originals / "nasa.jpeg")
    sources = [service.answer(service.find(request)).source for request in requests]
    assert sources == ["original", "store"]


def test_a_purge_stays_among_the_originals(service: Service) -> None:
    with pytest.raises(NotFound):
        service.purge("../nasa.jpeg")


def test_long_requests_are_understood_and_not_remembered(service: Service) -> None:
    for number in range(3):
        service.find(Request(f"name=nasa.jpeg&width=300&x={'x' * 2000}{number}", {}))
    assert service._remembered.cache_info().currsize == 0  # noqa: SLF001 - memory is the point
    for _ in range(3):
        service.find(Request("name=nasa.jpeg&width=300", {"ect": "2g", "user-agent": "x"}))
    assert service._remembered.cache_info().currsize == 1  # noqa: SLF001 - as above


@hypothesis_settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_equal_keys_mean_equal_bytes_and_validators(service: Service, data: st.DataObject) -> None:
    """Two requests for one picture, so that keys are often equal; small, so that it is quick."""
    seen: dict[str, tuple[bytes, str]] = {}
    for _ in range(4):
        values = data.draw(strategies.parameters) | {"name": "nasa.jpeg", "screen": "phone"}
        values["width"] = data.draw(st.sampled_from(["40", "0"]))
        values["height"] = ""
        request = Request(strategies.query_string(values), data.draw(strategies.headers))
        answer = service.render(service.find(request))
        came = (answer.rendition.body, answer.found.etag)
        assert came == seen.setdefault(answer.found.planned.imagekey, came)
