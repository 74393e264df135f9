"""What comes out, picture by picture, and what is kept of originals, against goldens.

A golden that is missing fails: IMGPROCESSOR_RENEW_GOLDEN=1 writes it. IMGPROCESSOR_KEEP_IMAGES=DIR
saves what was made.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import goldens
import images
import pytest
from conftest import ROOT, find
from full_plan import FULL
from PIL import ExifTags, Image, ImageCms

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.geometry import Box, Fit
from imgprocessor.images.compression.calibration import CALIBRATION
from imgprocessor.images.decode import DECODED_BY, MASTER_VERSION
from imgprocessor.images.formats.encoders import VERSIONS
from imgprocessor.images.pipeline import PIPELINE_VERSION, SHAPED_BY
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import Original
from imgprocessor.parts import make_delivery
from imgprocessor.rendering.masters import Masters
from imgprocessor.rendering.renditions import Renditions
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.understanding import Incoming
from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.storage.generation import Generation
from imgprocessor.storage.locks import Locks
from imgprocessor.timing import Timings

GOLDEN = ROOT / "tests/golden"

CASES = {
    "inside": ("photo.jpg", "width=340&height=400", {}),
    "force": ("photo.jpg", "width=340&height=400&fit=force", {}),
    "cover": ("photo.jpg", "width=200&height=300&fit=cover", {}),
    "cover_west": ("photo.jpg", "width=200&height=300&fit=cover&gravity=west", {}),
    "cover_point": ("lying.jpg", "width=300&height=200&fit=cover&gravity=0.3,0.6", {}),
    "flip_across": ("photo.jpg", "width=340&flip=h", {}),
    "flip_both_lying": (
        "lying.jpg",
        "width=300&height=200&fit=cover&gravity=0.3,0.6&flip=hv",
        {},
    ),
    "crop": ("photo.jpg", "crop=90,80,420,330&width=200", {}),
    "crop_of_large": ("large.jpg", "crop=1501,1003,300,200", {}),
    "crop_lying_flip": (
        "lying.jpg",
        "crop=50%25,0%25,50%25,40%25&width=300&height=200&fit=cover&gravity=west&flip=h",
        {},
    ),
    "upper_lying": ("lying.jpg", "width=200&height=200&fit=cover&gravity=upper", {}),
    "max_height_lying": ("lying.jpg", "width=200&max_height=120&dpr=1.5", {}),
    "lqip": ("photo.jpg", "lqip=yes", {"accept": "image/avif,*/*"}),
    "lqip_transparent": ("alpha.png", "lqip=yes", {}),
    "lone_height_dense": ("photo.jpg", "height=150&dpr=2", {}),
    "phone_on_2g": ("photo.jpg", "", {"ect": "2g", "sec-ch-viewport-width": "360"}),
    "desktop_on_4g": ("photo.jpg", "", {}),
    "lying_portrait": ("lying.jpg", "width=120", {}),
    "lying_cover": ("lying.jpg", "width=300&height=200&fit=cover", {}),
    "mirrored_cover": ("mirrored.jpg", "width=200&height=300&fit=cover", {}),
    "transparent": ("alpha.png", "width=120&format=jpeg", {}),
    "png_of_transparent": ("alpha.png", "width=120", {}),
    "avif": ("photo.jpg", "width=340", {"accept": "image/avif,image/webp,*/*"}),
    "webp_of_transparent": ("alpha.png", "width=120", {"accept": "image/webp,*/*"}),
    "cmyk": ("cmyk.jpg", "width=120", {}),
    "palette": ("palette.gif", "width=120", {}),
    "lossy_webp": ("photo.webp", "width=200&height=200&fit=cover", {}),
    "lossless": ("photo.jpg", "width=120&format=png", {}),
    "budget": ("photo.jpg", "width=340&max_bytes=9000", {}),
    "budget_takes_size": ("photo.jpg", "width=340&max_bytes=1500", {}),
    "large": ("large.jpg", "width=900", {}),
    "thumbnail_of_large": ("large.jpg", "width=160&quality=50", {}),
    "profiled": ("profiled.jpg", "width=340", {}),
    "sixteen_bits": ("sixteen_bits.png", "width=120", {}),
}

ORIGINALS = (
    *("photo.jpg", "lying.jpg", "mirrored.jpg", "cmyk.jpg", "palette.gif", "photo.webp"),
    *("alpha.png", "large.jpg", "profiled.jpg", "sixteen_bits.png"),
)


class _Noted(DiskCache):
    """A disk cache that notes what is kept of an original: keys without the original's identity
    and the libraries' versions, and bodies.
    """

    def __init__(self, folder: Path, original: Original) -> None:
        super().__init__(folder, max_bytes=100_000_000, min_free_percent=0, complain=pytest.fail)
        self._identity = original.identity
        self.keys: list[str] = []
        self.digest = hashlib.sha256()

    def put(
        self,
        group: str,
        key: str,
        body_bytes: int,
        parts: Iterable[bytes],
        generation: Generation | None = None,
    ) -> bool:
        body = b"".join(parts)
        known = key.removeprefix(self._identity).replace(DECODED_BY, "").strip()
        self.keys.append(known)
        self.digest.update(f"{known} {len(body)} ".encode() + body)
        return super().put(group, key, body_bytes, [body], generation)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    photo = images.texture((1534, 1022))
    photo.paste(images.four_colours((400, 300)), (100, 100))
    for name, orientation in (("lying", 6), ("mirrored", 7)):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        images.save(folder / f"{name}.jpg", photo, "JPEG", quality=92, exif=exif.tobytes())
    images.save(folder / "photo.jpg", photo, "JPEG", quality=92)
    images.save(folder / "cmyk.jpg", photo.convert("CMYK"), "JPEG", quality=92)
    images.save(folder / "palette.gif", photo.quantize(64), "GIF")
    images.save(folder / "photo.webp", photo, "WEBP", quality=80)
    images.save(folder / "profiled.jpg", photo, "JPEG", quality=92, icc_profile=_profile())
    alpha = photo.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(photo.size))
    images.save(folder / "alpha.png", alpha, "PNG")
    deep = photo.convert("L").convert("I").point(lambda value: value * 257).convert("I;16")
    images.save(folder / "sixteen_bits.png", deep, "PNG")
    owned = Image.Exif()
    owned[ExifTags.Base.Copyright] = "Somebody"
    large = images.texture((3300, 2200))
    images.save(folder / "large.jpg", large, "JPEG", quality=92, exif=owned.tobytes())
    return folder


@pytest.fixture(scope="module")
def golden_service(folder: Path) -> Delivery:
    return make_delivery(load_settings(DEFAULT_CONF, Overrides(originals=folder)))


@pytest.mark.parametrize("case", CASES)
def test_a_case_looks_as_it_did(case: str, golden_service: Delivery, tmp_path: Path) -> None:
    name, rest, headers = CASES[case]
    found = find(golden_service, Incoming(f"name={name}&{rest}", headers))
    rendition = golden_service.render(found).rendition
    image = images.decoded(rendition.body)
    _keep(case, rendition.body)
    kept = _Noted(tmp_path, found.original)
    Renditions(kept).put(found.original, "", rendition)

    seen = goldens.described(
        image,
        kept.digest.hexdigest(),
        pipeline=PIPELINE_VERSION,
        calibration=CALIBRATION.digest,
        format=image.format,
        **_divided(name),
    )
    goldens.check(GOLDEN / f"{case}.txt", seen)


@pytest.mark.parametrize("name", ORIGINALS)
def test_what_is_kept_of_an_original_is_as_it_was(name: str, folder: Path, tmp_path: Path) -> None:
    limits = OriginalsSettings()
    original = Folder(folder, limits.max_bytes).find(name)
    kept = _Noted(tmp_path / "masters", original)
    masters = Masters(kept, Locks(tmp_path / "locks"), limits, wait_seconds=30, report=print)
    plan = replace(FULL, box=Box(400, None), fit=Fit.INSIDE, density=Decimal(1))

    with masters.found(original, plan, Timings(), makes_masters=True):
        masters.finish()
    with masters.found(original, plan, Timings()) as found:
        assert found.source == "master"
        levels = ", ".join(kept.keys[1:])
        image = found.picture.image.convert("RGB")
        seen = goldens.described(image, kept.digest.hexdigest(), levels=levels, **_divided(name))

    goldens.check(GOLDEN / f"master_{name.replace('.', '_')}.txt", seen)


def _divided(name: str) -> dict[str, str]:
    return {"division": goldens.division_by_alpha()} if name == "alpha.png" else {}


def test_what_goldens_are_made_by_is_in_the_keys() -> None:
    decoded_by = {VERSIONS, f"masters {MASTER_VERSION}"}
    shaped_by = {f"pipeline {PIPELINE_VERSION}", f"calibration {CALIBRATION.digest}"}

    assert all(part in DECODED_BY for part in decoded_by)
    assert all(part in SHAPED_BY for part in decoded_by | shaped_by)


def test_no_golden_is_left_over() -> None:
    masters = {f"master_{name.replace('.', '_')}" for name in ORIGINALS}
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {*CASES, *masters}


def _profile() -> bytes:
    """A profile that is not called sRGB, so that colours are converted; of no date."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "Else".encode("utf-16-be"))


def _keep(case: str, body: bytes) -> None:
    folder = os.environ.get("IMGPROCESSOR_KEEP_IMAGES")
    if folder:
        suffix = str(images.decoded(body).format).lower()
        (Path(folder) / f"{case}.{suffix}").write_bytes(body)
