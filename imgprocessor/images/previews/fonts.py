"""Fonts: which are there, what stands in for others, and which scripts can be drawn with them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
"""Where systems have them. What is in homes is nobody's business here."""

SANS, SERIF, MONO = "Liberation Sans", "Liberation Serif", "Liberation Mono"
PACKAGES = "Debian: fonts-liberation2, fonts-droid-fallback"

STAND_INS: Mapping[str, Sequence[str]] = {
    SANS: (
        "-apple-system",
        "arial",
        "arial narrow",
        "arialmt",
        "blinkmacsystemfont",
        "calibri",
        "geneva",
        "helvetica",
        "helvetica neue",
        "helveticaneue",
        "inter",
        "lato",
        "lucida grande",
        "lucida sans unicode",
        "myriad pro",
        "noto sans",
        "open sans",
        "roboto",
        "segoe ui",
        "source sans pro",
        "system-ui",
        "tahoma",
        "trebuchet ms",
        "ui-sans-serif",
        "verdana",
        "liberation sans",
    ),
    SERIF: (
        "baskerville",
        "book antiqua",
        "cambria",
        "garamond",
        "georgia",
        "noto serif",
        "palatino",
        "palatino linotype",
        "times",
        "times new roman",
        "timesnewromanpsmt",
        "ui-serif",
        "liberation serif",
    ),
    MONO: (
        "andale mono",
        "consolas",
        "courier",
        "courier new",
        "dejavu sans mono",
        "inconsolata",
        "lucida console",
        "menlo",
        "monaco",
        "roboto mono",
        "sfmono-regular",
        "source code pro",
        "ui-monospace",
        "liberation mono",
    ),
}
"""What is drawn in place of a family that is not there, and what people ask for, in lower case."""

_SCRIPTS = {
    "Latin": "AgÄßœŵ",
    "Vietnamese": "ệưỡ",
    "Greek": "ΑΩαβγ",
    "Cyrillic": "ЖЯжяє",
    "Armenian": "Աաբ",
    "Georgian": "ააბგ",
    "Hebrew": "אבגש",
    "Arabic": "ابجي",
    "Devanagari": "अआकह",
    "Bengali": "অআকহ",
    "Tamil": "அஆகன",
    "Telugu": "అఆకహ",
    "Thai": "กขคฮ",
    "Khmer": "កខគអ",
    "Ethiopic": "ሀለሐፀ",
    "Chinese (simplified)": "中国语这们",
    "Chinese (traditional)": "中國語這們",
    "Japanese": "あいアイ日本語",
    "Korean": "가나다한글",
    "Emoji": "😀🎉",
}
"""Some letters that texts in a script cannot do without."""

_FAMILY, _POSTSCRIPT, _TYPOGRAPHIC_FAMILY = 1, 6, 16
_WINDOWS, _UNICODE_BMP, _ENGLISH = 3, 1, 0x0409
_COLLECTIONS = frozenset({".ttc", ".otc"})
_SUFFIXES = frozenset({".ttf", ".otf"}) | _COLLECTIONS
_UNCOMMON = re.compile("Bold|Italic|Oblique|Light|Thin|Black|Condensed|Mono|Math")
_MAX_FILES = 20_000


@dataclass(frozen=True)
class Face:
    """One face of a font's file."""

    file: Path
    index: int
    families: frozenset[str]
    """What its family is called, in every language."""

    @cached_property
    def characters(self) -> frozenset[int]:
        """Those that it has a glyph for; none where it is damaged."""
        from fontTools.ttLib import TTFont  # noqa: PLC0415 - where a font is read

        with suppress(Exception), self.file.open("rb") as opened:
            return frozenset(TTFont(opened, fontNumber=self.index, lazy=True).getBestCmap() or ())
        return frozenset()

    def has(self, letters: str) -> bool:
        """Whether it has them all."""
        return self.characters.issuperset(map(ord, letters))


def font_files(folders: Iterable[Path] = FOLDERS) -> list[Path]:
    """Return the files that fonts are in, upright ones of a common weight first: where a letter is
    looked for in all of them, the first that has it counts.
    """
    found: list[Path] = []
    for folder in folders:
        for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if file.suffix.lower() in _SUFFIXES and len(found) < _MAX_FILES:
                found.append(file)
    return sorted(found, key=lambda file: _UNCOMMON.search(file.stem) is not None)


def faces(folders: Iterable[Path] = FOLDERS) -> Iterator[Face]:
    """Find all faces of the fonts in folders; what is none, or damaged, is passed over."""
    from fontTools.ttLib import TTCollection, TTFont  # noqa: PLC0415 - where fonts are read

    for file in font_files(folders):
        is_collection = file.suffix.lower() in _COLLECTIONS
        found: list[frozenset[str]] = []
        # A font that is damaged may raise anything.
        with suppress(Exception), file.open("rb") as opened:
            fonts = (
                TTCollection(opened, lazy=True) if is_collection else [TTFont(opened, lazy=True)]
            )
            found = [_families_of(font["name"]) for font in fonts]
        yield from (Face(file, index, names) for index, names in enumerate(found))


def _families_of(table: Any) -> frozenset[str]:
    return frozenset(
        record.toUnicode()
        for record in table.names
        if record.nameID in {_FAMILY, _TYPOGRAPHIC_FAMILY} and record.isUnicode()
    )


def families(folders: Iterable[Path] = FOLDERS) -> frozenset[str]:
    """Return what the families are called that are there."""
    return frozenset().union(*(face.families for face in faces(folders)))


def scripts_that_can_be_drawn(folders: Iterable[Path] = FOLDERS) -> Sequence[str]:
    """Return the scripts that some font has letters for, by the names that people know."""
    # Faces of one file have the same letters, or nearly so.
    found = [face for face in faces(folders) if face.index == 0]
    return [
        script for script, letters in _SCRIPTS.items() if any(face.has(letters) for face in found)
    ]


_ASKED = re.compile(
    r"(?<![\w-])(?:"
    + "|".join(
        re.escape(name)
        for name in sorted(
            (n for names in STAND_INS.values() for n in names), key=len, reverse=True
        )
    )
    + r")(?![\w-])",
    re.IGNORECASE,
)


def asked_for(text: str) -> frozenset[str]:
    """Return the families of `STAND_INS` that a text names, each as it spells them."""
    return frozenset(_ASKED.findall(text))


def stand_ins(asked: Iterable[str], folder: Path, folders: Iterable[Path] = FOLDERS) -> Path:
    """Write fonts that are called as what is asked for, where nothing here is: for libraries that
    know no other names than those in the fonts.

    Args:
        asked: Families, as they are spelled where they are asked for.
        folder: Where to write them.
        folders: Where fonts are.
    """
    folder.mkdir(exist_ok=True)
    if not (names := frozenset(asked)):
        return folder
    found = list(faces(folders))
    there = frozenset().union(*(face.families for face in found))
    wanted: dict[str, list[str]] = {}
    for name in sorted(names - there):
        for family, others in STAND_INS.items():
            if name.lower() in others:
                wanted.setdefault(family, []).append(name)
    for face in found:
        for family in face.families & wanted.keys():
            with suppress(Exception):
                _write_renamed(face, wanted[family], folder / face.file.name)
    return folder


def _write_renamed(face: Face, names: Sequence[str], file: Path) -> None:
    from fontTools.ttLib import TTFont, newTable  # noqa: PLC0415 - where a font is written
    from fontTools.ttLib.tables._n_a_m_e import makeName  # noqa: PLC0415 - where a font is written

    # A name for PostScript is what libraries know faces by.
    rows = [(_FAMILY, name) for name in names] + [(_POSTSCRIPT, "StandIn")]
    with face.file.open("rb") as opened:
        font = TTFont(opened, fontNumber=face.index, lazy=True)
        font["name"] = newTable("name")
        font["name"].names = [
            makeName(name, number, _WINDOWS, _UNICODE_BMP, _ENGLISH) for number, name in rows
        ]
        font.save(file, reorderTables=None)
