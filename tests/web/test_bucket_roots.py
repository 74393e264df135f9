"""A site whose originals are in a folder and in a bucket, over HTTP."""

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import images
import pytest
from PIL import Image
from servers import ask, await_ready, await_true, configuration, free_port, run_serve
from weeds import BUCKET, S3Server, access_file, needs_weed, place_in, running_s3

from imgprocessor.app import make_web
from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.settings import BrowseSettings, Settings
from imgprocessor.errors import ConfigurationError
from imgprocessor.parts import make_delivery
from imgprocessor.storage.shared.bucket import Bucket

pytestmark = needs_weed

Place = tuple[BucketUrl, BucketsSettings]
READY = "/images/-/ready"


@pytest.fixture
def site(settings: Settings, tmp_path: Path, place: Place) -> Settings:
    """The settings of one that has a bucket behind its folder."""
    return over(settings, tmp_path, place)


def over(settings: Settings, tmp_path: Path, place: Place) -> Settings:
    """Return settings with a bucket behind the folder."""
    (folder,) = settings.originals.folders
    return replace(
        settings,
        originals=replace(settings.originals, roots=(folder, place[0])),
        remote=replace(settings.remote, folder=tmp_path / "copies", total_seconds=2),
        buckets=place[1],
        browse=BrowseSettings(enabled=True),
    )


def jpeg(width: int, height: int) -> bytes:
    file = BytesIO()
    images.texture((width, height)).save(file, "JPEG")
    return file.getvalue()


def test_a_picture_comes_from_the_bucket(site: Settings, bucket: Bucket) -> None:
    bucket.put("cats/a b+%20#?é.jpg", jpeg(600, 400))
    client = make_web(site).test_client()

    answer = client.get("/images/?name=cats/a%20b%2B%2520%23%3F%C3%A9.jpg&width=30&format=png")

    assert answer.status_code == 200
    assert Image.open(BytesIO(answer.data)).size == (30, 20)
    again = client.get(
        "/images/?name=cats/a%20b%2B%2520%23%3F%C3%A9.jpg&width=30&format=png",
        headers={"If-None-Match": answer.headers["ETag"]},
    )
    assert again.status_code == 304
    assert client.get("/images/?name=cats/none.jpg&width=30").status_code == 404


def test_the_folder_comes_first(site: Settings, bucket: Bucket) -> None:
    bucket.put("nasa.jpeg", jpeg(30, 90))

    with make_web(site).test_client().get("/full/nasa.jpeg") as answer:
        assert answer.data == (site.originals.folders[0] / "nasa.jpeg").read_bytes()


@pytest.mark.parametrize("kept", [2_000_000_000, 0], ids=["kept", "kept nowhere"])
def test_an_original_comes_as_it_is_in_ranges(
    site: Settings, bucket: Bucket, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgprocessor.originals.configured._require_room", lambda *_: None)
    site = replace(site, remote=replace(site.remote, max_kept_bytes=kept))
    body = jpeg(600, 400)
    bucket.put("a.jpg", body)
    client = make_web(site).test_client()

    with client.get("/full/a.jpg") as whole:
        assert (whole.status_code, whole.data) == (200, body)
        assert whole.headers["Content-Type"] == "image/jpeg"
    with client.get("/full/a.jpg", headers={"Range": "bytes=100-199"}) as part:
        assert (part.status_code, part.data) == (206, body[100:200])
        assert part.headers["Content-Range"] == f"bytes 100-199/{len(body)}"
    known = {"If-None-Match": whole.headers["ETag"]}
    assert client.get("/full/a.jpg", headers=known).status_code == 304
    # In a virtual host that sends files from the folder by itself.
    apache = {"IMG_INNER": "/-imgprocessor-inner"}
    with client.get("/full/a.jpg", environ_overrides=apache) as sent:
        assert sent.data == body
    inner = client.get("/full/nasa.jpeg", environ_overrides=apache)
    assert inner.headers["Location"].startswith("/-imgprocessor-inner/jpeg/nasa.jpeg?")


@pytest.mark.apache
def test_apache_sends_the_first_folder_and_daemons_the_bucket(
    tmp_path: Path, originals: Path, place: Place, bucket: Bucket
) -> None:
    body = jpeg(600, 400)
    bucket.put("cats/é.jpg", body)
    assert place[1].file is not None
    if os.geteuid() == 0:
        shutil.chown(place[1].file, "www-data")
    conf = configuration(
        tmp_path / "site",
        f'[originals]\nroots = {originals} {place[0]} "{tmp_path}"\n'
        f"[buckets]\nfile = {place[1].file}\n[remote]\nfolder = copies\n",
    )
    port = free_port()
    with run_serve("--port", str(port), "--conf", str(conf)) as process:
        try:
            await_ready(process)
            answers = {
                name: ask(port, f"/full/{name}", {"Range": "bytes=100-199"})
                for name in ("cats/%C3%A9.jpg", "nasa.jpeg", "originals/nasa.jpeg")
            }
            picture = ask(port, "/images/?name=cats/%C3%A9.jpg&width=30&format=png")
            page = ask(port, "/browse/cats/")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    nasa = (originals / "nasa.jpeg").read_bytes()
    for (name, answer), whole in zip(answers.items(), (body, nasa, nasa), strict=True):
        assert (answer.status, answer.body) == (206, whole[100:200]), name
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["cache-control"].startswith("private")
    # Our tag of a file begins with its time, Apache's with its inode.
    ours = f'"{(originals / "nasa.jpeg").stat().st_mtime_ns:x}-'
    sent_by_us = [answer.headers["etag"].startswith(ours) for answer in answers.values()]
    assert sent_by_us == [False, False, True]
    assert Image.open(BytesIO(picture.body)).size == (30, 20)
    assert b"name=cats/%C3%A9.jpg" in page.body


def test_the_gallery_shows_all_roots_as_one(site: Settings, bucket: Bucket) -> None:
    for key in ("nasa.jpeg", "z.jpg", "cats/tom.jpg", "shut/x.jpg", "shut/.nomedia", "text.txt"):
        bucket.put(key, jpeg(60, 40))
    client = make_web(site).test_client()

    page = client.get("/browse/").text
    shown = re.findall(r'href="/images/[?]name=([^&"]*)', page)
    assert shown == ["nasa.jpeg", "z.jpg"]
    assert "text.txt" not in page
    assert 'href="/browse/cats/"' in page
    assert "shut" not in page
    assert client.get("/browse/shut/").status_code == 404
    assert client.get("/browse/dogs/").status_code == 404
    inner = client.get("/browse/cats/")
    assert (inner.status_code, "name=cats/tom.jpg" in inner.text) == (200, True)
    # Its size and colours, once it was fetched behind the page.
    await_true(lambda: "data:image" in client.get("/browse/cats/").text)


def test_while_the_first_root_is_dead_no_other_root_s_picture_is_shown(
    settings: Settings, tmp_path: Path
) -> None:
    with running_s3(tmp_path / "own") as server:
        site = over(settings, tmp_path, place_in(server, tmp_path, "p"))
        site = replace(
            site, originals=replace(site.originals, roots=tuple(reversed(site.originals.roots)))
        )
        client = make_web(site).test_client()
        assert client.get("/images/?name=nasa.jpeg&width=30").status_code == 200
        assert client.get(READY).get_json()["checks"]["buckets"] == "ok"
    client = make_web(site).test_client()

    answer = client.get("/images/?name=nasa.jpeg&width=30")
    assert (answer.status_code, answer.headers["image-error"]) == (503, "originals-unavailable")
    assert client.get("/full/nasa.jpeg").status_code == 503
    assert client.get("/browse/").status_code == 503
    ready = client.get(READY)
    # It fails for all nodes at once, and none would be left to send what they keep.
    assert (ready.status_code, ready.get_json()["checks"]["buckets"]) == (
        200,
        "a bucket does not answer as it should",
    )


def test_uploads_do_not_depend_on_a_bucket_of_originals(
    settings: Settings, tmp_path: Path, s3_server: S3Server
) -> None:
    access = access_file(tmp_path, s3_server.access(endpoint="http://127.0.0.1:1"))
    site = over(settings, tmp_path, (BucketUrl("s3", BUCKET, "p"), access))
    uploads = replace(site.uploads, enabled=True, folder=tmp_path / "uploads", min_free_bytes=0)
    client = make_web(replace(site, uploads=uploads)).test_client()
    sent = client.post("/upload", data={"file": (BytesIO(jpeg(60, 40)), "a.jpg")}).get_json()
    ident = sent["content"]["ident"]

    assert client.get(f"/images/?name={ident}.jpg&width=30").status_code == 200
    with client.get(f"/full/{ident}.jpg") as whole:
        assert whole.status_code == 200
    # A name that a bucket may have, too: of a kept size it is not asked first.
    kept = client.post(f"/image/{ident}.jpg", data={"sizes": "30x20"})
    assert kept.status_code == 200
    for path in (f"/image/30/20/{ident}.jpg", f"/image/{ident}.jpg?width=30&height=20"):
        assert client.get(path).status_code == 200
    missing = client.get(f"/images/?name={'0' * 32}.jpg&width=30")
    assert (missing.status_code, missing.headers["image-error"]) == (503, "originals-unavailable")


def _without_access(site: Settings) -> Settings:
    return replace(site, buckets=BucketsSettings())


def _twice(site: Settings) -> Settings:
    folder = site.originals.folders[0]
    return replace(site, originals=replace(site.originals, roots=(folder, folder / "../originals")))


def _no_room(site: Settings) -> Settings:
    return replace(site, remote=replace(site.remote, max_kept_bytes=1_000_000_000))


@pytest.mark.parametrize(
    ("spoilt", "wrong"),
    [
        (_without_access, f"[buckets] file must be set: it says how s3://{BUCKET} is reached"),
        (_twice, "[originals] roots: .*/originals is named twice"),
        (_no_room, "max_kept_bytes must be at least ten times [originals] max_bytes: 104857600"),
    ],
)
def test_what_is_wrong_with_roots_stops_the_start(
    site: Settings, spoilt: Callable[[Settings], Settings], wrong: str
) -> None:
    pattern = re.escape(wrong).replace(r"\.\*", ".*")
    with pytest.raises(ConfigurationError, match=pattern):
        make_delivery(spoilt(site))


def test_what_is_not_installed_is_said(site: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for known in [name for name in sys.modules if name.startswith("imgprocessor.storage.shared")]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, "obstore", None)

    wrong = re.escape("obstore is not installed: pip install 'imgprocessor[buckets]'")
    with pytest.raises(ConfigurationError, match=f"s3://{BUCKET}/.*: {wrong}"):
        make_delivery(site)
