"""What is kept of a picture's metadata: all but the place, copyright alone, or nothing."""

import io
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import hostile
import images
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.config.upload_settings import KeptMetadata
from imgprocessor.images.acceptance import accept
from imgprocessor.images.clean.exif_kept import kept_exif
from imgprocessor.images.clean.iptc import kept_iptc
from imgprocessor.images.clean.xmp import kept_xmp
from imgprocessor.images.decode import open_original
from imgprocessor.images.formats.exif import COPYRIGHT, read_exif

LIMITS = OriginalsSettings()
SIZE = (96, 64)
SECRET = b"SECRET-4711"
SUFFIXES = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF"}

# By exiftool: a place wherever it can write one.

EXIFTOOL = shutil.which("exiftool") or ""
needs_exiftool = pytest.mark.skipif(not EXIFTOOL, reason="there is no exiftool")

PLACE, NUMBER = "Atlantis", "12.4711"
OF_PLACES = re.compile(
    "GPS|Location|City|State|Country|Province|Latitude|Longitude|Altitude|Place|Coverage|Geo|World"
    "|Address|Region|Street|Venue"
)
NO_PLACE = re.compile("WebStatement|ISOSpeedLatitude|Placement")
"""Names that are like those of places."""
OTHERS = {
    "Artist": "Me", "Copyright": "(c) Somebody", "Make": "Maker", "Model": "Camera 1",
    "ExposureTime": "1/250", "LensModel": "Lens 2", "XMP-dc:Title": "A title",
    "XMP-dc:Creator": "Me", "XMP-dc:Rights": "(c) Somebody", "XMP-xmp:Rating": "4",
    "XMP-exif:FNumber": "5.6", "IPTC:By-line": "Me", "IPTC:ObjectName": "A title",
    "PNG:Title": "A title",
}  # fmt: skip
"""What is written beside."""
TOLD = {
    "jpg": {
        "IFD0:Artist": "Me", "IFD0:Copyright": "(c) Somebody", "IFD0:Model": "Camera 1",
        "ExifIFD:ExposureTime": 0.004, "ExifIFD:LensModel": "Lens 2", "XMP-dc:Title": "A title",
        "XMP-xmp:Rating": 4, "XMP-exif:FNumber": 5.6, "IPTC:By-line": "Me",
        "IPTC:ObjectName": "A title", "IFD0:Orientation": 6,
    },
    "png": {
        "IFD0:Model": "Camera 1", "ExifIFD:ExposureTime": 0.004, "XMP-dc:Title": "A title",
        "PNG:Title": "A title", "IFD0:Copyright": "(c) Somebody", "IFD0:Orientation": 6,
    },
    "webp": {
        "IFD0:Model": "Camera 1", "ExifIFD:ExposureTime": 0.004, "XMP-dc:Title": "A title",
        "XMP-dc:Creator": "Me", "IFD0:Artist": "Me", "IFD0:Orientation": 6,
    },
    "gif": {},
}  # fmt: skip
"""What must be found again after `all`."""


def _tags_of_places() -> list[str]:
    """Return all that exiftool can write of a place, each with its group."""
    found = []
    for group in ("EXIF", "GPS", "XMP", "IPTC", "Photoshop"):
        told = subprocess.run(
            [EXIFTOOL, "-listw", f"-{group}:all"], capture_output=True, check=True, text=True
        )
        found += [
            f"{group}:{name}"
            for name in told.stdout.partition("\n")[2].split()
            if OF_PLACES.search(name) and not NO_PLACE.search(name)
        ]
    assert len(found) > 200
    return found


def told_of(path: Path) -> dict[str, Any]:
    asked: list[str | Path] = [EXIFTOOL, "-j", "-G1", "-a", "-u", "-U", "-ee", "-n", path]
    (told,) = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    return {name: value for name, value in told.items() if ":" in name}


@pytest.fixture(scope="module")
def placed_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of each kind with a place in all places, written at once, in six seconds."""
    folder = tmp_path_factory.mktemp("placed")
    information = PngImagePlugin.PngInfo()
    for keyword in ("Location", "Comment", "GPS", "City"):
        information.add_itxt(keyword, PLACE)
    for suffix, image_format in SUFFIXES.items():
        image = images.texture(SIZE).convert("P" if suffix == "gif" else "RGB")
        options = {"pnginfo": information} if suffix == "png" else {}
        images.save(folder / f"a.{suffix}", image, image_format, **options)
    # The last that a tag takes counts; some take numbers of few bits alone.
    tags = _tags_of_places()
    assigned = [f"-{tag}={value}" for value in ("1", "12", NUMBER) for tag in tags]
    assigned += [f"-{tag}={value}" for tag, value in OTHERS.items()]
    texts = ("XMP:Subject", "XMP:City", "IPTC:City", "IPTC:Keywords", "Comment", "EXIF:UserComment")
    assigned += [f"-{tag}={PLACE}" for tag in texts]
    written = [EXIFTOOL, "-q", "-q", "-m", "-overwrite_original", "-EXIF:Orientation#=6", *assigned]
    subprocess.run([*written, *folder.iterdir()], check=True)
    return folder


@pytest.fixture(params=SUFFIXES)
def placed(request: pytest.FixtureRequest, placed_files: Path) -> Path:
    return placed_files / f"a.{request.param}"


@pytest.mark.slow
@needs_exiftool
@pytest.mark.parametrize("metadata", ["none", "copyright", "all"])
def test_no_place_is_kept_wherever_it_stands(
    placed: Path, metadata: KeptMetadata, tmp_path: Path
) -> None:
    file, before = placed.read_bytes(), told_of(placed)
    known = [name for name in before if OF_PLACES.search(name.partition(":")[2])]
    assert len(known) > {"jpg": 200, "png": 190, "webp": 190, "gif": 150}[placed.suffix[1:]]

    kept = accept(file, LIMITS, metadata)

    path = tmp_path / placed.name
    path.write_bytes(kept.body)
    after = told_of(path)
    for text in (PLACE, NUMBER):
        assert text in json.dumps(before)
        assert text not in json.dumps(after)
        assert text.encode() not in kept.body
    names = {name.partition(":")[2] for name in after if not name.startswith(("ICC", "System"))}
    assert {name for name in names if OF_PLACES.search(name)} == set()
    assert images.decoded(kept.body).tobytes() == images.decoded(file).tobytes()
    if metadata == "all":
        expected = TOLD[placed.suffix[1:]]
        assert {name: after.get(name) for name in expected} == expected


@pytest.mark.slow
@needs_exiftool
def test_copyright_keeps_artist_and_copyright_alone(placed: Path, tmp_path: Path) -> None:
    path = tmp_path / placed.name
    path.write_bytes(accept(placed.read_bytes(), LIMITS, "copyright").body)

    told = told_of(path)

    ours = {name for name in told if name.startswith(("IFD0", "ExifIFD", "XMP", "IPTC", "PNG:T"))}
    expected = {"IFD0:Artist", "IFD0:Copyright", "IFD0:Orientation"}
    assert ours == (expected if path.suffix != ".gif" else set())


# EXIF.

TAGS = {"copyright": 0x8298, "model": 0x0110, "exposure": 0x829A, "note": 0x927C, "gps": 0x8825}


def _tiff(order: str) -> bytes:
    """EXIF data with a model, a pointer to the camera's tags, an exposure and a maker's note."""

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack(f"{order}HHII", tag, kind, count, value)

    model, camera, gps, values = 8 + 2 + 36 + 4, 70, 120, 150
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    first = struct.pack(f"{order}H", 3)
    first += entry(0x0110, 2, 9, model) + entry(0x8769, 4, 1, camera) + entry(0x8825, 4, 1, gps)
    data = (head + first + bytes(4) + b"Camera 1\0").ljust(camera, b"\0")
    second = struct.pack(f"{order}H", 2)
    second += entry(0x829A, 5, 1, values) + entry(0x927C, 7, len(SECRET), values + 8)
    data = (data + second + bytes(4)).ljust(gps, b"\0")
    data += struct.pack(f"{order}H", 1) + entry(1, 2, len(SECRET), values + 8) + bytes(4)
    return data.ljust(values, b"\0") + struct.pack(f"{order}II", 1, 250) + SECRET


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_written_anew_in_its_own_order_of_bytes(order: str, prefix: bytes) -> None:
    data = _tiff(order)
    assert SECRET in data

    kept = kept_exif(prefix + data, 6)

    assert SECRET not in kept
    assert kept.startswith(b"Exif\0\0" + data[:4])
    exif = Image.Exif()
    exif.load(kept)
    camera = exif.get_ifd(0x8769)
    assert dict(exif) == {0x0110: "Camera 1", 0x0112: 6, 0x8769: exif[0x8769]}
    assert {tag: float(value) for tag, value in camera.items()} == {0x829A: 1 / 250}
    assert kept_exif(kept, 6) == kept


def _entries(*entries: tuple[int, int, int, bytes], data: bytes = b"") -> bytes:
    return hostile.exif(*entries, data=data)


NO_EXIF = {
    "nothing": b"",
    "prefix": b"Exif\0\0",
    "text": b"Not EXIF data at all.",
    "short": b"II*\0",
    "outside": b"II*\0\xff\xff\xff\xff",
    "in-the-header": b"II*\0\0\0\0\0",
    "no-entries": _entries(),
    "unknown-tag": _entries((0x1234, 2, 4, b"abc\0")),
    "unknown-type": _entries((0x0110, 99, 4, b"abc\0")),
    "value-outside": _entries((0x0110, 2, 400, b"\xff\xff\0\0")),
    "value-huge": _entries((0x0110, 2, 0xFFFFFFFF, b"\0\0\0\0")),
    "empty-text": _entries((0x0110, 2, 4, b"\0\0\0\0")),
    "many-bytes": _entries((0x0110, 7, 100, b"\0\0\0\0"), data=bytes(100)),
    "own-directory": _entries((0x8769, 4, 1, b"\x08\0\0\0")),
    "directory-of-a-text": _entries((0x8769, 2, 100, b"\0\0\0\0"), data=b"a" * 200),
    "overlapping": hostile.overlapping(2700, 32_000),
}


@pytest.mark.parametrize("name", NO_EXIF)
def test_exif_that_makes_no_sense_is_dropped(name: str) -> None:
    assert kept_exif(NO_EXIF[name], 1) == b""
    assert read_exif(kept_exif(NO_EXIF[name], 6)).orientation == 6


def test_exif_never_gets_too_long_for_a_jpeg() -> None:
    tags = [0x0110, 0x010F, 0x0131, 0x9C9B, 0x0128, *range(0x9201, 0x920B)]
    every = [0x010E, 0x0132, 0x013B, 0x8298, 0x011A, 0x011B, 0x0213, 0x4746, 0x9C9D, 0x9C9F, *tags]
    place = struct.pack("<I", 14 + 12 * len(every))
    data = _entries(*((tag, 2, 3000, place) for tag in every), data=b"a" * 4000)

    assert len(data) < len(kept_exif(data, 1)) < 65_000
    assert kept_exif(data[:4] + data[4:], 1).count(b"a" * 2000) == 15
    assert len(read_exif(kept_exif(data, 1)).copyright) == 2


@given(
    st.binary(max_size=300)
    | st.binary(max_size=300).map(lambda tail: b"II*\0\x08\0\0\0" + tail)
    | st.tuples(st.integers(0, 140), st.binary(max_size=8)).map(
        lambda both: _tiff("<")[: both[0]] + both[1] + _tiff("<")[both[0] + len(both[1]) :]
    ),
    st.integers(1, 8),
)
def test_whatever_exif_is_it_is_written_once(data: bytes, orientation: int) -> None:
    kept = kept_exif(data, orientation)

    assert kept_exif(kept, orientation) == kept
    assert read_exif(kept).orientation == orientation


# XMP.

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NAMES = (
    f'xmlns:rdf="{_RDF}" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
)


def xmp(inside: str = "", attributes: str = "", before: str = "") -> bytes:
    return (
        f'{before}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {_NAMES}>'
        f'<rdf:Description rdf:about="" {attributes}>{inside}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


def _list(of: str, *items: str) -> str:
    return f"<rdf:{of}>{''.join(f'<rdf:li>{item}</rdf:li>' for item in items)}</rdf:{of}>"


KEPT_XMP = {
    "attribute": (xmp(attributes='xmp:Rating="4"'), "<xmp:Rating>4</xmp:Rating>"),
    "element": (xmp("<xmp:Rating>4</xmp:Rating>"), "<xmp:Rating>4</xmp:Rating>"),
    "list": (
        xmp(f"<dc:creator> {_list('Seq', 'Me', 'You')} </dc:creator>"),
        f"<dc:creator>{_list('Seq', 'Me', 'You')}</dc:creator>",
    ),
    "languages": (
        xmp('<dc:title><rdf:Alt><rdf:li xml:lang="de">Ä</rdf:li></rdf:Alt></dc:title>'),
        '<dc:title><rdf:Alt><rdf:li xml:lang="de">Ä</rdf:li></rdf:Alt></dc:title>',
    ),
    "escaped": (xmp("<xmp:Label>a &lt;&amp;&#62; b</xmp:Label>"), "a &lt;&amp;&gt; b<"),
    "first-of-two": (
        xmp("<xmp:Rating>4</xmp:Rating><xmp:Rating>5</xmp:Rating>"),
        "<xmp:Rating>4</xmp:Rating></",
    ),
    "packet": (
        xmp("<xmp:Rating>4</xmp:Rating>", before='<?xpacket begin="" id="W5M0"?>') + b" " * 2000,
        "<xmp:Rating>4</xmp:Rating>",
    ),
}


@pytest.mark.parametrize("name", KEPT_XMP)
def test_xmp_is_written_anew(name: str) -> None:
    data, expected = KEPT_XMP[name]

    kept = kept_xmp(data)

    assert expected in kept.decode()
    assert kept_xmp(kept) == kept


_TEXT = SECRET.decode()
DROPPED_XMP = {
    "place": xmp(attributes=f'photoshop:City="{_TEXT}" exif:GPSLatitude="{_TEXT}"'),
    "unknown-property": xmp(f"<dc:coverage>{_TEXT}</dc:coverage>"),
    "keywords": xmp(f"<dc:subject>{_list('Bag', _TEXT)}</dc:subject>"),
    "unknown-namespace": xmp(f'<a:title xmlns:a="http://a.example/">{_TEXT}</a:title>'),
    "structure": xmp(f'<dc:title rdf:parseType="Resource"><dc:a>{_TEXT}</dc:a></dc:title>'),
    "described": xmp(
        f"<dc:title><rdf:Description><dc:a>{_TEXT}</dc:a></rdf:Description></dc:title>"
    ),
    "in-an-item": xmp(f"<dc:title>{_list('Bag', f'<dc:a>{_TEXT}</dc:a>')}</dc:title>"),
    "attribute-of-an-item": xmp(
        f'<dc:title><rdf:Bag><rdf:li dc:a="{_TEXT}">b</rdf:li></rdf:Bag></dc:title>'
    ),
    "other-item": xmp(f"<dc:title><rdf:Bag><dc:a>{_TEXT}</dc:a></rdf:Bag></dc:title>"),
    "orientation": xmp(attributes=f'tiff:Orientation="6" xmp:Foo="{_TEXT}"'),
    "empty": xmp("<dc:title> </dc:title>"),
    "comment": xmp(f"<!-- {_TEXT} --><?a {_TEXT}?>"),
    "no-xml": b"<x:xmpmeta" + SECRET,
    "cut": xmp(f"<dc:title>{_TEXT}</dc:title>")[:-5],
    "two": xmp(f"<dc:title>{_TEXT}</dc:title>") * 2,
    "no-rdf": f"<title>{_TEXT}</title>".encode(),
    "nothing": b"",
    "document-type": xmp(f"<dc:title>{_TEXT}</dc:title>", before="<!DOCTYPE a>"),
    "entity": xmp("<dc:title>&a;</dc:title>", before=f'<!DOCTYPE a [<!ENTITY a "{_TEXT}">]>'),
    "entity-bomb": xmp(
        "<dc:title>&d;</dc:title>",
        before='<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
        '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>',
    ),
    "file": xmp(
        "<dc:title>&a;</dc:title>", before='<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    ),
    "document-type-in-utf-16": xmp("<dc:title>&a;</dc:title>", before="<!DOCTYPE a>")
    .decode()
    .encode("utf-16"),
    "unknown-entity": xmp("<dc:title>&a;</dc:title>"),
    "no-utf-8": xmp(f"<dc:title>{_TEXT}\xff</dc:title>").decode().encode("latin-1"),
    "too-long": xmp(f"<dc:title>{_TEXT}</dc:title>" + " " * 300_000),
    "deep": xmp("<xmp:Rating>4</xmp:Rating>" + "<dc:a>" * 9000 + "</dc:a>" * 9000),
    "too-much": xmp(f"<dc:title>{_list('Bag', *['a' * 2000] * 100)}</dc:title>"),
}


@pytest.mark.parametrize("name", DROPPED_XMP)
def test_xmp_that_is_not_known_or_makes_no_sense_is_dropped(name: str) -> None:
    assert kept_xmp(DROPPED_XMP[name]) == b""


def test_texts_in_xmp_are_cut() -> None:
    kept = kept_xmp(xmp(f"<dc:title>{'a' * 100_000}</dc:title>"))

    assert kept.count(b"a" * 2000) == 1
    assert b"a" * 2001 not in kept


@given(
    st.sampled_from([data for data, _ in KEPT_XMP.values()] + [*DROPPED_XMP.values()][:12]),
    st.integers(0, 900),
    st.binary(max_size=6),
)
def test_whatever_xmp_is_it_is_written_once(data: bytes, place: int, other: bytes) -> None:
    kept = kept_xmp(data[:place] + other + data[place + len(other) :])

    assert kept_xmp(kept) == kept


# IPTC.


def _set(record: int, number: int, value: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


def test_datasets_of_places_go_and_others_stay_in_their_order() -> None:
    kept = [_set(1, 90, b"\x1b%G"), _set(2, 0, b"\0\4"), _set(2, 80, b"Me"), _set(2, 116, b"(c)")]
    numbers = (25, 26, 27, 90, 92, 95, 100, 101, 103, 118, 200)
    places = [_set(2, number, SECRET) for number in numbers] + [_set(3, 80, SECRET)]

    assert kept_iptc(b"".join(kept + places)) == b"".join(kept)
    assert kept_iptc(b"".join(places + kept)) == b"".join(kept)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        SECRET,
        _set(2, 80, SECRET)[:-1],
        struct.pack(">BBBHI", 0x1C, 2, 80, 0x8004, 3) + b"abc",
        _set(2, 80, b"a" * 3000),
        _set(2, 80, b"a" * 2000) * 20,
    ],
    ids=["nothing", "text", "cut", "extended", "long", "much"],
)
def test_iptc_that_makes_no_sense_is_dropped(data: bytes) -> None:
    assert kept_iptc(data) == b""


@given(st.binary(max_size=200))
def test_whatever_iptc_is_it_is_written_once(data: bytes) -> None:
    kept = kept_iptc(_set(2, 80, b"Me") + data)

    assert kept_iptc(kept) == kept


# In files.

NO_METADATA = {
    "exif": {"exif": b"Exif\0\0" + SECRET},
    "xmp": {"xmp": b"<!DOCTYPE a>" + SECRET},
}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("name", NO_METADATA)
def test_a_picture_is_not_refused_for_its_metadata(name: str, image_format: str) -> None:
    image = images.texture(SIZE)
    options: dict[str, Any] = {**NO_METADATA[name]}
    if image_format == "PNG" and name == "xmp":
        information = PngImagePlugin.PngInfo()
        information.add_itxt("XML:com.adobe.xmp", options["xmp"].decode())
        options = {"pnginfo": information}
    file = images.encoded(image, image_format, **options)
    assert SECRET in file

    body = accept(file, LIMITS, "all").body

    assert SECRET not in body
    assert body == accept(file, LIMITS, "none").body
    assert images.decoded(body).tobytes() == images.decoded(file).tobytes()


def test_texts_of_a_png_stay_by_their_keywords() -> None:
    texts = {"Title": "A title", "Author": "Me", "Creation Time": "2026"}
    information = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        information.add_text(keyword, text)
    information.add_text("Description", "日本" * 3000, zip=True)
    for keyword in ("Location", "Comment", "parameters", "Raw profile type iptc", "xmp", "exif"):
        information.add_text(keyword, SECRET.decode())
    file = images.encoded(images.texture(SIZE), "PNG", pnginfo=information)

    kept = Image.open(io.BytesIO(accept(file, LIMITS, "all").body))

    assert kept.info == texts | {"Description": "日本" * 1000}


def test_copyright_of_xmp_alone_stays_in_xmp() -> None:
    file = images.encoded(
        images.texture(SIZE), "JPEG", xmp=xmp(f"<dc:rights>{_list('Alt', '(c)')}</dc:rights>")
    )

    assert b"(c)" in accept(file, LIMITS, "all").body
    assert b"(c)" not in accept(file, LIMITS, "copyright").body


@pytest.mark.parametrize("metadata", ["none", "copyright", "all"])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_that_xmp_has_alone_keeps_its_effect(
    image_format: str, metadata: KeptMetadata
) -> None:
    data = xmp(attributes='tiff:Orientation="6"', inside="<xmp:Rating>4</xmp:Rating>")
    options: dict[str, Any] = {"xmp": data}
    if image_format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", data.decode())
    file = images.encoded(images.texture(SIZE), image_format, **options)

    body = accept(file, LIMITS, metadata).body

    known = open_original(io.BytesIO(body), LIMITS).metadata
    assert (known.orientation, str(known.displayed)) == (6, "64x96")
    assert b"tiff:Orientation" not in body


def test_copyright_beside_exif_that_has_none() -> None:
    """ImageMagick's way of EXIF data in a PNG is read for what counts, and not kept."""
    exif = _entries((COPYRIGHT, 2, 4, b"(c)\0")).hex()
    information = PngImagePlugin.PngInfo()
    information.add_text("Raw profile type exif", f"\nexif\n{len(exif) // 2}\n{exif}")
    file = images.encoded(images.texture(SIZE), "PNG", pnginfo=information)

    known = open_original(io.BytesIO(accept(file, LIMITS, "all").body), LIMITS).metadata

    assert known.copyright == ((COPYRIGHT, "(c)"),)
