"""SVG as text: told by its root, read strictly, and written anew without what reaches outside."""

import codecs
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from imgprocessor.errors import UndrawableDocument
from imgprocessor.images.previews.kind import CUT_OFF, DAMAGED, EMPTY, TOO_LARGE

_MAX_TEXT_BYTES = 50_000_000
_MAX_DEPTH = 1000
"""resvg gives up a little later."""

_GZIP = b"\x1f\x8b"
_DEFLATE_WITH_GZIP_HEADER = 31
_PIECE_BYTES = 64
"""Inflated at once, so that what stands before some damage is seen."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)

_SPACE = re.compile(r"\s+")
_ROOT = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?svg(?=[\s/>])")
_DOCTYPE = re.compile(r"<!DOCTYPE\s+([^\s>\[]+)")
_IN_DOCTYPE = re.compile(
    r"""[^\[\]>"'<]+|"[^"]*"|'[^']*'|<!--.*?-->|<\?.*?\?>|[\[\]>]|<(?!!--|\?)""", re.DOTALL
)

_DECLARED = re.compile(
    rb"""<\?xml\b[^>]*?\sencoding\s*=\s*(["'])([A-Za-z][\w.-]*)\1[^>]*>""", re.ASCII
)
_EAST_ASIAN = frozenset(
    {"shift_jis", "euc-jp", "iso-2022-jp", "gb2312", "gbk", "gb18030", "big5", "euc-kr"}
)

_DROPPED = frozenset({"script", "foreignObject", "iframe", "audio", "video"})
_TEXTS = frozenset({"text", "tspan", "textPath", "tref"})

_LINE_HEIGHT = re.compile(
    r"(\bfont\s*:[^;{}\"'/]{0,100}[\d.](?:[a-z]{1,4}|%))\s*/\s*[\w.%]{1,20}(?=\s)"
)

_LENGTH = re.compile(
    r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(px|pt|pc|mm|cm|in|em|ex|)\s*"
)
_UNITS = {
    "": 1.0,
    "px": 1.0,
    "pt": 96 / 72,
    "pc": 16.0,
    "in": 96.0,
    "mm": 96 / 25.4,
    "cm": 96 / 2.54,
    "em": 16.0,
    "ex": 8.0,
}
_DEFAULT_SIDES = (300.0, 150.0)
"""As browsers have it, of what says nothing of its size."""


def inflated(data: bytes, max_bytes: int) -> bytes:
    """Return what gzip made smaller, up to so many bytes; or the data, where it did not.

    Raises:
        zlib.error: it is damaged.
    """
    if not data.startswith(_GZIP):
        return data
    return zlib.decompressobj(_DEFLATE_WITH_GZIP_HEADER).decompress(data, max_bytes)


def inflated_head(head: bytes) -> bytes:
    """Return what a document begins with, as far as that is whole, and no longer than it was."""
    if not head.startswith(_GZIP):
        return head
    inflater, found = zlib.decompressobj(_DEFLATE_WITH_GZIP_HEADER), b""
    for at in range(0, len(head), _PIECE_BYTES):
        try:
            found += inflater.decompress(head[at : at + _PIECE_BYTES], len(head))
        except zlib.error:
            break
        if len(found) >= len(head) or inflater.eof:
            break
    return found


def is_svg(head: bytes) -> bool:
    """Whether the root of what begins so is an `svg`: a page of HTML that has one is none."""
    encoding, skipped = next(
        (
            (name, len(mark) if b"<" not in mark else 0)
            for mark, name in _MARKS
            if head.startswith(mark)
        ),
        ("latin-1", 0),
    )
    text = head[skipped:].decode(encoding, "replace")
    at: int | None = 0
    while at is not None:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if _ROOT.match(text, at):
            return True
        at = _after_prolog(text, at)
    return False


def _after_prolog(text: str, at: int) -> int | None:
    """Return where a comment, an instruction or the DOCTYPE at this place ends."""
    for begin, end in (("<?", "?>"), ("<!--", "-->")):
        if text.startswith(begin, at):
            found = text.find(end, at + len(begin))
            return found + len(end) if found >= 0 else None
    doctype = _DOCTYPE.match(text, at)
    if doctype is None or doctype[1].rpartition(":")[2] != "svg":
        return None
    depth, at = 1, doctype.end()
    while depth:
        part = _IN_DOCTYPE.match(text, at)
        if part is None:
            return None
        depth += {"[": 1, "<": 1, "]": -1, ">": -1}.get(part[0], 0)
        at = part.end()
    return at


def rewritten(data: bytes, side_pixels: int) -> tuple[str, bool]:
    """Write a drawing anew, so that its longer side is so many pixels.

    Entities are resolved, and bounded by expat; links to anything but its own parts and what it
    carries are left out, as browsers do in pictures; scripts are, too.

    Returns:
        The text, and whether there is text in the drawing.

    Raises:
        UndrawableDocument: it is damaged, cut off, too large, or has no sides.
    """
    writer = _Writer(side_pixels)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler = writer.start
    parser.EndElementHandler = writer.end
    parser.CharacterDataHandler = writer.text
    # With it, entities that are declared elsewhere are left out; without, they are an error.
    parser.SkippedEntityHandler = lambda _name, _is_parameter: None
    parser.ExternalEntityRefHandler = lambda *_: 1
    try:
        text = inflated(data, _MAX_TEXT_BYTES + 1)
        if len(text) > _MAX_TEXT_BYTES:
            raise UndrawableDocument(TOO_LARGE)
        parser.Parse(_recoded(text), True)
    except zlib.error as error:
        raise UndrawableDocument(DAMAGED) from error
    except expat.ExpatError as error:
        raise UndrawableDocument(_reason(error.code)) from error
    return "".join(writer.parts), writer.has_text


def _recoded(text: bytes) -> bytes:
    """Return text in an encoding that expat knows, which has none of several bytes a letter but
    Unicode's.
    """
    declared = _DECLARED.match(text)
    name = declared[2].decode("ascii").lower() if declared else ""
    if declared is None or name not in _EAST_ASIAN:
        return text
    return text[declared.end() :].decode(name, "replace").encode()


def _reason(code: int) -> str:
    codes = expat.errors.codes
    if code in {
        codes[expat.errors.XML_ERROR_NO_ELEMENTS],
        codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION],
        codes[expat.errors.XML_ERROR_PARTIAL_CHAR],
    }:
        return CUT_OFF
    if code in {
        codes[expat.errors.XML_ERROR_NO_MEMORY],
        codes[expat.errors.XML_ERROR_AMPLIFICATION_LIMIT_BREACH],
    }:
        return TOO_LARGE
    return DAMAGED


class _Writer:
    """Writes what the parser reads. Names keep their prefixes."""

    def __init__(self, side_pixels: int) -> None:
        self.parts: list[str] = []
        self.has_text = False
        self._side_pixels = side_pixels
        self._depth = 0
        self._in_style = False
        self._dropped_from: int | None = None

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Begin an element."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UndrawableDocument(TOO_LARGE)
        local = name.rpartition(":")[2]
        if self._dropped_from is None and local in _DROPPED:
            self._dropped_from = self._depth
        if self._dropped_from is not None:
            return
        self.has_text |= local in _TEXTS
        self._in_style = local == "style"
        kept = {key: value for key, value in attributes.items() if _may_stay(key, value)}
        if "style" in kept:
            kept["style"] = _without_line_height(kept["style"])
        if self._depth == 1:
            kept |= _root(kept, self._side_pixels)
        self.parts.append(f"<{name}")
        self.parts += [f" {key}={quoteattr(value)}" for key, value in kept.items()]
        self.parts.append(">")

    def end(self, name: str) -> None:
        """End one."""
        if self._dropped_from is None:
            self.parts.append(f"</{name}>")
        elif self._dropped_from == self._depth:
            self._dropped_from = None
        self._in_style = False
        self._depth -= 1

    def text(self, text: str) -> None:
        """Write text between elements."""
        if self._dropped_from is None:
            self.parts.append(escape(_without_line_height(text) if self._in_style else text))


def _without_line_height(css: str) -> str:
    """Return CSS without what resvg leaves a whole font out for, and one line has no use of."""
    return _LINE_HEIGHT.sub(r"\1", css)


def _may_stay(key: str, value: str) -> bool:
    """Whether an attribute is no link to anything outside."""
    if key.rpartition(":")[2].lower() != "href":
        return not key.lower().startswith("on")
    return value.lstrip().lower().startswith(("#", "data:"))


def _root(attributes: Mapping[str, str], side_pixels: int) -> dict[str, str]:
    """Return what the root says of its size, so that it fills a picture of a side."""
    box = _view_box(attributes.get("viewBox", ""))
    width, height = (_length(attributes.get(side)) for side in ("width", "height"))
    # What says nothing of one side has the view box's ratio.
    if box is not None:
        ratio = box[2] / box[3]
        if width is None and height is None:
            width, height = box[2], box[3]
        elif width is None and height is not None:
            width = height * ratio
        elif height is None and width is not None:
            height = width / ratio
    else:
        width = _DEFAULT_SIDES[0] if width is None else width
        height = _DEFAULT_SIDES[1] if height is None else height
    if not (width and height and 0 < width < math.inf and 0 < height < math.inf):
        raise UndrawableDocument(EMPTY)
    scale = side_pixels / max(width, height)
    pixels = [max(1, round(side * scale)) for side in (width, height)]
    own = {"width": str(pixels[0]), "height": str(pixels[1])}
    if box is None:
        # All of it, however little that is of the side that is one pixel at least.
        own |= {"viewBox": f"0 0 {width!r} {height!r}", "preserveAspectRatio": "none"}
    return own


def _view_box(said: str) -> Sequence[float] | None:
    try:
        box = [float(number) for number in re.split(r"[\s,]+", said.strip())]
    except ValueError:
        return None
    is_one = len(box) == 4 and all(map(math.isfinite, box)) and box[2] > 0 and box[3] > 0  # noqa: PLR2004
    return box if is_one else None


def _length(said: str | None) -> float | None:
    """Return a side in CSS pixels; None where it is a share of something, or says nothing."""
    found = _LENGTH.fullmatch(said or "")
    return float(found[1]) * _UNITS[found[2]] if found else None
