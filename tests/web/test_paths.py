"""Names in paths over HTTP: the same picture by the same key, however it is asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import images
import pytest
from flask.testing import FlaskClient
from PIL import Image

from imgprocessor.app import make_web
from imgprocessor.config.settings import Settings, SigningSettings
from imgprocessor.policy.imagekey import original_tag
from imgprocessor.request.names import spell
from imgprocessor.request.signing import sign

IDENT = f"{'0123456789abcdef' * 2}.jpg"
KEY = "0123456789abcdef" * 2

Keep = Callable[[str, tuple[int, int]], None]


@pytest.fixture
def keep(originals: Path) -> Keep:
    """Keep a picture in the folder of originals."""

    def _keep(name: str, size: tuple[int, int]) -> None:
        file = originals / name
        file.parent.mkdir(parents=True, exist_ok=True)
        images.save(file, Image.new("RGB", size, "navy"), "JPEG")

    return _keep


@pytest.mark.parametrize("place", ["image", "media", "images"])
@pytest.mark.parametrize(
    "name",
    [
        "nasa.jpeg",
        "cats/tom & jerry.jpg",
        "a+b.jpg",
        "a%b?c#d;e.jpg",
        "été/été.jpg",
        "-.jpg",
        "100",
    ],
)
def test_one_picture_has_one_key(client: FlaskClient, keep: Keep, place: str, name: str) -> None:
    keep(name, (90, 60))
    by_query = client.get(f"/images/?name={spell(name)}&width=60")
    by_path = client.get(f"/{place}/{spell(name)}?width=60")

    assert by_query.status_code == by_path.status_code == 200
    assert by_path.data == by_query.data
    for header in ("imagekey", "ETag", "xkey", "Vary", "image-decision"):
        assert by_path.headers[header] == by_query.headers[header], header


def test_plus_is_a_plus_in_a_path_and_a_blank_in_a_query(client: FlaskClient, keep: Keep) -> None:
    keep("a+b.jpg", (30, 20))
    keep("a b.jpg", (60, 40))

    answers = [client.get(url) for url in ("/image/a+b.jpg", "/images/?name=a+b.jpg")]
    assert [images.decoded(answer.data).size for answer in answers] == [(30, 20), (60, 40)]
    assert len({answer.headers["imagekey"] for answer in answers}) == 2


READINGS = [
    ("/image/100/nasa.jpeg", (100, 67)),
    ("/image/100/50/nasa.jpeg", (100, 50)),
    ("/image/100/0/nasa.jpeg", (100, 67)),
    ("/image/200/nasa.jpeg", (30, 20)),
    ("/image/200/50/nasa.jpeg", (30, 25)),
    ("/image/100/50/only.jpg", (100, 60)),
]


@pytest.mark.parametrize(("url", "expected"), READINGS)
def test_of_several_readings_the_first_counts_that_is_there(
    client: FlaskClient, keep: Keep, url: str, expected: tuple[int, int]
) -> None:
    keep("200/nasa.jpeg", (30, 20))
    keep("200/50/nasa.jpeg", (30, 25))
    keep("50/only.jpg", (50, 30))
    keep("only.jpg", (400, 100))

    answer = client.get(url)

    assert images.decoded(answer.data).size == expected


def test_all_readings_have_one_vary_and_are_forgotten_together(
    client: FlaskClient, keep: Keep
) -> None:
    url = "/image/100/only.jpg"
    missing = client.get(url)
    keep("only.jpg", (400, 100))
    sized = client.get(url)
    keep("100/only.jpg", (40, 10))
    whole = client.get(url)

    assert [answer.status_code for answer in (missing, sized, whole)] == [404, 200, 200]
    assert missing.headers["Vary"] == sized.headers["Vary"] == whole.headers["Vary"]
    assert {"Sec-CH-DPR", "Sec-CH-Viewport-Width"} <= {*sized.headers["Vary"].split(", ")}
    both = {original_tag("100/only.jpg"), original_tag("only.jpg")}
    assert both <= {*sized.headers["xkey"].split()}
    assert both <= {*missing.headers["xkey"].split()}
    assert sized.headers["imagekey"].startswith("only.jpg_100x_force_")
    assert whole.headers["imagekey"].startswith("100/only.jpg_-_")


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("/image/a%2Fb.jpg", 404),
        ("/image/%2e%2e/x.jpg", 400),
        ("/image/..%5Cx.jpg", 400),
        ("/image/a%00.jpg", 400),
        ("/image/%FF.jpg", 400),
        ("/image//evil.example/x.jpg", 404),
        ("/image/", 404),
        ("/images/-/nothing", 404),
        ("/image/-/nasa.jpeg", 404),
        ("/image/nasa.jpeg?name=nasa.jpeg", 400),
        ("/image/nasa.jpeg?url=https%3A//a.example/b.jpg", 400),
        ("/image/100/nasa.jpeg?width=3", 400),
        ("/image/none/nasa.jpeg", 404),
    ],
)
def test_what_names_no_picture_is_refused(client: FlaskClient, url: str, status: int) -> None:
    answer = client.get(url)

    assert answer.status_code == status
    assert answer.location is None
    assert answer.headers["image-error"] in {"not-found", "bad-query"}
    assert answer.headers["Content-Type"] == "image/jpeg"


def test_other_methods_are_refused(client: FlaskClient) -> None:
    assert client.post("/image/nasa.jpeg").status_code == 405


@pytest.mark.parametrize(
    ("asked", "expected"), [("60", 60), ("0", 0), ("999999999", 86400), ("", 86400)]
)
def test_ct_lowers_what_browsers_keep_and_nothing_else(
    client: FlaskClient, asked: str, expected: int
) -> None:
    usual = client.get("/image/nasa.jpeg?width=64&bandwidth=4g")
    answer = client.get(f"/image/nasa.jpeg?width=64&bandwidth=4g&ct={asked}")

    assert f"max-age={expected}, s-maxage=600," in answer.headers["Cache-Control"]
    assert answer.headers["imagekey"] == usual.headers["imagekey"]
    assert answer.headers["ETag"] == usual.headers["ETag"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("yes", "attachment; filename=nasa.jpeg"),
        ("cat.jpg", "attachment; filename=cat.jpg"),
        ("cat.png", "attachment; filename=cat.jpg"),
        ("cat", "attachment; filename=cat.jpg"),
        ("a%20%22b%22.jpg", "attachment; filename=\"a _b_.jpg\"; filename*=UTF-8''a%20%22b%22.jpg"),
        (
            "%E5%86%99%E7%9C%9F.jpg",
            "attachment; filename=picture.jpg; filename*=UTF-8''%E5%86%99%E7%9C%9F.jpg",
        ),
        (
            "%EF%BC%8Fx.jpg",
            "attachment; filename=_x.jpg; filename*=UTF-8''%EF%BC%8Fx.jpg",
        ),
        ("%C3%A9t%C3%A9.jpg", "attachment; filename=ete.jpg; filename*=UTF-8''%C3%A9t%C3%A9.jpg"),
    ],
)
def test_a_download_has_a_name_in_every_script(
    client: FlaskClient, asked: str, expected: str
) -> None:
    url = "/image/nasa.jpeg?width=64&format=jpeg"
    answer = client.get(f"{url}&download={asked}")

    assert answer.headers["Content-Disposition"] == expected
    assert answer.headers["imagekey"] == client.get(url).headers["imagekey"]
    assert "Content-Disposition" not in client.get(f"{url}&download=no").headers


def test_signed_is_the_path_as_it_stands(settings: Settings, keep: Keep, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    keys.chmod(0o600)
    keep("a b.jpg", (90, 60))
    client = make_web(replace(settings, signing=SigningSettings(keys))).test_client()

    def status(url: str) -> int:
        return client.get(url).status_code

    signed = sign("/image/100/a%20b.jpg?ct=60", KEY)
    proof = signed.partition("?")[2]
    assert status(signed) == 200
    assert status(f"/media/100/a%20b.jpg?{proof}&bandwidth=2g") == 200
    assert status(sign("/image/a b.jpg", KEY).replace(" ", "%20")) == 200
    assert status("/image/100/a%20b.jpg?ct=60") == 403
    assert status(signed.replace("ct=60", "ct=61")) == 403
    assert status(signed.replace("/100/", "/101/")) == 403
    assert status(f"/image/a%20b.jpg?{proof}") == 403
    assert status(f"/images/?name=100/a%20b.jpg&{proof}") == 403
    assert status(sign("/images/?name=a%20b.jpg&width=100", KEY)) == 200
    assert status("/image/a%20b.jpg?" + sign("name=a%20b.jpg", KEY).partition("&")[2]) == 403


def test_of_an_upload_of_old_width_and_height_are_a_size(client: FlaskClient, keep: Keep) -> None:
    keep(IDENT, (400, 300))

    answers = [
        client.get(f"/image/{IDENT}?width=100&height=100{rest}") for rest in ("", "&fit=inside")
    ]
    assert [images.decoded(answer.data).size for answer in answers] == [(100, 100), (100, 75)]


def test_what_is_wrong_hundreds_of_times_is_said_once(client: FlaskClient) -> None:
    """More than a header holds would be the server's failure to the web server, and to caches."""
    sizes = "&".join(f"size={number}y" for number in range(800))
    answer = client.get(f"/images/?name=nasa.jpeg&{sizes}")

    assert answer.status_code == 400
    assert answer.headers["image-error-detail"].count("must be such as") == 1
    assert sum(len(name) + len(value) for name, value in answer.headers) < 4000


def test_what_stands_in_for_a_tiny_picture_is_the_same_for_everybody(client: FlaskClient) -> None:
    """Its URL has no Vary: caches keep one for all."""
    phone = {"ECT": "2g", "Sec-CH-Viewport-Width": "360"}
    answers = [client.get("/image/none.jpg?lqip=yes", headers=headers) for headers in ({}, phone)]

    assert "Vary" not in answers[0].headers
    assert answers[0].data == answers[1].data
    assert answers[0].headers["imagekey"] == answers[1].headers["imagekey"]
