"""XMP written anew from a list of properties that say nothing of the place.

Properties are simple texts, or lists of them; structures go, and with them what may be inside.
"""

from dataclasses import dataclass, field
from html import escape
from xml.parsers import expat

_MAX_BYTES, _MAX_WRITTEN_BYTES = 262_144, 60_000
"""Of what is read, and of what is written: a JPEG has room for 65,502."""
_MAX_TEXT_CHARACTERS, _MAX_LANGUAGE_CHARACTERS, _MAX_ITEMS, _MAX_DEPTH = 2000, 35, 100, 50

_RDF, _XML = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://www.w3.org/XML/1998/namespace"
_ROOT, _DESCRIPTION, _ITEM = f"{_RDF} RDF", f"{_RDF} Description", f"{_RDF} li"
_LISTS = {f"{_RDF} {name}": name for name in ("Alt", "Bag", "Seq")}
_LANGUAGE = f"{_XML} lang"

_KEPT = {
    ("dc", "http://purl.org/dc/elements/1.1/"): "title description creator contributor publisher"
    " rights date",
    ("xmp", "http://ns.adobe.com/xap/1.0/"): "CreateDate ModifyDate MetadataDate CreatorTool Rating"
    " Label",
    ("xmpRights", "http://ns.adobe.com/xap/1.0/rights/"): "Marked Owner UsageTerms WebStatement"
    " Certificate",
    ("photoshop", "http://ns.adobe.com/photoshop/1.0/"): "Headline Credit Source AuthorsPosition"
    " CaptionWriter DateCreated",
    ("Iptc4xmpCore", "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"): "AltTextAccessibility"
    " ExtDescrAccessibility",
    ("Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"): "DigitalSourceType",
    ("plus", "http://ns.useplus.org/ldf/xmp/1.0/"): "DataMining",
    ("cc", "http://creativecommons.org/ns#"): "attributionName attributionURL",
    ("tiff", "http://ns.adobe.com/tiff/1.0/"): "Make Model Software Artist Copyright DateTime"
    " ImageDescription",
    ("exif", "http://ns.adobe.com/exif/1.0/"): "ExposureTime FNumber ExposureProgram"
    " ISOSpeedRatings DateTimeOriginal DateTimeDigitized ShutterSpeedValue ApertureValue"
    " BrightnessValue ExposureBiasValue MaxApertureValue MeteringMode LightSource FocalLength"
    " FocalLengthIn35mmFilm ColorSpace SensingMethod CustomRendered ExposureMode WhiteBalance"
    " DigitalZoomRatio SceneCaptureType Contrast Saturation Sharpness",
    ("exifEX", "http://cipa.jp/exif/1.0/"): "PhotographicSensitivity LensMake LensModel",
    ("aux", "http://ns.adobe.com/exif/1.0/aux/"): "Lens",
}
_PREFIXED = {
    f"{namespace} {name}": f"{prefix}:{name}"
    for (prefix, namespace), names in _KEPT.items()
    for name in names.split()
}
"""How a property is written, by namespace and name. The orientation is EXIF's alone."""


@dataclass
class _Property:
    """One that is being read."""

    name: str
    list_name: str = ""
    items: list[tuple[str, str]] = field(default_factory=lambda: [("", "")])
    """Languages and texts; what is simple is the first."""
    is_good: bool = True


class _NotXmpError(Exception):
    """There is a document type, or elements within very many others."""


def _refuse(*_: object) -> None:
    raise _NotXmpError


class _Reader:
    """What expat tells, taken down; all else but a list of simple properties is passed over."""

    def __init__(self) -> None:
        self.found: dict[str, _Property] = {}
        self._path: list[str] = []
        self._property: _Property | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        self._path.append(name)
        if len(self._path) > _MAX_DEPTH:
            raise _NotXmpError
        where = self._path[self._path.index(_ROOT) + 1 :] if _ROOT in self._path else []
        match where:
            case [only] if only == _DESCRIPTION:
                for attribute, value in attributes.items():
                    if attribute in _PREFIXED:
                        self._keep(_Property(attribute, items=[("", value)]))
            case [described, child] if described == _DESCRIPTION:
                self._property = _Property(child, is_good=not {*attributes} - {_LANGUAGE})
            case [_, _, list_name] if self._property and list_name in _LISTS:
                self._property.list_name = _LISTS[list_name]
                self._property.items = []
            case [_, _, _, item] if self._property and self._property.list_name and item == _ITEM:
                self._property.items.append((attributes.get(_LANGUAGE, ""), ""))
                self._property.is_good &= not {*attributes} - {_LANGUAGE}
            case [_, _, _, *_] if self._property:
                self._property.is_good = False

    def end(self, _: str) -> None:
        """End an element."""
        depth = len(self._path) - (self._path.index(_ROOT) if _ROOT in self._path else 0)
        self._path.pop()
        if self._property is not None and depth == 3:  # noqa: PLR2004 - RDF, Description, property
            if self._property.is_good:
                self._keep(self._property)
            self._property = None

    def text(self, text: str) -> None:
        """Take down a part of a text."""
        if self._property is not None and self._property.items:
            language, before = self._property.items[-1]
            if len(before) < _MAX_TEXT_CHARACTERS:
                self._property.items[-1] = (language, before + text)

    def _keep(self, known: _Property) -> None:
        known.items = [
            (language[:_MAX_LANGUAGE_CHARACTERS], text[:_MAX_TEXT_CHARACTERS].strip())
            for language, text in known.items[:_MAX_ITEMS]
        ]
        if known.name in _PREFIXED and any(text for _, text in known.items):
            self.found.setdefault(known.name, known)


def kept_xmp(data: bytes) -> bytes:
    """Return XMP with what may stay of others; empty where that is nothing, or where it is no XML,
    has a document type, which alone can declare entities, or is longer than 256 kB.
    """
    if not data or len(data) > _MAX_BYTES:
        return b""
    reader = _Reader()
    parser = expat.ParserCreate("utf-8", namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data.strip(b"\0 \t\r\n"), True)
    except (expat.ExpatError, _NotXmpError):
        return b""
    written = _written(list(reader.found.values()))
    return written if len(written) <= _MAX_WRITTEN_BYTES else b""


def _written(found: list[_Property]) -> bytes:
    if not found:
        return b""
    names = " ".join(
        f'xmlns:{prefix}="{namespace}"'
        for prefix, namespace in _KEPT
        if any(known.name.startswith(f"{namespace} ") for known in found)
    )
    inside = "".join(map(_element, found))
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
        f'<rdf:Description rdf:about="" {names}>{inside}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )
    return text.encode()


def _element(known: _Property) -> str:
    name = _PREFIXED[known.name]
    if not known.list_name:
        return f"<{name}>{escape(known.items[0][1])}</{name}>"
    items = "".join(
        f'<rdf:li xml:lang="{escape(language)}">{escape(text)}</rdf:li>'
        if language
        else f"<rdf:li>{escape(text)}</rdf:li>"
        for language, text in known.items
    )
    return f"<{name}><rdf:{known.list_name}>{items}</rdf:{known.list_name}></{name}>"
