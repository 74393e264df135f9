"""The core without the web: the straight line, and that equal keys mean equal bytes."""

from pathlib import Path

import images
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgprocessor.errors import BadQuery, NotFound
from imgprocessor.service import Request, Service


def test_a_request_becomes_a_picture(service: Service) -> None:
    found, rendition = service.render(
        service.find(Request("name=nasa.jpeg&width=340&height=400", {"ect": "2g"}))
    )

    assert found.planned.imagekey.startswith("nasa.jpeg_340x400_inside_1x_2g_-_jpeg_-_")
    assert images.decoded(rendition.body).size == (340, 227)


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

    really, rendition = service.render(found)

    assert found.etag != really.etag
    assert really.etag == service.find(Request("name=nasa.jpeg&width=10", {})).etag
    assert images.corner_colours(images.decoded(rendition.body))[0] == "red"


@settings(
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
        found, rendition = service.render(service.find(request))
        answer = (rendition.body, found.etag)
        assert answer == seen.setdefault(found.planned.imagekey, answer)
