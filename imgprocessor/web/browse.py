"""The gallery over HTTP: a folder of originals as a page that also works without scripts."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, quote

from flask import Flask, request
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response

from imgprocessor.config.secrets import signing_keys
from imgprocessor.config.settings import Settings
from imgprocessor.errors import BadQuery, FolderNotFound, ImageError, MethodNotAllowed
from imgprocessor.geometry import FIRST_PAGE, Page, Size
from imgprocessor.policy.table import Policy
from imgprocessor.request.hints import ACCEPT_CH
from imgprocessor.request.names import spell
from imgprocessor.request.parameters import PARAMETERS
from imgprocessor.request.signing import sign
from imgprocessor.service.gallery.documents import ShownDocument, ShownPage
from imgprocessor.service.gallery.library import GalleryPage, Library, ShownPicture
from imgprocessor.web.problems import METHODS, in_words
from imgprocessor.web.responses import PAGE_SECURITY, page_text

_ROOT = "/browse"

_WIDTHS = (320, 480, 640, 960)
"""Of thumbnails, in pixels of the device: a tile is 150 to 250 CSS pixels across, and a picture
that fills it up to twice as wide.
"""

_LEAST_WIDTH, _MOST_WIDTH, _MOST_WIDTHS = 100, 1000, 5
"""Which sizes of the policy's ladder will do instead."""

_PAGE = PARAMETERS["page"].value

_PAGE_HEADERS = {
    "Content-Security-Policy": PAGE_SECURITY,
    "X-Robots-Tag": "noindex, nofollow",
    # Files come and go, and whoever may look may be told by an address or a password.
    "Cache-Control": "private, no-cache",
    "Vary": "Accept",
}


class _Rest(BaseConverter):
    """All that follows, however many slashes: nothing is redirected to where they are fewer."""

    regex = "(?s:/.*)?"
    part_isolating = False


def add_browse(web: Flask, library: Library, links: "Links") -> None:
    """Answer `/browse/`."""
    web.url_map.converters["rest"] = _Rest

    @web.route(f"{_ROOT}<rest:rest>", methods=METHODS, provide_automatic_options=False)
    def browse(rest: str) -> Response:  # noqa: ARG001 - read from the environment, undecoded
        try:
            answer = _answered(library, links)
        except Exception as error:  # noqa: BLE001 - a client is told in the form that it can read
            answer = in_words(error, _failed)
        return answer


class Links:
    """Writes the links to pictures, signed where they must be: nowhere else is one written."""

    def __init__(self, widths: Sequence[int], key: str | None) -> None:
        """Use widths of thumbnails, and the key that signs, if any."""
        self.widths = widths
        self._sign: Callable[[str], str] = (
            (lambda url: url) if key is None else lambda url: sign(url, key)
        )

    def picture(self, name: str, width: int | None = None, page: Page = FIRST_PAGE) -> str:
        """Return the URL of a picture, or of a document's page, as the policy sends it to this
        visitor; or with so many pixels of the device across.
        """
        url = f"/images/?name={spell(name)}"
        if page != FIRST_PAGE:
            url += f"&page={_PAGE.write(page)}"
        if width is None:
            return self._sign(url)
        # The browser has chosen by density already.
        return self._sign(f"{url}&width={width}") + "&dpr=1"


def thumbnail_widths(policy: Policy, max_side: int) -> Sequence[int]:
    """Return the widths that thumbnails are asked for with, of those that may be."""
    ladder = policy.allowed.of(PARAMETERS["width"])
    if ladder is None:
        return [width for width in _WIDTHS if width <= max_side] or [max_side]
    some = [width for width in ladder if width <= max_side] or [*ladder]
    fitting = [width for width in some if _LEAST_WIDTH <= width <= _MOST_WIDTH] or some[:1]
    step = -(-len(fitting) // _MOST_WIDTHS)
    return fitting[::step]


def make_links(settings: Settings, policy: Policy) -> Links:
    """Make what writes links, signed with the first key where they must be.

    Raises:
        ConfigurationError: the keys cannot be read, or are wrong.
    """
    keys = signing_keys(settings.signing)
    widths = thumbnail_widths(policy, settings.pixels.max_output_side_pixels)
    return Links(widths, keys[0] if keys else None)


@dataclass(frozen=True)
class _Folder:
    href: str
    caption: str


@dataclass(frozen=True)
class _Tile:
    """A picture, or a document, as the template wants it."""

    caption: str
    badge: str
    href: str
    src: str
    srcset: str
    sizes: str
    size: Size | None
    tiny: str


def _answered(library: Library, links: Links) -> Response:
    if request.method not in {"GET", "HEAD"}:
        raise MethodNotAllowed
    name, is_folder = _name()
    document = None if is_folder else library.document(name, _page())
    if document is not None:
        answer = _html(200, **_turned(document, links))
    else:
        answer = _html(200, **_described(library.page(name, _after()), links))
    answer.headers["Accept-CH"] = ACCEPT_CH
    return answer


def _name() -> tuple[str, bool]:
    """Read from the path the name of a folder, or of a document; and whether it is a folder's."""
    try:
        path = request.environ["PATH_INFO"].encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise FolderNotFound("the path is not UTF-8") from error
    if "//" in path:
        raise FolderNotFound(f"{path!r} has empty parts")
    return str(path).removeprefix(_ROOT).strip("/"), path.endswith("/")


def _after() -> str:
    """Read after which name the page goes on; any will do, also one that is not UTF-8."""
    return _given("after")


def _page() -> Page:
    """Read which page of a document is asked for."""
    given = _given("page")
    try:
        page = _PAGE.read(_quoted(given)) if given else None
    except ValueError as error:
        raise BadQuery([f"page: {error}"]) from error
    return page or FIRST_PAGE


def _given(name: str) -> str:
    query = request.environ.get("QUERY_STRING", "").encode("latin-1")
    pairs = parse_qsl(query.decode(errors="surrogateescape"), errors="surrogateescape")
    given = [value for word, value in pairs if word == name]
    if len(given) > 1:
        raise BadQuery([f"{name}: given twice"])
    return given[0] if given else ""


def _described(page: GalleryPage, links: Links) -> dict[str, object]:
    """Return what the template shows of a page."""
    here = _folder_link(page.folder).href
    turned = [
        None if name is None else here + (f"?after={_quoted(name)}" if name else "")
        for name in (page.before, page.after)
    ]
    return {
        "title": _caption(page.folder),
        "way": _way(page.folder),
        "folders": [_folder_link(folder) for folder in page.folders],
        "pictures": [_tile(picture, links) for picture in page.pictures],
        "page": page,
        "before": turned[0],
        "after": turned[1],
    }


def _turned(page: ShownPage, links: Links) -> dict[str, object]:
    """Return what the template shows of a document's page."""
    here = f"{_ROOT}/{spell(page.name)}"
    before, after = (
        None if to is None else f"{here}?page={_PAGE.write(to)}" for to in (page.before, page.after)
    )
    words = ("Earlier", "Later") if page.is_moment else ("Previous page", "Next page")
    return {
        "title": _caption(page.name),
        "way": _way(page.name),
        "sheet": page,
        "badge": _badge(page.document),
        "count": _count(page),
        "src": links.picture(page.name, page=page.page),
        "here": f"{here}?page={_PAGE.write(page.page)}",
        "turns": ((before, "prev", words[0]), (after, "next", words[1])),
    }


def _count(page: ShownPage) -> str:
    """Return which page it is, and of how many."""
    number, pages = page.page, page.document.pages
    if number.unit:
        return f"{number.number} {number.unit}"
    return "" if page.is_moment or pages in {None, 1} else f"{number} / {pages}"


def _badge(document: ShownDocument | None) -> str:
    """Return what a document's tile says of it; nothing of a picture's."""
    if document is None:
        return ""
    kind = document.kind[:1].upper() + document.kind[1:]
    pages = document.pages or 1
    return f"{kind}, {pages} pages" if pages > 1 else kind


def _way(name: str) -> Sequence[_Folder]:
    """Return links to all folders that something is in."""
    way = [""] if name else []
    way += [name[:end] for end, letter in enumerate(name) if letter == "/"]
    return [_folder_link(folder) for folder in way]


def _folder_link(folder: str) -> _Folder:
    return _Folder(f"{_ROOT}/{spell(folder)}/" if folder else f"{_ROOT}/", _caption(folder))


def _caption(folder: str) -> str:
    return folder.rpartition("/")[2] or "Pictures"


def _quoted(name: str) -> str:
    return quote(name, safe="", errors="surrogateescape")


def _tile(picture: ShownPicture, links: Links) -> _Tile:
    name, tiny = picture.name, picture.known
    addresses = {width: links.picture(name, width) for width in links.widths}
    file = name.rpartition("/")[2]
    size = None if tiny is None else tiny.original_size
    # A square tile shows the middle of what is wider: of that, more must be there.
    ratio = 1.5 if size is None else min(2.0, max(1.0, size.width / size.height))
    return _Tile(
        # Of documents the ending as well: others of the name may stand beside.
        caption=file if picture.document else file.rpartition(".")[0] or file,
        badge=_badge(picture.document),
        href=links.picture(name) if picture.document is None else f"{_ROOT}/{spell(name)}",
        src=addresses[links.widths[0]],
        srcset=", ".join(f"{url} {width}w" for width, url in addresses.items()),
        sizes=f"(max-width: 30rem) {50 * ratio:.0f}vw, {14 * ratio:.0f}rem",
        size=size,
        tiny="" if tiny is None else f"data:{tiny.mime};base64,{b64encode(tiny.body).decode()}",
    )


def _failed(error: ImageError) -> Response:
    title = HTTPStatus(error.status).phrase
    return _html(error.status, title=title, problem=error.public, root=f"{_ROOT}/")


def _html(status: int, **shown: object) -> Response:
    text = page_text("browse.html", **shown)
    return Response(text, status, _PAGE_HEADERS, mimetype="text/html")
