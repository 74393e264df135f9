"""HTTP: status, headers and body of every kind of answer."""

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import images
import pytest
from failures import EVERY_ERROR, OF_PICTURES, an_error
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from werkzeug.test import Client, TestResponse

from imgprocessor.app import make_web
from imgprocessor.config.settings import PlaceholderSettings, Settings
from imgprocessor.errors import (
    Busy,
    ConfigurationError,
    ImageError,
    Internal,
    NoSuchPage,
    NotFound,
    PageBeingMade,
)
from imgprocessor.load import answers_digest, load_policy
from imgprocessor.policy.imagekey import original_tag
from imgprocessor.policy.imagekey import tags as tags_of
from imgprocessor.service.delivery import Delivery

NASA = "/images/?name=nasa.jpeg"
BANDWIDTH_HINTS = "HTTP-NW-TYPE, Save-Data, ECT, RTT, Downlink"
SCREEN_HINTS = "HTTP-SCREENSIZE, Sec-CH-Viewport-Width, Viewport-Width, Sec-CH-UA-Mobile"


def _log(settings: Settings) -> list[dict[str, Any]]:
    """Return the requests' lines; the first of all says what was started."""
    start, *lines = map(json.loads, settings.log.file.read_text().splitlines())
    assert start["started"].startswith("Pillow")
    return lines


def test_a_picture_comes_with_its_headers(client: FlaskClient) -> None:
    answer = client.get(f"{NASA}&width=340&height=400&bandwidth=4g&dpr=2")

    assert answer.status_code == 200
    assert images.decoded(answer.data).size == (680, 453)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Content-Length"] == str(len(answer.data))
    assert answer.headers["imagekey"].startswith(
        "nasa.jpeg_340x400_inside_-_2x_4g_-_gif+png+jpeg_-_"
    )
    assert answer.headers["Content-DPR"] == "2"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == (
        "public, max-age=86400, s-maxage=600, stale-while-revalidate=3600, stale-if-error=604800"
    )
    assert answer.headers["image-decision"] == (
        "bandwidth=4g; cell=q78 dpr3; original=1534x1022; size=680x453; format=jpeg; quality=78"
    )
    for part in ("find", "decode", "resize", "encode"):
        assert f"{part};dur=" in answer.headers["Server-Timing"]


def test_vary_is_absent_when_the_query_said_everything(client: FlaskClient) -> None:
    assert "Vary" not in client.get(f"{NASA}&bandwidth=3g&screen=phone&format=jpeg").headers
    assert "Vary" not in client.get(f"{NASA}&bandwidth=3g&width=10&dpr=1&format=avif").headers
    # slow-2g honours one density only, so that hints of it cannot matter.
    assert "Vary" not in client.get(f"{NASA}&bandwidth=slow-2g&width=10&format=png").headers


@pytest.mark.parametrize(
    ("rest", "vary"),
    [
        (
            "",
            f"{BANDWIDTH_HINTS}, {SCREEN_HINTS}, Accept",
        ),
        ("&width=10", f"{BANDWIDTH_HINTS}, Sec-CH-DPR, DPR, Accept"),
        ("&bandwidth=4g", f"{SCREEN_HINTS}, Accept"),
        ("&screen=360", f"{BANDWIDTH_HINTS}, Accept"),
        ("&width=10&bandwidth=3g", "Sec-CH-DPR, DPR, Accept"),
        ("&screen=360&bandwidth=5g", f"{BANDWIDTH_HINTS}, Accept"),
        ("&screen=360&bandwidth=4g", "Accept"),
        ("&screen=360&format=webp", BANDWIDTH_HINTS),
        ("&screen=360&bandwidth=4g&format=auto", "Accept"),
    ],
)
def test_vary_names_what_can_matter_whatever_was_sent(
    client: FlaskClient, rest: str, vary: str
) -> None:
    for headers in ({}, {"ECT": "2g", "DPR": "2", "Viewport-Width": "9"}):
        assert client.get(NASA + rest, headers=headers).headers["Vary"] == vary


def test_browsers_keep_a_degraded_picture_for_a_shorter_time(client: FlaskClient) -> None:
    answer = client.get(f"{NASA}&bandwidth=3g&screen=phone&format=jpeg")

    assert answer.headers["Cache-Control"].startswith("public, max-age=600, s-maxage=600,")


def test_old_headers_reach_the_policy(client: FlaskClient) -> None:
    answer = client.get(NASA, headers={"HTTP-NW-TYPE": "2G", "HTTP-SCREENSIZE": "320"})

    assert "_2g_phone_" in answer.headers["imagekey"]


def test_a_head_answers_without_touching_pixels(client: FlaskClient, originals: Path) -> None:
    (originals / "nasa.jpeg").write_bytes(b"broken")  # so that touching them would show

    answer = client.head(NASA)

    assert answer.status_code == 200
    assert "Content-Length" not in answer.headers
    for name in ("imagekey", "ETag", "Vary", "Cache-Control", "Last-Modified"):
        assert name in answer.headers


def test_head_and_get_agree(client: FlaskClient) -> None:
    head, got = client.head(NASA), client.get(NASA)

    for name in ("imagekey", "ETag", "Vary", "Cache-Control", "Last-Modified"):
        assert head.headers[name] == got.headers[name]


def test_a_copy_that_is_still_good_is_not_rendered_again(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.get(NASA)
    for means in ("answer", "render", "kept"):
        monkeypatch.delattr(Delivery, means)

    for tags in (first.headers["ETag"], f'"other", {first.headers["ETag"][2:]}', "*"):
        again = client.get(NASA, headers={"If-None-Match": tags})
        assert again.status_code == 304
        assert again.data == b""
        for name in ("imagekey", "ETag", "Vary", "Cache-Control"):
            assert again.headers[name] == first.headers[name]


def test_a_copy_of_another_rendition_or_version_is_not_good(
    client: FlaskClient, originals: Path
) -> None:
    etag = client.get(NASA).headers["ETag"]
    assert client.get(f"{NASA}&width=10", headers={"If-None-Match": etag}).status_code == 200

    images.save(originals / "nasa.jpeg", images.four_colours((40, 30)), "JPEG")
    assert client.get(NASA, headers={"If-None-Match": etag}).status_code == 200


def test_if_modified_since_is_honoured_where_no_etag_was_sent(client: FlaskClient) -> None:
    modified = client.get(NASA).headers["Last-Modified"]
    old = "Mon, 01 Jan 2001 00:00:00 GMT"

    def status(headers: dict[str, str]) -> int:
        return client.get(NASA, headers=headers).status_code

    assert status({"If-Modified-Since": modified}) == 304
    assert status({"If-Modified-Since": old}) == 200
    assert status({"If-Modified-Since": "nonsense"}) == 200
    assert status({"If-Modified-Since": modified, "If-None-Match": '"other"'}) == 200


def test_an_original_from_the_future_is_modified_now(client: FlaskClient, originals: Path) -> None:
    os.utime(originals / "nasa.jpeg", (4_000_000_000, 4_000_000_000))
    modified = client.head(NASA).last_modified

    assert modified is not None
    assert modified.timestamp() <= time.time()


@pytest.mark.parametrize("seconds", [0, 4_000_000_000])
def test_an_original_of_any_age_is_served(
    client: FlaskClient, originals: Path, seconds: int
) -> None:
    os.utime(originals / "nasa.jpeg", (seconds, seconds))

    assert client.get(f"{NASA}&width=10").status_code == 200


def test_a_missing_original_is_a_placeholder_kept_for_a_short_time(client: FlaskClient) -> None:
    answer = client.get("/images/?name=none.jpeg&width=340&height=400&fit=force&bandwidth=3g")

    assert answer.status_code == 404
    assert images.decoded(answer.data).size == (340, 400)
    assert answer.headers["image-error"] == "not-found"
    assert answer.headers["imagekey"].startswith("404image.png_340x400_force_-_1x_3g_")
    assert answer.headers["Content-DPR"] == "1"
    assert answer.headers["image-decision"] == (
        "bandwidth=3g; cell=q70 250kB dpr3; budget=250000; original=1600x1200; size=340x400;"
        " format=jpeg; quality=70"
    )
    assert answer.headers["Cache-Control"] == "public, max-age=30"
    assert "ETag" not in answer.headers
    assert answer.headers["Vary"] == "Sec-CH-DPR, DPR, Accept"


def test_an_original_that_appears_is_served_at_once(client: FlaskClient, originals: Path) -> None:
    assert client.get("/images/?name=new.png").status_code == 404
    images.save(originals / "new.png", images.four_colours((40, 30)), "PNG")
    assert client.get("/images/?name=new.png").status_code == 200


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "unsupported-original"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "unsupported-original"),
        (b"\xff\xd8\xff\xe0broken", "broken-original"),
        (images.encoded(images.texture((90, 60)), "JPEG")[:620], "broken-original"),
        (images.encoded(images.texture((90, 60)), "WEBP")[:-200], "broken-original"),
    ],
)
def test_an_original_that_cannot_be_shown_is_a_422_with_a_picture(
    client: FlaskClient, originals: Path, content: bytes, code: str
) -> None:
    (originals / "odd.jpg").write_bytes(content)

    answer = client.get("/images/?name=odd.jpg&width=64")

    assert (answer.status_code, answer.headers["image-error"]) == (422, code)
    assert images.decoded(answer.data).size == (64, 48)
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_damaged_original_is_shown_and_kept_for_a_short_time(
    client: FlaskClient, originals: Path, settings: Settings
) -> None:
    whole = images.encoded(images.texture((900, 600)), "JPEG")
    (originals / "odd.jpg").write_bytes(whole[: len(whole) // 2])

    for source in ("original", "store"):
        answer = client.get("/images/?name=odd.jpg&width=64")
        assert (answer.status_code, images.decoded(answer.data).size) == (200, (64, 43)), source
        assert answer.headers["image-decision"].endswith("; damaged=original")
        expected = "public, max-age=30, s-maxage=30, must-revalidate"
        assert answer.headers["Cache-Control"] == expected
        assert not {"ETag", "Last-Modified"} & set(answer.headers.keys())
        line = _log(settings)[-1]
        assert (line["source"], line["damaged"]) == (source, True)
    (originals / "odd.jpg").write_bytes(whole)

    answer = client.get("/images/?name=odd.jpg&width=64")
    assert "damaged" not in answer.headers["image-decision"]
    assert answer.headers["ETag"]
    assert "damaged" not in _log(settings)[-1]


@pytest.mark.parametrize("name", ["nasa", "nasa.png", "nasa.jpeg.txt", "a b+c&d=é.gif"])
def test_a_name_without_or_with_a_wrong_extension_is_served(
    client: FlaskClient, originals: Path, name: str
) -> None:
    (originals / "nasa.jpeg").rename(originals / name)

    answer = client.get("/images/", query_string={"name": name, "width": "10"})

    assert answer.status_code == 200


def test_a_page_authors_mistake_is_a_400_that_says_which(client: FlaskClient) -> None:
    answer = client.get(f"{NASA}&width=abc&height=90")

    assert answer.status_code == 400
    assert answer.headers["image-error"] == "bad-query"
    assert answer.headers["image-error-detail"] == (
        "width=abc: must be a whole number from 1 to 4096"
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert images.decoded(answer.data).size == (120, 90)


def test_a_crop_that_lies_outside_is_a_422_once_the_picture_is_opened(client: FlaskClient) -> None:
    """The original stays good, and what lies partly inside is sent."""
    url = f"{NASA}&crop=1534,0,10,10&width=120"
    answer = client.get(url)

    assert (answer.status_code, answer.headers["image-error"]) == (422, "crop-outside")
    assert answer.headers["Cache-Control"] == "no-store"
    assert images.decoded(answer.data).width == 120
    problem = client.get(url, headers={"Accept": "application/json"})
    assert problem.json == {
        "title": "The crop lies outside of the picture.",
        "status": 422,
        "code": "crop-outside",
    }
    assert client.head(url).status_code == 200
    inside = client.get(f"{NASA}&crop=1533,1000,10,100")
    assert (inside.status_code, images.decoded(inside.data).size) == (200, (1, 22))
    assert images.decoded(client.get(NASA).data).size == (1534, 1022)


def test_bytes_to_be_shown_blurred_are_one_answer_for_everybody(client: FlaskClient) -> None:
    url = f"{NASA}&lqip=yes"
    plain = client.get(url, headers={"Accept": "image/jpeg"})
    other = client.get(f"{url}&width=9&dpr=2", headers={"ECT": "2g", "Sec-CH-DPR": "3"})

    assert plain.headers["imagekey"] == other.headers["imagekey"]
    assert plain.headers["imagekey"].startswith("nasa.jpeg_16x16_inside_lqipyes_1x_-_-_webp_b199_")
    assert plain.headers["Content-Type"] == "image/webp"
    assert len(plain.data) < 200
    assert images.decoded(plain.data).size == (16, 11)
    assert "Vary" not in plain.headers
    assert plain.headers["Cache-Control"] == other.headers["Cache-Control"]


def test_who_asks_for_json_gets_a_problem(client: FlaskClient) -> None:
    answer = client.get(f"{NASA}&width=abc", headers={"Accept": "application/json"})

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json == {
        "title": "width=abc: must be a whole number from 1 to 4096",
        "status": 400,
        "code": "bad-query",
    }
    missing = client.get("/images/?name=x", headers={"Accept": "application/problem+json"})
    assert (missing.status_code, missing.headers["Cache-Control"]) == (404, "no-store")


def test_no_side_over_4096_is_sent(client: FlaskClient) -> None:
    assert client.get(f"{NASA}&width=4097").status_code == 400
    dense = client.get(f"{NASA}&width=2049&height=10&fit=force&dpr=2")
    assert images.decoded(dense.data).size == (3074, 15)  # 1.5 is the most that fits


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "",
        "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ],
)
def test_browsers_get_a_picture_of_a_failure(client: FlaskClient, accept: str) -> None:
    answer = client.get("/images/?name=none", headers={"Accept": accept})

    assert answer.headers["Content-Type"] == "image/jpeg"


def test_error_codes_are_unique_slugs() -> None:
    codes = [error.code for error in EVERY_ERROR]

    assert len(codes) == len(set(codes))
    assert all(code.replace("-", "").isalpha() and code.islower() for code in codes)


@pytest.mark.parametrize("kind", OF_PICTURES)
def test_every_error_has_the_same_shape(
    kind: type[ImageError], client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status, code and sentence in headers; a picture as the body; kept by nobody but a 404, and
    that only where it is no upload's, which may come at any time.
    """
    error = an_error(kind)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Delivery, "find", fail)
    answer = client.get(f"{NASA}&width=64")

    assert answer.status_code == kind.status
    assert answer.headers["image-error"] == kind.code
    assert answer.headers["image-error-detail"] == error.public
    # Where there is too much to do, one placeholder must do for all.
    assert images.decoded(answer.data).size == ((320, 240) if kind.is_passing else (64, 48))
    is_kept = kind in {NotFound, NoSuchPage, PageBeingMade}
    assert ("no-store" in answer.headers["Cache-Control"]) == (not is_kept)
    assert "secret" not in str(answer.headers)


def test_an_unexpected_error_is_a_500_with_a_picture_and_one_traceback(
    client: FlaskClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Delivery, "find", fail)
    answer = client.get(NASA)

    assert (answer.status_code, answer.headers["image-error"]) == (500, Internal.code)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert b"secret" not in answer.data
    assert capsys.readouterr().err.count("Traceback") == 1
    assert "ZeroDivisionError: secret" in _log(settings)[-1]["detail"]


@pytest.mark.parametrize("query_string", ["name=none", "name=none&width=x", "width=-1"])
def test_without_a_placeholder_a_failure_is_plain_text(
    settings: Settings, tmp_path: Path, query_string: str
) -> None:
    broken = replace(settings, placeholder=PlaceholderSettings(tmp_path / "none.png"))

    answer = make_web(broken).test_client().get(f"/images/?{query_string}")

    assert answer.status_code in {400, 404}
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "image-error" in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_pictures_can_be_read_and_nothing_else(client: FlaskClient, method: str) -> None:
    answer = client.open(NASA, method=method)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_without_the_slash_there_is_a_redirect(client: FlaskClient) -> None:
    answer = client.get("/images?name=nasa.jpeg")

    assert answer.status_code == 308
    assert answer.headers["Location"].endswith("/images/?name=nasa.jpeg")


def test_a_path_that_does_not_exist_is_a_404_with_a_picture(client: FlaskClient) -> None:
    answer = client.get("/image")

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "image/jpeg")


def test_a_log_line_says_what_was_decided_and_why(client: FlaskClient, settings: Settings) -> None:
    answer = client.get(NASA, headers={"ECT": "3g", "Sec-CH-Viewport-Width": "360"})

    (line,) = _log(settings)
    assert line["imagekey"] == answer.headers["imagekey"]
    assert (line["method"], line["status"], line["bytes"]) == ("GET", 200, len(answer.data))
    assert (line["bandwidth"], line["bandwidth_from"]) == ("3g", "ECT")
    assert (line["screen"], line["screen_from"]) == ("phone", "Sec-CH-Viewport-Width")
    assert (line["cell"], line["original"], line["size"]) == (
        "1082px q75 150kB",
        "1534x1022",
        "1082x721",
    )
    assert {"find", "decode", "resize", "encode"} <= set(line["ms"])
    assert 0 <= line["ms"]["find"] <= line["total_ms"]
    assert 0 < line["ms"]["decode"] <= line["total_ms"]


def test_a_log_line_of_a_failure_says_the_same_and_why(
    client: FlaskClient, settings: Settings
) -> None:
    client.get("/images/?name=none", headers={"ECT": "3g"})

    (line,) = _log(settings)
    assert (line["error"], line["detail"]) == ("not-found", "'none': No such file or directory")
    assert (line["bandwidth"], line["bandwidth_from"]) == ("3g", "ECT")


def test_every_answer_is_one_line(client: FlaskClient, settings: Settings) -> None:
    client.get(NASA)
    client.head(NASA)
    client.get("/images/?name=none%0a")
    client.get("/images/?name=none")
    client.post("/images/")
    client.get("/images")

    lines = _log(settings)
    assert [line["status"] for line in lines] == [200, 200, 400, 404, 405, 308]
    assert [line["bytes"] == 0 for line in lines] == [False, True, False, False, False, False]


def test_it_is_valid_wsgi(settings: Settings) -> None:
    web = Client(validator(make_web(settings)), TestResponse)

    for path in (NASA, f"{NASA}&width=x", "/images/?name=none", "/images"):
        with web.get(path) as answer:
            assert answer.status_code in {200, 308, 400, 404}
    with web.head(NASA) as answer:
        assert answer.status_code == 200


def test_threads_do_not_disturb_each_other(settings: Settings) -> None:
    web = make_web(settings)
    sizes: dict[int, tuple[int, int]] = {}

    def ask(width: int) -> None:
        answer = web.test_client().get(f"{NASA}&width={width}&dpr=1")
        sizes[width] = images.decoded(answer.data).size

    threads = [threading.Thread(target=ask, args=(width,)) for width in range(40, 80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {width: size[0] for width, size in sizes.items()} == {w: w for w in range(40, 80)}


octets = st.text(st.characters(max_codepoint=0xFF), max_size=60)
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=30)


@hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150
)
@given(
    octets | octets.map(lambda text: f"name=nasa.jpeg&width=8&{text}"),
    st.dictionaries(
        st.sampled_from(["ECT", "RTT", "DPR", "Viewport-Width", "Accept", "If-None-Match"])
        | st.sampled_from(["If-Modified-Since", "HTTP-NW-TYPE", "Save-Data", "Range", "Cookie"]),
        header_values,
    ),
)
def test_nothing_that_a_client_sends_is_a_500(
    client: FlaskClient, query_string: str, headers: dict[str, str]
) -> None:
    environ = {"QUERY_STRING": query_string}
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers.items()}

    answer = client.get("/images/", environ_overrides=environ)

    assert answer.status_code in {200, 304, 400, 404}


def test_a_log_that_cannot_be_written_stops_the_start(settings: Settings, tmp_path: Path) -> None:
    log = replace(settings.log, file=tmp_path / "none" / "log")

    with pytest.raises(ConfigurationError):
        make_web(replace(settings, log=log))


CHROMIUM = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "formats", "mime"),
    [
        (CHROMIUM, "avif+webp+gif+png+jpeg", "image/avif"),
        # A texture of noise is where WebP is at its worst: the plainer JPEG weighs less.
        ("image/webp,*/*", "webp+gif+png+jpeg", "image/jpeg"),
        ("image/avif;q=0.1,image/webp;q=0.9", "webp+png+jpeg", "image/jpeg"),
        ("image/webp,image/jpeg;q=0", "webp+png", "image/webp"),
        ("image/png;q=0,image/jpeg;q=0.4,image/webp", "webp", "image/webp"),
        ("*/*", "gif+png+jpeg", "image/jpeg"),
        ("image/*;q=0.1", "png+jpeg", "image/jpeg"),
        ("image/jpeg;q=0", "png", "image/png"),
    ],
)
def test_one_url_has_the_format_that_accept_asks_for(
    settings: Settings, accept: str, formats: str, mime: str
) -> None:
    # What is made at once may be in a plainer one.
    finished = replace(settings, rendering=replace(settings.rendering, best_behind=False))
    client = make_web(finished).test_client()
    answer = client.get(f"{NASA}&width=300&bandwidth=4g", headers={"Accept": accept})

    assert (answer.status_code, answer.mimetype) == (200, mime)
    assert f"_{formats}_" in answer.headers["imagekey"]
    assert f"format={mime.removeprefix('image/')}" in answer.headers["image-decision"]
    assert f"image/{str(images.decoded(answer.data).format).lower()}" == mime


def test_the_type_of_a_head_is_told_only_where_it_is_known(client: FlaskClient) -> None:
    several = client.head(NASA, headers={"Accept": CHROMIUM})
    one = client.head(f"{NASA}&format=webp", headers={"Accept": CHROMIUM})

    assert (several.status_code, several.headers.get("Content-Type")) == (200, None)
    assert one.headers["Content-Type"] == "image/webp"


def test_a_query_may_name_a_format_that_is_offered(client: FlaskClient) -> None:
    refused = client.get(f"{NASA}&format=jxl")

    assert client.get(f"{NASA}&width=90&format=avif").mimetype == "image/avif"
    assert client.get(f"{NASA}&width=90&format=png").mimetype == "image/png"
    assert (refused.status_code, refused.headers["image-error"]) == (400, "bad-query")
    assert refused.headers["image-error-detail"] == (
        "format=jxl: the policy allows avif, webp, png, jpeg"
    )


@pytest.mark.parametrize(
    ("rest", "accept", "mimes"),
    [
        ("", CHROMIUM, {"image/avif", "image/webp"}),
        ("", "*/*", {"image/png"}),
        ("&formats=none", CHROMIUM, {"image/png"}),
        ("&format=jpeg", CHROMIUM, {"image/jpeg"}),
        ("", "image/png;q=0", {"image/jpeg"}),
    ],
)
def test_transparency_is_kept_where_the_format_can(
    client: FlaskClient, originals: Path, rest: str, accept: str, mimes: set[str]
) -> None:
    """All clients take PNG, and JPEG is put on white."""
    image = images.texture((300, 200)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((300, 200)))
    images.save(originals / "clear.png", image, "PNG")

    answer = client.get(f"/images/?name=clear.png{rest}", headers={"Accept": accept})

    assert answer.mimetype in mimes
    top = images.decoded(answer.data).getpixel((150, 0))
    assert isinstance(top, tuple)
    assert min(top) > 240 if len(top) == 3 else top[3] < 20
    assert (len(top) == 3) == (answer.mimetype == "image/jpeg")


def test_no_gif_is_made(client: FlaskClient, originals: Path) -> None:
    images.save(originals / "a.gif", images.four_colours((30, 20)), "GIF")

    answer = client.get("/images/?name=a.gif&formats=gif", headers={"Accept": "image/gif"})
    refused = client.get("/images/?name=a.gif&format=gif")

    assert (answer.status_code, answer.mimetype) in {(200, "image/jpeg"), (200, "image/png")}
    assert "_gif+png+jpeg_" in answer.headers["imagekey"]
    assert refused.status_code == 400
    assert refused.headers["image-error-detail"].startswith("format=gif: must be auto, jxl, avif")


def test_encoders_do_not_go_looking_for_more_frames(client: FlaskClient, originals: Path) -> None:
    """They would in the original's own file, which is closed by then, and may be broken there."""
    frames = [Image.new("L", (30, 20), grey) for grey in (0, 255)]
    images.save(originals / "grey.png", frames[0], "PNG", save_all=True, append_images=frames[1:])
    second_is_broken = (
        "4749463837610100010080ff000000000101012c000000000100010000080400010404"
        "002c00000000000000ff0000000001003f000008b90400010404003b"
    )
    (originals / "grey.gif").write_bytes(bytes.fromhex(second_is_broken))

    for name in ("grey.png", "grey.gif"):
        answer = client.get(f"/images/?name={name}", headers={"Accept": CHROMIUM})
        assert answer.status_code == 200


@pytest.mark.parametrize("accept", ["*/*", CHROMIUM])
@pytest.mark.parametrize("budget", [1000, 4000, 30_000, 10_000_000])
def test_an_answer_never_weighs_more_than_was_asked(
    client: FlaskClient, settings: Settings, accept: str, budget: int
) -> None:
    answer = client.get(
        f"{NASA}&width=640&bandwidth=4g&max_bytes={budget}", headers={"Accept": accept}
    )

    decision = answer.headers["image-decision"]
    (line,) = _log(settings)
    assert len(answer.data) <= budget
    assert f"_b{budget}_" in answer.headers["imagekey"]
    assert f"; budget={budget}; " in decision
    assert line["budget_bytes"] == budget
    expected = {1000: "size", 4000: "size", 30_000: "quality", 10_000_000: ""}[budget]
    if accept == "*/*":
        assert line["limited"] == expected
        assert ("limited=" + expected in decision) == bool(expected)


@pytest.mark.parametrize("fit", ["force", "cover", "inside"])
def test_a_budget_outweighs_the_size_that_was_asked_and_keeps_its_shape(
    client: FlaskClient, fit: str
) -> None:
    answer = client.get(f"{NASA}&width=600&height=400&fit={fit}&max_bytes=3000")

    width, height = images.decoded(answer.data).size
    assert len(answer.data) <= 3000
    assert width < 600
    assert abs(width * 400 - height * 600) <= 600
    # So that the browser still lays it out at the size that was asked for.
    assert abs(float(answer.headers["Content-DPR"]) - width / 600) < 0.002


def test_a_budget_below_a_thousand_bytes_is_refused(client: FlaskClient) -> None:
    answer = client.get(f"{NASA}&max_bytes=999")

    assert answer.status_code == 400
    assert (
        "max_bytes=999: must be a whole number of bytes, at least 1000"
        in (answer.headers["image-error-detail"])
    )


def test_placeholders_keep_budgets_and_are_cheap_to_make(client: FlaskClient) -> None:
    answer = client.get("/images/?name=none&width=800&max_bytes=2000", headers={"Accept": CHROMIUM})

    assert (answer.status_code, answer.mimetype) == (404, "image/jpeg")
    assert len(answer.data) <= 2000
    assert images.decoded(answer.data).size[0] <= 800
    # The Vary of a URL is the same whether its picture is there or not.
    there = client.head(f"{NASA}&width=800&max_bytes=2000", headers={"Accept": CHROMIUM})
    assert answer.headers["Vary"] == there.headers["Vary"]


def test_a_head_knows_all_once_the_rendition_is_kept(client: FlaskClient) -> None:
    url = "/images/?name=nasa.jpeg&width=300"
    assert "Content-Length" not in client.head(url).headers
    got = client.get(url)
    head = client.head(url)

    assert head.data == b""
    for name in ("Content-Length", "Content-Type", "Content-DPR", "image-decision", "ETag"):
        assert head.headers[name] == got.headers[name]


def test_a_repeat_is_logged_with_where_it_came_from(
    client: FlaskClient, settings: Settings
) -> None:
    for _ in range(2):
        client.get("/images/?name=nasa.jpeg&width=300")

    lines = [json.loads(line) for line in settings.log.file.read_text().splitlines()]
    assert [line["source"] for line in lines if "source" in line] == ["original", "store"]
    assert {"find", "store"} <= set(lines[-1]["ms"])


def test_who_waited_too_long_is_asked_to_try_again(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: bool) -> None:
        raise Busy

    monkeypatch.setattr(Delivery, "answer", busy)
    answer = client.get("/images/?name=nasa.jpeg&width=300")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] in {"1", "2", "3"}
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 2024 00:00:00 +99999999999999",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 99999999999999999999:00:00 GMT",
        "nonsense",
    ],
)
def test_a_date_that_no_calendar_has_counts_as_not_given(client: FlaskClient, date: str) -> None:
    answer = client.get("/images/?name=nasa.jpeg&width=30", headers={"If-Modified-Since": date})

    assert answer.status_code == 200


def test_a_redirect_is_kept_by_nobody(client: FlaskClient) -> None:
    answer = client.get("/images?name=nasa.jpeg", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.headers["Cache-Control"]) == (308, "no-store")
    assert answer.headers["Location"].endswith("/images/?name=nasa.jpeg")


@pytest.mark.parametrize("host", ["a..b", "x" * 64, ".", f"{'x' * 300}.example"])
def test_a_host_that_can_be_none_is_a_400(client: FlaskClient, host: str) -> None:
    answer = client.get(NASA, headers={"Host": host})

    assert (answer.status_code, answer.headers["image-error"]) == (400, "bad-query")
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_original_whose_real_name_is_no_utf8(client: FlaskClient, originals: Path) -> None:
    (originals / "nasa.jpeg").rename(originals / "caf\udce9.jpg")
    (originals / "link.jpg").symlink_to(originals / "caf\udce9.jpg")

    for _ in range(2):
        assert client.get("/images/?name=link.jpg&width=30").status_code == 200


def test_health_names_the_policy_and_is_not_logged(client: FlaskClient, settings: Settings) -> None:
    answer = client.get("/images/-/health")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_json() == {
        "status": "alive",
        "policy": answers_digest(settings, load_policy(settings)),
    }
    assert _log(settings) == []


def test_answers_are_tagged_for_caches(client: FlaskClient) -> None:
    picture = client.get(f"{NASA}&width=10")
    missing = client.get("/images/?name=a%2Fb.jpg")

    words = tags_of(["nasa.jpeg"], picture.headers["imagekey"])
    assert picture.headers["xkey"] == picture.headers["Surrogate-Key"] == words
    assert words.split()[0] == original_tag("nasa.jpeg")
    assert missing.headers["xkey"].split()[0] == original_tag("a/b.jpg")
    assert "xkey" not in client.get(f"{NASA}&width=x").headers


@pytest.mark.parametrize("name", ["nasa.jpeg", "none.jpeg"])
def test_the_log_says_why_a_cache_spells_a_request_so(
    client: FlaskClient, settings: Settings, name: str
) -> None:
    """Caches in front ask in the one spelling, and hand on what they were asked."""
    hints = {"ECT": "3g", "Sec-CH-Viewport-Width": "400", "Accept": "image/webp"}
    asked = f"name={name}&utm_source=x"
    spelled = f"name={name}&bandwidth=3g&screen=phone&formats=webp"
    direct = client.get(f"/images/?{asked}", headers=hints)
    behind = client.get(f"/images/?{spelled}", headers={**hints, "image-asked": asked})
    said_so = client.get(f"/images/?{spelled}", headers=hints)
    lines = _log(settings)[-3:]

    assert direct.headers["imagekey"] == behind.headers["imagekey"] == said_so.headers["imagekey"]
    assert "Vary" in direct.headers
    assert "Vary" not in behind.headers
    assert [line["bandwidth_from"] for line in lines] == ["ECT", "ECT", "query"]
    assert [line["screen_from"] for line in lines] == [*["Sec-CH-Viewport-Width"] * 2, "query"]


@pytest.mark.parametrize(
    "asked", ["", "name=a&name=b", "\xff", "x" * 5000, "name=nasa.jpeg&width=x"]
)
def test_nobody_is_sent_what_the_log_is_told(client: FlaskClient, asked: str) -> None:
    plain = client.get(NASA)
    told = client.get(NASA, headers={"image-asked": asked})

    assert told.headers["imagekey"] == plain.headers["imagekey"]
    assert told.headers["Vary"] == plain.headers["Vary"]
    assert told.data == plain.data
