"""Files rewritten without metadata: the same picture, the same coded bytes, and nothing else."""

import functools
import io
import json
import os
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hostile
import images
import pytest
from conftest import CORPUS, EXAMPLES, needs_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageSequence

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import BrokenOriginal, ImageError, OversizedOriginal
from imgprocessor.images.clean.extras import Extras
from imgprocessor.images.clean.parts import Cleaned
from imgprocessor.images.clean.rewrite import clean
from imgprocessor.images.decode import open_original
from imgprocessor.images.formats.exif import ARTIST, COPYRIGHT, Exif
from imgprocessor.images.formats.structure import Kind
from imgprocessor.images.inspection import ORIGINAL_FORMATS, inspect

LIMITS = OriginalsSettings()
SIZE = (96, 64)
NOTHING = Extras()
OWNED = ((COPYRIGHT, "(c) Somebody"), (ARTIST, "Me"))

SECRET = b"SECRET-4711"
EXIF = hostile.exif((0x010E, 2, 12, struct.pack("<I", 26)), data=SECRET + b"\0" + b"thumbnail")
XMP = b"<x:xmpmeta><rdf:li>" + SECRET + b"</rdf:li></x:xmpmeta>"
GAMMA, CHROMA = hostile.chunk(b"gAMA", b"\0\0\xb1\x8f"), hostile.chunk(b"cHRM", bytes(32))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def cleaned(file: bytes, kind: Kind, kept: Exif = Exif()) -> bytes:
    return clean(file, kind, Extras.of(kept)).body


def a_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", SECRET)
    return file.getvalue()


def kind_of(file: bytes) -> Kind:
    return next(kind for kind, known in ORIGINAL_FORMATS.items() if known.matches(file[:12]))


# Good pictures of every kind that Pillow writes.


def _frames(mode: str) -> list[Image.Image]:
    return [images.texture(SIZE, seed).convert(mode) for seed in (1, 2, 3)]


def _encoded(image_format: str, mode: str, options: dict[str, Any]) -> bytes:
    image = images.texture(SIZE).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(SIZE))
    return images.encoded(image, image_format, **options)


def _animated(image_format: str, mode: str, **options: Any) -> bytes:
    first, *others = _frames(mode)
    shown = {"save_all": True, "append_images": others, "duration": 70, **options}
    return images.encoded(first, image_format, **shown)


GOOD: Mapping[str, Callable[[], bytes]] = {
    name: functools.partial(_encoded, image_format, mode, options)
    for name, image_format, mode, options in (
        ("jpeg", "JPEG", "RGB", {}),
        ("jpeg-grey", "JPEG", "L", {}),
        ("jpeg-cmyk", "JPEG", "CMYK", {}),
        ("jpeg-rgb", "JPEG", "RGB", {"keep_rgb": True}),
        ("jpeg-progressive", "JPEG", "RGB", {"progressive": True}),
        ("jpeg-restarts", "JPEG", "RGB", {"restart_marker_blocks": 2}),
        ("jpeg-profile", "JPEG", "RGB", {"icc_profile": PROFILE}),
        ("jpeg-long-profile", "JPEG", "RGB", {"icc_profile": PROFILE + bytes(150_000)}),
        ("png", "PNG", "RGB", {}),
        ("png-bits", "PNG", "1", {}),
        ("png-palette", "PNG", "P", {"transparency": 3}),
        ("png-key", "PNG", "RGB", {"transparency": (9, 9, 9)}),
        ("png-alpha", "PNG", "RGBA", {"icc_profile": PROFILE}),
        ("png-deep", "PNG", "I;16", {}),
        ("webp", "WEBP", "RGB", {}),
        ("webp-alpha", "WEBP", "RGBA", {}),
        ("webp-lossless", "WEBP", "RGB", {"lossless": True}),
        ("webp-lossless-alpha", "WEBP", "RGBA", {"lossless": True}),
        ("webp-lossless-profile", "WEBP", "RGBA", {"lossless": True, "icc_profile": PROFILE}),
        ("webp-profile", "WEBP", "RGB", {"icc_profile": PROFILE}),
        ("gif", "GIF", "P", {}),
        ("gif-grey", "GIF", "L", {"interlace": False}),
        ("gif-transparent", "GIF", "P", {"transparency": 3}),
    )
} | {
    "png-frames": functools.partial(_animated, "PNG", "RGB"),
    "png-frames-hidden": functools.partial(_animated, "PNG", "RGB", default_image=True),
    "webp-frames": functools.partial(_animated, "WEBP", "RGB", icc_profile=PROFILE),
    "webp-frames-lossless": functools.partial(_animated, "WEBP", "RGB", lossless=True),
    "gif-frames": functools.partial(_animated, "GIF", "P", loop=3),
    "gif-frames-once": functools.partial(_animated, "GIF", "P", disposal=2),
}
good = functools.cache(lambda name: GOOD[name]())


def decoded_fully(file: bytes) -> list[Any]:
    """Return all that Pillow says of how a picture looks, frame by frame."""
    image = Image.open(io.BytesIO(file))
    shown = [image.format, image.info.get("icc_profile"), image.info.get("loop")]
    for frame in ImageSequence.Iterator(image):
        told = [frame.info.get(name) for name in ("duration", "transparency", "gamma")]
        shown += [frame.mode, frame.size, frame.tobytes(), told]
    return shown


@pytest.mark.parametrize("name", GOOD)
def test_the_picture_is_the_same(name: str) -> None:
    file = good(name)

    done = clean(file, kind_of(file), NOTHING)

    assert decoded_fully(done.body) == decoded_fully(file)
    assert inspect(io.BytesIO(done.body), LIMITS) == inspect(io.BytesIO(file), LIMITS)
    assert clean(done.body, kind_of(file), NOTHING) == done
    assert len(done.body) <= len(file)
    assert done.is_animated == ("-frames" in name)


def chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of each chunk of a PNG, or of a WebP."""
    found, place = [], 8
    if kind_of(file) == "WEBP":
        place = 12
        while place < len(file):
            name, length = struct.unpack_from("<4sI", file, place)
            found.append((name, file[place + 8 : place + 8 + length]))
            place += 8 + length + length % 2
        return found
    while place < len(file):
        length, name = struct.unpack_from(">I4s", file, place)
        found.append((name, file[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def coded(file: bytes) -> bytes:
    """The bytes that are pixels, and what decoding them needs, of a file without oddities."""
    match kind_of(file):
        case "JPEG":
            return file[file.index(b"\xff\xdb") :]
        case "GIF":
            return file[file.index(b",") :]
        case _:
            names = {b"IDAT", b"fcTL", b"fdAT", b"PLTE", b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}
            return b"".join(content for name, content in chunks(file) if name in names)


@pytest.mark.parametrize("name", GOOD)
def test_coded_bytes_are_not_touched(name: str) -> None:
    file = good(name)

    assert coded(cleaned(file, kind_of(file))) == coded(file)


# Metadata of every kind, one at a time: without it a file is what it would be had it never been.


def _after_start(file: bytes, *segments: bytes) -> bytes:
    """Put segments behind a JPEG's JFIF segment."""
    return file[:20] + b"".join(segments) + file[20:]


def _between_scans(file: bytes, more: bytes) -> bytes:
    second = file.index(b"\xff\xda", file.index(b"\xff\xda") + 2)
    return file[:second] + more + file[second:]


def _in_png(file: bytes, more: bytes, before: bytes = b"IDAT") -> bytes:
    place = file.index(before) - 4
    return file[:place] + more + file[place:]


def _extended(flags: int, *more: tuple[bytes, bytes]) -> bytes:
    """A WebP with a canvas, and further chunks."""
    inner = hostile.webp_canvas(SIZE, flags) + hostile.flat_vp8l(SIZE)
    return hostile.riff(inner + b"".join(hostile.riff_chunk(*one) for one in more))


def _webp_of(*parts: tuple[bytes, bytes]) -> bytes:
    return hostile.riff(b"".join(hostile.riff_chunk(*part) for part in parts))


def _gif(*extensions: bytes) -> bytes:
    return hostile.gif_header((8, 8)) + b"".join(extensions) + hostile.gif_frame((8, 1)) + b";"


def _application(name: bytes, content: bytes) -> bytes:
    block = bytes((len(content),)) + content
    return b"!\xff" + bytes((len(name),)) + name + block + b"\0"


JPEG_METADATA = {
    "exif": hostile.segment(0xE1, EXIF),
    "xmp": hostile.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    "xmp-extended": hostile.segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + XMP),
    "iptc": hostile.segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0b" + SECRET),
    "comment": hostile.segment(0xFE, SECRET),
    "comment-html": hostile.segment(0xFE, b"<script>alert(1)</script>" + SECRET),
    "jfxx-thumbnail": hostile.segment(0xE0, b"JFXX\0\x10" + SECRET),
    "short-jfif": hostile.segment(0xE0, b"JFIF\0" + SECRET[:6]),
    "more-pictures": hostile.segment(0xE2, b"MPF\0" + SECRET),
    "flashpix": hostile.segment(0xE2, b"FPXR\0" + SECRET),
    "part-of-a-profile": hostile.segment(0xE2, b"ICC_PROFILE\0\1\2" + SECRET),
    "content-credentials": hostile.segment(0xEB, b"JP\0\0" + SECRET),
    "short-adobe": hostile.segment(0xEE, b"Adobe\0" + SECRET[:5]),
    "unknown": hostile.segment(0xEF, SECRET),
    "stray": SECRET,
    "stray-zeros": b"\xff\0" + SECRET + b"\xff\xd3\xff\1",
    "fill": b"\xff" * 100,
}
PNG_METADATA = {
    "text": hostile.chunk(b"tEXt", b"Comment\0" + SECRET),
    "packed-text": hostile.chunk(b"zTXt", b"Comment\0\0" + zlib.compress(SECRET)),
    "xmp": hostile.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    "exif": hostile.chunk(b"eXIf", EXIF[6:]),
    "time": hostile.chunk(b"tIME", b"\x07\xea\1\1\1\1\1"),
    "density": hostile.chunk(b"pHYs", bytes(9)),
    "background": hostile.chunk(b"bKGD", bytes(6)),
    "significant-bits": hostile.chunk(b"sBIT", b"\5\5\5"),
    "suggested-palette": hostile.chunk(b"sPLT", SECRET + b"\0\x08"),
    "histogram": hostile.chunk(b"hIST", bytes(4)),
    "gain-map": hostile.chunk(b"gdAT", SECRET),
    "content-credentials": hostile.chunk(b"caBX", SECRET),
    "unknown": hostile.chunk(b"prVt", SECRET),
    "wrong-checksum": hostile.chunk(b"gAMA", bytes(4))[:-1] + b"?",
    "long-gamma": hostile.chunk(b"gAMA", SECRET),
}
GIF_METADATA = {
    "comment": hostile.gif_extension(0xFE, SECRET, 3),
    "text": b"!\x01\x0c" + bytes(12) + b"\x0b" + SECRET + b"\0",
    "xmp": _application(b"XMP DataXMP", SECRET),
    "profile": _application(b"ICCRGBG1012", SECRET),
    "buffering": _application(b"NETSCAPE2.0", b"\2\0\0\0\1"),
    "unknown-application": _application(b"SECRETSECRE", SECRET),
    "unknown": hostile.gif_extension(0xF7, SECRET, 2),
    "control-of-a-text": b"!\xf9\4\1\2\0\3\0!\x01\x0c" + bytes(12) + b"\0",
    "short-control": b"!\xf9\2\1\2\0",
}


_TABLE = hostile.segment(0xDB, b"\3" + (SECRET * 6)[:64])
_CODES = hostile.segment(0xC4, b"\3\1" + bytes(15) + SECRET[:1])


def _unused() -> dict[str, tuple[bytes, bytes]]:
    """JPEGs with tables and scans that libjpeg does not use, and the same without."""
    jpeg, interval = good("jpeg"), hostile.segment(0xDD, b"\0\0")
    flat = hostile.flat_jpeg(SIZE)
    quantization = flat[20:89]
    scan = hostile.scan((1,), 0, 63, SECRET)
    return {
        "jpeg-table-twice": (_after_start(jpeg, _TABLE, _TABLE), _after_start(jpeg, _TABLE)),
        "jpeg-codes-twice": (_after_start(jpeg, _CODES, _CODES), _after_start(jpeg, _CODES)),
        "jpeg-interval-twice": (
            _after_start(jpeg, hostile.segment(0xDD, SECRET[:2]), interval),
            _after_start(jpeg, interval),
        ),
        "jpeg-table-before-its-like": (
            _after_start(flat, quantization[:4] + b"\0" + (SECRET * 6)[:64]),
            flat,
        ),
        "jpeg-tables-in-one-segment": (
            _after_start(flat, hostile.segment(0xDB, (b"\0" + (SECRET * 6)[:64]) * 900)),
            flat,
        ),
        "jpeg-scan-behind-a-whole-one": (flat[:-2] + scan + flat[-2:], flat),
        "jpeg-table-behind-a-whole-scan": (flat[:-2] + _TABLE + scan + flat[-2:], flat),
        "jpeg-table-at-the-end": (flat[:-2] + _TABLE + flat[-2:], flat),
    }


def _with_metadata() -> dict[str, tuple[bytes, bytes]]:
    """Files with something that must go, and the same files without."""
    jpeg, progressive, png, gif = good("jpeg"), good("jpeg-progressive"), good("png"), _gif()
    restarts = good("jpeg-restarts")
    thumbnail = hostile.segment(0xE0, jpeg[6:18] + b"\1\1rgb" + SECRET)
    first, *others = _frames("RGB")
    mpo = images.encoded(first, "MPO", save_all=True, append_images=others, exif=EXIF)
    found = {
        "jpeg-thumbnail": (jpeg[:2] + thumbnail + jpeg[20:], jpeg),
        "jpeg-mpo": (mpo, images.encoded(first, "JPEG")),
        "jpeg-two": (jpeg + mpo, jpeg),
        "jpeg-lines": (_after_start(jpeg, hostile.segment(0xDC, SECRET)), jpeg),
        "jpeg-fill-at-the-end": (jpeg[:-2] + b"\xff" + jpeg[-2:], jpeg),
        "jpeg-fill-in-a-scan": (restarts.replace(b"\xff\xd0", b"\xff" * 9 + b"\xd0"), restarts),
        "png-after-pixels": (_in_png(png, PNG_METADATA["text"], b"IEND"), png),
        "png-gamma-after-pixels": (_in_png(png, GAMMA, b"IEND"), png),
        "png-end": (png[:-12] + hostile.chunk(b"IEND", SECRET), png),
        "gif-trailer": (gif[:-1], gif),
        "gif-stray": (gif[:-1] + SECRET, gif),
        "gif-control-of-nothing": (gif[:-1] + b"!\xf9\4\1\2\0\3\0;", gif),
    }
    for name, part in JPEG_METADATA.items():
        found[f"jpeg-{name}"] = (_after_start(jpeg, part), jpeg)
        found[f"jpeg-{name}-twice"] = (_after_start(jpeg, part, part), jpeg)
        found[f"jpeg-{name}-between-scans"] = (_between_scans(progressive, part), progressive)
    for name in ("exif", "comment", "unknown"):
        found[f"jpeg-{name}-at-the-end"] = (jpeg[:-2] + JPEG_METADATA[name] + jpeg[-2:], jpeg)
    for name, part in PNG_METADATA.items():
        found[f"png-{name}"] = (_in_png(png, part), png)
    for name, where, chunk in (
        ("palette", "png", (b"PLTE", (SECRET * 99)[:768])),
        ("palette-of-alpha", "png-alpha", (b"PLTE", SECRET[:9])),
        ("palette-of-bits", "png-bits", (b"PLTE", SECRET[:9])),
        ("long-key", "png", (b"tRNS", SECRET)),
        ("key-beside-alpha", "png-alpha", (b"tRNS", SECRET[:6])),
    ):
        found[f"png-{name}"] = (_in_png(good(where), hostile.chunk(*chunk)), good(where))
    for name, part in GIF_METADATA.items():
        found[f"gif-{name}"] = (_gif(part), gif)
        found[f"gif-{name}-at-the-end"] = (gif[:-1] + part + b";", gif)
    for name, file in (("jpeg", jpeg), ("png", png), ("gif", gif), ("webp", good("webp"))):
        found[f"{name}-zip"] = (file + a_zip(), file)
    return found | _webp_with_metadata() | _unused()


def _webp_with_metadata() -> dict[str, tuple[bytes, bytes]]:
    plain, extended, frames = hostile.flat_vp8l(SIZE), _extended(0), good("webp-frames-lossless")
    alpha = chunks(good("webp-alpha"))
    place = frames.index(b"ANMF")
    frame = dict(reversed(chunks(frames)))[b"ANMF"]
    more = hostile.riff_chunk(b"ANMF", frame + hostile.riff_chunk(b"ABCD", SECRET))
    rest = frames[place + 8 + len(frame) :]
    return {
        "webp-exif": (_extended(0x08, (b"EXIF", EXIF[6:])), extended),
        "webp-xmp": (_extended(0x04, (b"XMP ", XMP)), extended),
        "webp-unknown": (_extended(0, (b"ABCD", SECRET)), extended),
        "webp-profile-not-meant": (_extended(0, (b"ICCP", SECRET)), extended),
        "webp-profile-missing": (_extended(0x20), extended),
        "webp-second-picture": (_extended(0, (b"VP8L", SECRET)), extended),
        "webp-late-alpha": (_extended(0, (b"ALPH", SECRET)), extended),
        "webp-alpha-behind-a-picture": (
            _webp_of(*(part for part in alpha if part[0] != b"ALPH"), (b"ALPH", SECRET)),
            _webp_of(*(part for part in alpha if part[0] != b"ALPH")),
        ),
        "webp-alpha-not-meant": (
            _webp_of((alpha[0][0], bytes(4) + alpha[0][1][4:]), (b"ALPH", SECRET), alpha[-1]),
            _webp_of((alpha[0][0], bytes(4) + alpha[0][1][4:]), alpha[-1]),
        ),
        "webp-behind-a-picture": (
            hostile.riff(plain + hostile.riff_chunk(b"EXIF", EXIF)),
            hostile.riff(plain),
        ),
        "webp-short-rest": (hostile.riff(plain + SECRET[:7]), hostile.riff(plain)),
        "webp-in-a-frame": (hostile.riff(frames[12:place] + more + rest), frames),
    }


METADATA = _with_metadata()


@pytest.mark.parametrize("name", METADATA)
def test_what_is_not_the_picture_goes(name: str) -> None:
    file, without = METADATA[name]
    assert file != without
    kind = kind_of(file)

    body = cleaned(file, kind)

    assert body == without
    assert SECRET not in body.replace(_TABLE, b"")
    assert cleaned(body, kind) == body


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
def test_a_file_that_is_two_things_is_a_picture_alone(kind: str) -> None:
    file, _ = METADATA[f"{kind}-zip"]
    assert zipfile.is_zipfile(io.BytesIO(file))

    assert not zipfile.is_zipfile(io.BytesIO(cleaned(file, kind_of(file))))


EXIFTOOL = shutil.which("exiftool") or ""
WRITTEN = {
    "jpg": ("jpeg-profile", ["-IPTC:Keywords=SECRET", "-JFIF:XResolution=77", "-Comment=SECRET"]),
    "png": ("png-alpha", ["-PNG:Title=SECRET", "-PNG:Comment=SECRET"]),
    "webp": ("webp-lossless-profile", []),
    "gif": ("gif-frames", ["-Comment=SECRET"]),
}
"""By suffix: a picture, and what else is written than into all of them."""
EXIF_TAGS = ["-EXIF:Make=SECRET", "-GPSLatitude=52", "-GPSLatitudeRef=N", "-EXIF:Orientation#=6"]
OF_THE_PICTURE = {"ExifTool", "System", "File", "JFIF", "PNG", "RIFF", "GIF", "Composite"}


@pytest.mark.skipif(not EXIFTOOL, reason="there is no exiftool")
@pytest.mark.parametrize("suffix", WRITTEN)
def test_exiftool_finds_nothing(suffix: str, tmp_path: Path) -> None:
    name, tags = WRITTEN[suffix]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(good(name))
    both = ["-XMP:Title=SECRET", *tags, *(EXIF_TAGS if suffix != "gif" else [])]
    subprocess.run([EXIFTOOL, "-q", "-m", "-overwrite_original", *both, path], check=True)
    file = path.read_bytes()
    assert b"SECRET" in file
    kind = kind_of(file)

    path.write_bytes(cleaned(file, kind, Exif(6) if suffix != "gif" else Exif()))

    asked: list[str | Path] = [EXIFTOOL, "-j", "-G1", "-a", "-u", "-n", path]
    (told,) = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    groups = {tag.partition(":")[0] for tag in told if ":" in tag}
    others = {group for group in groups - OF_THE_PICTURE if not group.startswith("ICC")}
    assert others <= {"IFD0"}
    assert {tag for tag in told if tag.startswith("IFD0:")} <= {"IFD0:Orientation"}
    assert told.get("IFD0:Orientation") == (6 if suffix != "gif" else None)
    assert "SECRET" not in json.dumps(told)
    assert decoded_fully(path.read_bytes()) == decoded_fully(file)


# Orientation, and whose picture it is.


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "webp-alpha", "png-frames", "webp-frames"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_and_copyright_are_kept_where_they_are_asked_for(
    name: str, orientation: int
) -> None:
    file = good(name)
    kind = kind_of(file)

    owned = cleaned(file, kind, Exif(orientation, OWNED))
    turned = cleaned(owned, kind, Exif(orientation))

    for body, texts in ((owned, OWNED), (turned, ())):
        metadata = open_original(io.BytesIO(body), LIMITS).metadata
        assert (metadata.orientation, metadata.copyright) == (orientation, texts)
        assert decoded_fully(body) == decoded_fully(file)
    assert cleaned(turned, kind, Exif(orientation)) == turned
    assert len(turned) - len(cleaned(turned, kind)) <= (60 if orientation > 1 else 0)
    assert cleaned(owned, kind) == cleaned(turned, kind)


@pytest.mark.parametrize(
    ("name", "flags"), [("webp", 0x08), ("webp-lossless", 0x08), ("webp-lossless-alpha", 0x18)]
)
def test_a_canvas_that_is_written_says_whether_there_is_alpha(name: str, flags: int) -> None:
    assert b"VP8X" not in good(name)

    sides = b"".join((side - 1).to_bytes(3, "little") for side in SIZE)
    first, *_ = chunks(cleaned(good(name), "WEBP", Exif(6)))
    assert first == (b"VP8X", bytes((flags, 0, 0, 0)) + sides)


def test_gif_has_no_place_for_either() -> None:
    assert cleaned(good("gif"), "GIF", Exif(6, OWNED)) == cleaned(good("gif"), "GIF")


# What decides about colours.

OTHER_COLOURS = (
    hostile.chunk(b"sRGB", b"\0")
    + hostile.chunk(b"cICP", b"\1\x0d\0\1")
    + hostile.chunk(b"mDCV", bytes(24))
    + hostile.chunk(b"cLLI", bytes(8))
)


def test_a_png_keeps_what_browsers_convert_by() -> None:
    file = _in_png(good("png-alpha"), GAMMA + CHROMA + OTHER_COLOURS)
    assert cleaned(file, "PNG") == file

    without = clean(file, "PNG", NOTHING, keep_profile=False).body

    assert {name for name, _ in chunks(without)} == {b"IHDR", b"IDAT", b"IEND"}


def test_the_first_of_two_counts_as_it_does_for_libpng() -> None:
    other = hostile.chunk(b"gAMA", b"\0\0\0\1")

    assert cleaned(_in_png(good("png"), GAMMA + other), "PNG") == _in_png(good("png"), GAMMA)


@pytest.mark.parametrize("name", ["jpeg-long-profile", "png-alpha", "webp-profile", "webp-frames"])
def test_a_profile_is_dropped_where_that_is_asked_for(name: str) -> None:
    file = good(name)

    body = clean(file, kind_of(file), NOTHING, keep_profile=False).body

    assert "icc_profile" not in images.decoded(body).info
    assert decoded_fully(body)[2:] == decoded_fully(file)[2:]


def test_parts_of_a_profile_are_put_in_order_or_dropped() -> None:
    parts = [hostile.segment(0xE2, b"ICC_PROFILE\0" + bytes((n, 3)) + b"abc") for n in (1, 2, 3)]
    jpeg = good("jpeg")
    ordered = _after_start(jpeg, *parts)

    assert cleaned(_after_start(jpeg, *reversed(parts)), "JPEG") == ordered
    for some in (parts[:2], parts[1:], [*parts, parts[0]], [parts[0]] * 3):
        assert cleaned(_after_start(jpeg, *some), "JPEG") == jpeg


def test_a_profile_behind_the_frame_header_counts_as_it_does_for_browsers() -> None:
    jpeg = good("jpeg")
    profile = hostile.segment(0xE2, b"ICC_PROFILE\0\1\1" + PROFILE)
    place = jpeg.index(b"\xff\xda")

    body = cleaned(jpeg[:place] + profile + jpeg[place:], "JPEG")

    assert body == _after_start(jpeg, profile)


@pytest.mark.parametrize("transform", [0, 1])
def test_adobes_transform_decides_still(transform: int) -> None:
    jpeg = good("jpeg")
    adobe = hostile.segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((transform,)))
    file = jpeg[:2] + adobe + jpeg[20:]
    longer = hostile.segment(0xEE, adobe[4:] + SECRET)
    other = adobe[:-1] + bytes((1 - transform,))

    assert cleaned(file, "JPEG") == file
    assert cleaned(jpeg[:2] + other + longer + jpeg[20:], "JPEG") == file
    assert decoded_fully(file) != decoded_fully(jpeg[:2] + other + jpeg[20:])


@pytest.mark.parametrize(
    "part",
    [
        hostile.segment(0xEE, b"Adobe\0\x64\0\0\0\0\0"),
        hostile.segment(0xE2, b"ICC_PROFILE\0\1\1" + PROFILE),
    ],
    ids=["adobe", "profile"],
)
def test_behind_the_first_scan_nothing_decides_about_colours(part: bytes) -> None:
    progressive = good("jpeg-progressive")

    assert cleaned(_between_scans(progressive, part), "JPEG") == progressive


# Animations.


def _png_of(*parts: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(hostile.chunk(*part) for part in parts)


@pytest.mark.parametrize("name", ["png-frames", "png-frames-hidden"])
def test_an_animation_that_is_not_whole_becomes_its_first_picture(name: str) -> None:
    parts = chunks(good(name))
    still = [part for part in parts if part[0] not in {b"acTL", b"fcTL", b"fdAT"}]
    counted = [at for at, (name, _) in enumerate(parts) if name in {b"fcTL", b"fdAT"}]
    begin = next(at for at, (name, _) in enumerate(parts) if name == b"acTL")
    at = counted[-2]
    last = parts[at][1]
    beside = [last[:11] + b"\xff" + last[12:], last[:12] + b"\1" + last[13:]]
    swapped = [*parts]
    swapped[counted[-1]], swapped[counted[-2]] = swapped[counted[-2]], swapped[counted[-1]]
    broken = [
        swapped,
        [*parts[:begin], (b"acTL", struct.pack(">II", 9, 0)), *parts[begin + 1 :]],
        [*parts[:begin], *parts[begin + 1 : -1], parts[begin], parts[-1]],
        *([*parts[:at], *parts[at + 1 :]] for at in (begin, *counted)),
        *([*parts[:at], parts[at], *parts[at:]] for at in (begin, *counted)),
        *([*parts[:at], (b"fcTL", control), *parts[at + 1 :]] for control in beside),
    ]

    for file in map(lambda some: _png_of(*some), broken):  # noqa: C417 - as it reads
        done = clean(file, "PNG", NOTHING)
        assert (done.body, done.is_animated) == (_png_of(*still), False)


@pytest.mark.parametrize("frames", [1, 2])
def test_one_frame_is_no_animation(frames: int) -> None:
    gif = hostile.gif_header((8, 8)) + hostile.gif_frame((8, 1)) * frames + b";"

    assert clean(gif, "GIF", NOTHING).is_animated == (frames > 1)
    webp = hostile.animated_webp(SIZE, frames)
    assert clean(webp, "WEBP", NOTHING) == Cleaned(webp, is_animated=frames > 1)


def test_the_first_repetition_of_a_gif_counts() -> None:
    three, four = (_application(b"NETSCAPE2.0", b"\1" + bytes((n, 0))) for n in (3, 4))

    assert cleaned(_gif(three, four), "GIF") == _gif(three)
    assert cleaned(_gif(_application(b"NETSCAPE2.0", b"\1\4\0" + SECRET)), "GIF") == _gif(four)
    assert cleaned(_gif(_application(b"ANIMEXTS1.0", b"\1\4\0")), "GIF") == _gif(
        _application(b"ANIMEXTS1.0", b"\1\4\0")
    )


def test_a_control_is_for_one_frame() -> None:
    frame = hostile.gif_frame((8, 1))
    gif = hostile.gif_header((8, 8)) + b"!\xf9\4\1\2\0\3\0" + frame + frame + b";"

    assert cleaned(gif, "GIF") == gif


@pytest.mark.parametrize("sizes", [(255,), (254,), (255, 254), (200,), (255, 9), (9, 254)])
def test_blocks_of_a_gif_may_be_of_any_size(sizes: tuple[int, ...]) -> None:
    """Those of a size that is usual are passed over without Python."""
    blocks = b"".join(bytes((size,)) + b"\xfe" * size for size in sizes)
    frame = hostile.gif_frame((8, 8))[:11] + blocks * 100 + b"\0"
    gif = hostile.gif_header((8, 8)) + frame * 2 + b";"

    assert clean(gif + SECRET, "GIF", NOTHING) == Cleaned(gif, is_animated=True)
    for end in (len(gif) - 2, len(gif) - 300):
        with pytest.raises(BrokenOriginal):
            clean(gif[:end], "GIF", NOTHING)


# What is broken.

BROKEN: dict[str, tuple[Kind, Callable[[], bytes]]] = {
    "no jpeg": ("JPEG", lambda: b"?" + good("jpeg")[1:]),
    "no png": ("PNG", lambda: b"?" + good("png")[1:]),
    "no webp": ("WEBP", lambda: b"?" + good("webp")[1:]),
    "no gif": ("GIF", lambda: b"?" + _gif()[1:]),
    "nothing": ("GIF", lambda: b""),
    "webp of a short picture": (
        "WEBP",
        lambda: hostile.riff(hostile.riff_chunk(b"VP8 ", SECRET[:3])),
    ),
    "jpeg of nothing": ("JPEG", lambda: hostile.flat_jpeg(SIZE)[:20] + b"\xff\xd9"),
    "jpeg of tables alone": ("JPEG", lambda: _until(good("jpeg"), b"\xff\xda") + b"\xff\xd9"),
    "jpeg with two frames": (
        "JPEG",
        lambda: hostile.flat_jpeg(SIZE, hostile.frame(0xC0, SIZE)),
    ),
    "jpeg with a late frame": (
        "JPEG",
        lambda: good("jpeg")[:-2] + hostile.frame(0xC0, SIZE) + b"\xff\xd9",
    ),
    "jpeg in a jpeg": ("JPEG", lambda: _after_start(good("jpeg"), good("jpeg"))),
    "jpeg with an unknown segment": (
        "JPEG",
        lambda: _after_start(good("jpeg"), hostile.segment(0xF0, SECRET)),
    ),
    "jpeg with a segment of one byte": (
        "JPEG",
        lambda: _after_start(good("jpeg"), b"\xff\xe1\0\1"),
    ),
    "jpeg with a scan before its frame": (
        "JPEG",
        lambda: hostile.flat_jpeg(SIZE, hostile.scan((1,), 0, 63, b"")),
    ),
    "jpeg without a scan's frame": (
        "JPEG",
        lambda: hostile.flat_jpeg(SIZE).replace(hostile.frame(0xC0, SIZE), b""),
    ),
    "png with an unknown critical chunk": (
        "PNG",
        lambda: _in_png(good("png"), hostile.chunk(b"ABCD", SECRET)),
    ),
    "png with two headers": ("PNG", lambda: _in_png(good("png"), good("png")[8:33])),
    "png with two palettes": (
        "PNG",
        lambda: _in_png(good("png"), hostile.chunk(b"PLTE", bytes(3)) * 2),
    ),
    "png with a late palette": (
        "PNG",
        lambda: _in_png(good("png"), hostile.chunk(b"PLTE", bytes(3)), b"IEND"),
    ),
    "png with a wrong checksum": ("PNG", lambda: _flipped(good("png"), 60)),
    "png with a long header": (
        "PNG",
        lambda: good("png")[:8] + hostile.chunk(b"IHDR", bytes(14)) + good("png")[33:],
    ),
    "png without pixels": ("PNG", lambda: good("png")[:33] + good("png")[-12:]),
    "png with pixels in two places": (
        "PNG",
        lambda: _in_png(good("png"), PNG_METADATA["text"] + hostile.chunk(b"IDAT", b""), b"IEND"),
    ),
    "webp without a chunk": ("WEBP", lambda: hostile.riff(b"")),
    "webp of zero bytes": ("WEBP", lambda: b"RIFF\0\0\0\0WEBP"),
    "webp without a picture": ("WEBP", lambda: hostile.riff(hostile.webp_canvas(SIZE, 0))),
    "webp without a frame": (
        "WEBP",
        lambda: hostile.riff(hostile.webp_canvas(SIZE) + hostile.riff_chunk(b"ANIM", bytes(6))),
    ),
    "webp with an empty frame": (
        "WEBP",
        lambda: hostile.riff(
            hostile.webp_canvas(SIZE)
            + hostile.riff_chunk(b"ANIM", bytes(6))
            + hostile.riff_chunk(b"ANMF", bytes(16))
        ),
    ),
    "webp with frames and no header of theirs": (
        "WEBP",
        lambda: hostile.riff(
            hostile.webp_canvas(SIZE)
            + hostile.riff_chunk(b"ANMF", bytes(16) + hostile.flat_vp8l(SIZE))
        ),
    ),
    "webp with an unknown beginning": (
        "WEBP",
        lambda: hostile.riff(hostile.riff_chunk(b"ABCD", SECRET) + hostile.flat_vp8l(SIZE)),
    ),
    "webp with an empty beginning": ("WEBP", lambda: hostile.riff(b"VP8X\0\0\0\0")),
    "gif without a frame": ("GIF", lambda: hostile.gif_header((8, 8)) + b";"),
    "gif with stray bytes before its frame": ("GIF", lambda: _gif(SECRET)),
}


def _until(file: bytes, part: bytes) -> bytes:
    return file[: file.index(part)]


def _flipped(file: bytes, place: int) -> bytes:
    return file[:place] + bytes((file[place] ^ 1,)) + file[place + 1 :]


@pytest.mark.parametrize("name", BROKEN)
def test_what_makes_no_sense_is_refused(name: str) -> None:
    kind, make = BROKEN[name]
    with pytest.raises(BrokenOriginal):
        clean(make(), kind, NOTHING)


@pytest.mark.parametrize("name", GOOD)
def test_a_file_that_was_cut_is_refused(name: str) -> None:
    """A GIF that was cut between frames is not: it is finished."""
    file = good(name)
    kind = kind_of(file)
    for tenth in range(10):
        cut = file[: len(file) * tenth // 10]
        with pytest.raises(BrokenOriginal):
            clean(cut, kind, NOTHING)
    for last in (1, 2, 5):
        if kind == "GIF" and last == 1:
            assert cleaned(file[:-1], kind) == cleaned(file, kind)
        else:
            with pytest.raises(BrokenOriginal):
                clean(file[:-last], kind, NOTHING)


def test_a_gif_that_was_cut_between_frames_is_finished() -> None:
    file = good("gif-frames")
    second = file.index(b"!\xf9\4", 800)

    done = clean(file[:second], "GIF", NOTHING)

    assert images.decoded(done.body).tobytes() == images.decoded(file).tobytes()


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("JPEG", hostile.flat_jpeg(SIZE, JPEG_METADATA["comment"] * 100_000)),
        ("JPEG", hostile.flat_jpeg(SIZE, b"\xff\xd0" * 200_000)),
        ("PNG", hostile.flat_png(SIZE, 8, 0, PNG_METADATA["text"] * 100_000)),
        ("WEBP", hostile.animated_webp(SIZE, 50_000)),
        ("GIF", _gif(hostile.gif_extension(0xFE, b"a", 200_000))),
        ("GIF", _gif(hostile.gif_extension(0xFE, b"a", 1) * 100_000)),
    ],
    ids=["segments", "markers", "chunks", "frames", "blocks", "extensions"],
)
def test_a_file_in_very_many_parts_is_refused(kind: Kind, file: bytes) -> None:
    with pytest.raises(OversizedOriginal):
        clean(file, kind, NOTHING)


# Whatever comes.


@st.composite
def _stuffed(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A file with parts that nobody knows in any places between others, and the same without."""
    inserted = st.lists(st.binary(max_size=40), min_size=1, max_size=5)
    kind = draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]))
    if kind == "JPEG":
        markers = st.sampled_from([*range(0xE1, 0xEE), 0xEF, 0xFE])
        whole = good("jpeg-progressive")
        places = [20, *(at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xc4")]
        made = [hostile.segment(draw(markers), content) for content in draw(inserted)]
    elif kind == "PNG":
        whole = good("png-frames")
        places = [whole.index(name) - 4 for name in (b"acTL", b"IEND")]
        made = [hostile.chunk(b"abCd", content) for content in draw(inserted)]
    elif kind == "WEBP":
        whole = good("webp-frames")
        places = [whole.index(name) for name in (b"ICCP", b"ANIM", b"ANMF")] + [len(whole)]
        made = [hostile.riff_chunk(b"abcd", content) for content in draw(inserted)]
    else:
        whole = good("gif-frames")
        places = [at for at in range(len(whole)) if whole[at : at + 3] == b"!\xf9\4"]
        labels = st.sampled_from([*range(2, 0xF9), 0xFE])
        made = [hostile.gif_extension(draw(labels), c or b"a", 2) for c in draw(inserted)]
    file = bytearray(whole)
    chosen = [draw(st.sampled_from(places)) for _ in made]
    for place, part in sorted(zip(chosen, made, strict=True), reverse=True):
        file[place:place] = part
    if kind == "WEBP":
        file[4:8] = struct.pack("<I", len(file) - 8)
    return bytes(file) + draw(st.binary(max_size=40)), whole


@settings(max_examples=EXAMPLES)
@given(_stuffed())
def test_parts_that_nobody_knows_go_wherever_they_are(stuffed: tuple[bytes, bytes]) -> None:
    file, whole = stuffed
    kind = kind_of(file)

    assert clean(file, kind, NOTHING) == clean(whole, kind, NOTHING)


@settings(max_examples=EXAMPLES)
@given(st.sampled_from([*GOOD]), st.data())
def test_whatever_a_file_became_it_is_cleaned_once_or_refused(
    name: str, data: st.DataObject
) -> None:
    file = bytearray(good(name))
    kind = kind_of(bytes(file))
    for _ in range(data.draw(st.integers(1, 5))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(file)) | st.just(len(file)))
    try:
        done = clean(bytes(file[:end]), kind, NOTHING)
    except ImageError as error:
        assert error.code == BrokenOriginal.code
    else:
        assert clean(done.body, kind, NOTHING) == done
        assert len(done.body) <= end + 2


def _shown(file: bytes) -> tuple[str, bytes, str] | str:
    """What the application decodes."""
    try:
        opened = open_original(io.BytesIO(file), LIMITS)
        image = opened.decode(1)
    except ImageError as error:
        return error.code
    return image.mode, image.tobytes(), str(opened.metadata)


def _holds_for(file: bytes) -> bool:
    """Look at one file; return whether it was cleaned."""
    if not any(known.matches(file) for known in ORIGINAL_FORMATS.values()):
        return False
    kind, before, kept = kind_of(file), _shown(file), Exif()
    if not isinstance(before, str):
        metadata = open_original(io.BytesIO(file), LIMITS).metadata
        kept = Exif(metadata.orientation, metadata.copyright)
    try:
        body = cleaned(file, kind, kept)
    except (BrokenOriginal, OversizedOriginal):
        return False
    assert cleaned(body, kind, kept) == body
    assert len(body) <= len(file) + 2
    # Without a part that was broken, a file may be good.
    assert isinstance(before, str) or _shown(body) == before
    return True


EVERY = 1 if os.environ.get("IMGPROCESSOR_ALL_WIDTHS") else 3
"""`./run torture` has each file looked at."""


@pytest.mark.slow
def test_hostile_files_are_cleaned_or_refused() -> None:
    # The largest are there for decoders, and take longest to make.
    small = [known for known in hostile.hostile_files() if "mp" not in known.name]
    names = [known.name for known in small[::EVERY] if _holds_for(known.make())]

    assert len(names) > 90 // EVERY


@pytest.mark.slow
@needs_corpus
@pytest.mark.parametrize("folder", ["malformed", "orientation"])
def test_third_party_files_are_cleaned_or_refused(folder: str) -> None:
    paths = [path for path in sorted((CORPUS / folder).rglob("*")) if path.is_file()]
    # A profile that browsers see and Pillow does not.
    paths = [path for path in paths if path.name != "icc-after-SOF.jpg"]
    if folder == "malformed":
        paths = paths[::EVERY]
    done = [_holds_for(path.read_bytes()) for path in paths]

    assert sum(done) > (100 // EVERY if folder == "malformed" else len(paths) // 2)
