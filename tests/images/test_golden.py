"""What comes out, picture by picture, against goldens that are text and tolerant.

A golden that is missing fails: IMGPROCESSOR_RENEW_GOLDEN=1 writes it. IMGPROCESSOR_KEEP_IMAGES=DIR
saves what was made.
"""

import os
from pathlib import Path
from typing import Any

import images
import pytest
from conftest import ROOT, find
from PIL import ExifTags, Image, ImageStat

from imgprocessor.app import make_delivery
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.service.delivery import Delivery, Incoming

GOLDEN = ROOT / "tests/golden"
MAX_HASH_DISTANCE = 5
"""Bits of 64; what sharp and weserv/images allow."""
MAX_COLOUR_DISTANCE = 3

CASES = {
    "inside": ("photo.jpg", "width=340&height=400", {}),
    "force": ("photo.jpg", "width=340&height=400&fit=force", {}),
    "cover": ("photo.jpg", "width=200&height=300&fit=cover", {}),
    "lone_height_dense": ("photo.jpg", "height=150&dpr=2", {}),
    "phone_on_2g": ("photo.jpg", "", {"ect": "2g", "sec-ch-viewport-width": "360"}),
    "desktop_on_4g": ("photo.jpg", "", {}),
    "lying_portrait": ("lying.jpg", "width=120", {}),
    "transparent": ("alpha.png", "width=120", {}),
    "avif": ("photo.jpg", "width=340", {"accept": "image/avif,image/webp,*/*"}),
    "webp_of_transparent": ("alpha.png", "width=120", {"accept": "image/webp,*/*"}),
    "cmyk": ("cmyk.jpg", "width=120", {}),
    "palette": ("palette.gif", "width=120", {}),
    "lossy_webp": ("photo.webp", "width=200&height=200&fit=cover", {}),
}


@pytest.fixture(scope="module")
def golden_service(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    folder = tmp_path_factory.mktemp("golden")
    photo = images.texture((1534, 1022))
    photo.paste(images.four_colours((400, 300)), (100, 100))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    images.save(folder / "photo.jpg", photo, "JPEG", quality=92)
    images.save(folder / "lying.jpg", photo, "JPEG", quality=92, exif=exif.tobytes())
    images.save(folder / "cmyk.jpg", photo.convert("CMYK"), "JPEG", quality=92)
    images.save(folder / "palette.gif", photo.quantize(64), "GIF")
    images.save(folder / "photo.webp", photo, "WEBP", quality=80)
    alpha = photo.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(photo.size))
    images.save(folder / "alpha.png", alpha, "PNG")
    return make_delivery(load_settings(DEFAULT_CONF, Overrides(originals=folder)))


@pytest.mark.parametrize("case", CASES)
def test_a_case_looks_as_it_did(case: str, golden_service: Delivery) -> None:
    name, rest, headers = CASES[case]
    request = Incoming(f"name={name}&{rest}", headers)
    rendition = golden_service.render(find(golden_service, request)).rendition
    seen = _described(images.decoded(rendition.body))
    _keep(case, rendition.body)

    golden = _golden(case, seen)

    for exact in ("size", "mode", "format"):
        assert golden[exact] == seen[exact]
    distance = int(golden["dhash"], 16) ^ int(seen["dhash"], 16)
    assert distance.bit_count() <= MAX_HASH_DISTANCE
    for expected, actual in zip(golden["colour"].split(), seen["colour"].split(), strict=True):
        assert abs(int(expected) - int(actual)) <= MAX_COLOUR_DISTANCE


def test_no_golden_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


def _described(image: Image.Image) -> dict[str, str]:
    mean = [round(value) for value in ImageStat.Stat(image).mean]
    return {
        "size": f"{image.width}x{image.height}",
        "mode": image.mode,
        "format": str(image.format),
        "dhash": f"{images.difference_hash(image):016x}",
        "colour": " ".join(map(str, mean)),
    }


def _golden(case: str, seen: dict[str, str]) -> dict[str, Any]:
    file = GOLDEN / f"{case}.txt"
    if os.environ.get("IMGPROCESSOR_RENEW_GOLDEN"):
        file.write_text("".join(f"{key} = {value}\n" for key, value in seen.items()))
    if not file.exists():
        pytest.fail(f"{file.relative_to(ROOT)} is missing; {__doc__}")
    return dict(line.split(" = ") for line in file.read_text().splitlines())


def _keep(case: str, body: bytes) -> None:
    folder = os.environ.get("IMGPROCESSOR_KEEP_IMAGES")
    if folder:
        suffix = str(images.decoded(body).format).lower()
        (Path(folder) / f"{case}.{suffix}").write_bytes(body)
