"""Documents mutated by a script, the same ones each time: drawn in the sandbox, or refused.

`python tests/mutated_documents.py KIND COUNT` draws so many and says what came of them.
"""

import gzip
import io
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import documents
import office_files
import photographs
import videos
from drawn_documents import PREFIX, SECONDS, outcome
from PIL import Image

from imgprocessor.images.previews import kind as sentences

ALLOWED = {
    *("no document", "drawn, some ink", "drawn, blank"),
    *(sentences.DAMAGED, sentences.CUT_OFF, sentences.EMPTY, sentences.LOCKED),
    *(sentences.TOO_LARGE, sentences.TOO_SLOW, sentences.UNDRAWABLE),
}
"""What may come of a document."""

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_NAME = re.compile(rb"(?<=[ /=\":(;])[A-Za-z]{2,}")
_ELEMENT = re.compile(rb"<(\w+)[^<>]*/>|<(\w+)[^<>]*>[^<>]*</\2>")
_VALUE = re.compile(rb'(?<==")[^"]*(?=")|(?<=>)[^<>]+(?=</)')
_SELDOM = 0.3
_NUMBERS = [b"0", b"-1", b"1e30", b"65535", b"65536", b"2147483647", b"4294967296", b"99999999999"]
_WORDS = [b"[" * 300, b"<" * 300, b"\0" * 50, b"&a;", b"<<>>", b"endobj", b'"', b"\xff" * 20]


def _jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (120, 90), "teal").save(file, "JPEG")
    return file.getvalue()


def _pdfs() -> Sequence[bytes]:
    form = documents.stream(
        documents.filled("0 0 40 20"), b"/Type /XObject /Subtype /Form /BBox [0 0 40 20]"
    )
    widget = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /V (x) /Rect [10 10 90 50] /F 4"
        b" /DA (/F1 12 Tf 0 g) /AP << /N 1001 0 R >> >>"
    )
    content = documents.filled("0 50 100 50") + b"/G gs " + documents.said("Text") + b"/X Do /P sh"
    resources = (
        b"/ExtGState << /G << /ca 0.5 /SMask << /S /Luminosity /G 1001 0 R >> >> >>"
        b" /XObject << /X 1001 0 R >> /Shading << /P << /ShadingType 2 /ColorSpace /DeviceRGB"
        b" /Coords [0 0 9 9] /Function << /FunctionType 2 /Domain [0 1] /N 2 /C1 [1 0 0] >> >> >>"
    )
    rich = documents.pdf(
        [content, b""],
        page_entries=b"/Annots [1000 0 R] /Rotate 90 /CropBox [0 0 150 90]",
        resources=resources,
        catalogue=b"/AcroForm << /Fields [1000 0 R] /NeedAppearances true >>",
        more={1000: widget, 1001: form},
    )
    return [rich, documents.pdf([content] * 3), documents.encrypted_pdf(content)]


def _svgs() -> Sequence[bytes]:
    text = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "text">]>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="200"
 height="100" viewBox="0 0 200 100"><style>.a{fill:red;font:bold 12px Arial}</style>
<defs><linearGradient id="g"><stop stop-color="red"/><stop offset="1"/></linearGradient>
<filter id="f"><feGaussianBlur stdDeviation="3"/><feTurbulence baseFrequency=".1"/></filter>
<mask id="m"><rect width="99" height="99" fill="white"/></mask>
<pattern id="p" width="9" height="9" patternUnits="userSpaceOnUse"><circle r="4"/></pattern></defs>
<rect width="100" height="50" fill="url(#g)" filter="url(#f)"/><g mask="url(#m)" opacity=".5">
<path d="M10 10 C 20 20, 40 20, 50 10 A 6 4 10 1 0 14 10 Z" stroke="blue" stroke-dasharray="3 2"/>
<text class="a" x="10" y="80">Some &a; <tspan font-size="2em">large</tspan></text></g>
<use href="#u" x="9"/><g id="u" transform="rotate(30) scale(2)"><ellipse rx="9" ry="4"/></g>
<rect width="200" height="100" fill="url(#p)"/></svg>"""
    return [text]


def _heifs() -> Sequence[bytes]:
    scene, hidden = (
        photographs.scene_item(photographs.turned(1)),
        photographs.scene_item(hidden=True),
    )
    grid = photographs.grid_item(2, 2, 128, 96)
    return [
        photographs.heif(),
        photographs.heif([scene, photographs.scene_item()], primary=2),
        photographs.heif([grid, *[hidden] * 4], references={(b"dimg", 1): [2, 3, 4, 5]}),
    ]


def _raws() -> Sequence[bytes]:
    return [photographs.dng(64, 48), photographs.dng(64, 48, orientation=6, preview=_jpeg())]


def _offices() -> Sequence[bytes]:
    text = office_files.text_body(["One", "<text:span>Two</text:span>"])
    sheet = office_files.sheet_body(5)
    slides = office_files.slides_body([office_files.RED_SQUARE, ""], [2])
    return [
        *(office_files.flat("text", text), office_files.flat("spreadsheet", sheet)),
        *(office_files.flat("presentation", slides), office_files.odf("text", text)),
        *(office_files.docx(["One", "Two"]), office_files.xlsx(office_files.xlsx_rows(5))),
        *(office_files.pptx(["One", "Two"]), office_files.compound({"WordDocument": bytes(9000)})),
        rb"{\rtf1{\fonttbl{\f0 Arial;}}\f0\fs24 One\par\page{\b Two}\trowd\cellx900 x\cell\row}",
    ]


def _videos() -> Sequence[bytes]:
    film = [videos.four_colours()] * 5
    return [
        *(videos.mov(film), videos.mov(film, is_index_first=True), videos.avi(film)),
        videos.mov(film, brand=b"isom", matrix=videos.TURNED_RIGHT, pixel_ratio=(4, 3)),
    ]


SAMPLES: dict[str, Callable[[], Sequence[bytes]]] = {
    "pdf": _pdfs,
    "svg": _svgs,
    "heif": _heifs,
    "raw": _raws,
    "office": _offices,
    "video": _videos,
}


def mutants(kind: str, count: int, seed: int = 24) -> Iterator[bytes]:
    """Mutate documents of a kind."""
    chance = random.Random(f"{kind} {seed}")
    samples = SAMPLES[kind]()
    for _ in range(count):
        data = bytearray(chance.choice(samples))
        # Some of what follows the beginning alone, so that most are still told for what they are.
        spared = chance.choice([0, 12, 64])
        for _ in range(chance.choice([1, 1, 1, 2, 3, 10])):
            # Where structure is, matters more than pixels: mostly early.
            at = spared + int((len(data) - spared) * chance.random() ** chance.choice([1, 1, 3]))
            chance.choice(WAYS[kind])(chance, data, max(0, min(at, len(data) - 1)))
        yield PACKED.get(kind, _as_it_is)(chance, bytes(data))


def _as_it_is(_: random.Random, data: bytes) -> bytes:
    return data


def _packed_svg(chance: random.Random, data: bytes) -> bytes:
    how = chance.randrange(6)
    if how == 0:
        return gzip.compress(data, mtime=0)
    return data.decode("utf-8", "replace").encode("utf-16") if how == 1 else data


def _packed_office(chance: random.Random, data: bytes) -> bytes:
    """Have most ZIPs be whole, with one entry that is not as it should be."""
    samples = [sample for sample in _offices() if sample.startswith(b"PK")]
    if not data.startswith(b"PK") or chance.random() < _SELDOM:
        return data
    with zipfile.ZipFile(io.BytesIO(chance.choice(samples))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice([name for name in entries if name != "mimetype"])
    changed = bytearray(entries[name])
    for _ in range(chance.choice([1, 1, 2, 5])):
        chance.choice(WAYS["office"])(chance, changed, chance.randrange(len(changed) or 1))
    return office_files.zipped(entries | {name: bytes(changed)}, stored=["mimetype"])


PACKED = {"svg": _packed_svg, "office": _packed_office}

Way = Callable[[random.Random, bytearray, int], None]


def _flip(chance: random.Random, data: bytearray, at: int) -> None:
    data[at : at + 1] = bytes(byte ^ 1 << chance.randrange(8) for byte in data[at : at + 1])


def _byte(chance: random.Random, data: bytearray, at: int) -> None:
    data[at : at + 1] = bytes([chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])])


def _size(chance: random.Random, data: bytearray, at: int) -> None:
    data[at : at + 4] = chance.choice([b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\1\0\0"])


def _lose(chance: random.Random, data: bytearray, at: int) -> None:
    del data[at : at + _length(chance)]


def _cut(chance: random.Random, data: bytearray, at: int) -> None:
    if chance.random() < _SELDOM:
        del data[at:]


def _repeat(chance: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = data[at : at + _length(chance)] * chance.choice([1, 1, 2, 50])


def _copy(chance: random.Random, data: bytearray, at: int) -> None:
    start, length = chance.randrange(len(data) + 1), _length(chance)
    data[at : at + length] = data[start : start + length]


def _garbage(chance: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = chance.choice(_WORDS)


def _number(chance: random.Random, data: bytearray, _: int) -> None:
    _replace(chance, data, _NUMBER, _NUMBERS)


def _word(chance: random.Random, data: bytearray, _: int) -> None:
    """Say another of its own words."""
    words = _NAME.findall(data)
    _replace(chance, data, _NAME, words)


def _replace(
    chance: random.Random, data: bytearray, what: re.Pattern[bytes], by: Sequence[bytes]
) -> None:
    if found := list(what.finditer(data)):
        chosen = chance.choice(found)
        data[chosen.start() : chosen.end()] = chance.choice(by)


def _element(chance: random.Random, data: bytearray, _: int) -> None:
    """Put an element into another place, or many times."""
    if found := [each[0] for each in _ELEMENT.finditer(data)]:
        places = [each.end() for each in _ELEMENT.finditer(data)]
        at = chance.choice(places)
        data[at:at] = chance.choice(found) * chance.choice([1, 2, 300])


def _value(chance: random.Random, data: bytearray, _: int) -> None:
    """Give an attribute, or a text, another one's value: most XML stays well-formed so."""
    values = _VALUE.findall(data)
    _replace(chance, data, _VALUE, [*values, *_NUMBERS, b"x" * 5000])


def _length(chance: random.Random) -> int:
    return chance.choice([1, 2, 4, 16, 64, 300])


_ANY: list[Way] = [_flip, _byte, _lose, _repeat, _copy, _garbage, _cut]
_TEXT: list[Way] = [_number, _number, _word, _word]
_BINARY: list[Way] = [_flip, _byte, _size]
WAYS: dict[str, list[Way]] = {
    "pdf": _ANY + _TEXT * 2,
    "svg": [*_ANY, *_TEXT * 4, *[_element] * 12],
    "heif": _ANY + _BINARY * 4,
    "raw": _ANY + _BINARY * 4,
    "office": [*_ANY, *_TEXT, *[_element] * 8, *[_value] * 24],
    "video": _ANY + _BINARY * 4,
}
"""How each kind is changed: what is text, by its words and numbers as well."""


def draw_all(kind: str, count: int) -> tuple[Counter[str], float, list[bytes]]:
    """Draw mutants; return what came of them, the longest seconds, and those that went wrong."""
    counts, slowest, wrong = Counter[str](), 0.0, list[bytes]()
    for data in mutants(kind, count):
        said, seconds = outcome(data)
        counts[said] += 1
        slowest = max(slowest, seconds)
        if said not in ALLOWED or seconds > SECONDS + 5:
            wrong.append(data)
    return counts, slowest, wrong


def left_behind() -> list[str]:
    """Return what is there at the moment: processes of sandboxes, and folders of documents."""
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    programs = [line for line in running.stdout.splitlines() if PREFIX in line]
    folders = Path(tempfile.gettempdir()).glob(f"{PREFIX}*/document*")
    return programs + [str(path) for path in folders]


def main() -> None:
    """Draw mutants of a kind, and say what came of them."""
    kind, count = sys.argv[1], int(sys.argv[2])
    begin = time.monotonic()
    counts, slowest, wrong = draw_all(kind, count)
    print(f"{kind}: {count} in {time.monotonic() - begin:.0f} s, {slowest:.1f} s at most")
    for said, times in counts.most_common():
        print(f"{times:6} {said}")
    print(f"left behind: {left_behind() or 'nothing'}")
    for index, data in enumerate(wrong):
        place = Path(tempfile.gettempdir(), f"wrong-{kind}-{os.getpid()}-{index}")
        place.write_bytes(data)
        print(f"wrong: {place}")


if __name__ == "__main__":
    main()
