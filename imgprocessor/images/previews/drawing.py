"""Pages drawn by Python's libraries: the program in the sandbox that does it, and its report."""

import errno
import importlib
import importlib.util
import json
import os
import stat
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from imgprocessor.errors import NoPreview, NoSuchPage, UndrawableDocument
from imgprocessor.geometry import Page
from imgprocessor.images.previews.kind import (
    CUT_OFF,
    DAMAGED,
    EMPTY,
    LOCKED,
    TOO_LARGE,
    TOO_SLOW,
    UNDRAWABLE,
    Drawn,
    Run,
    SandboxStep,
)

Paint = Callable[[Path, int, int, Path], int | None]
"""Draws into a file, inside of the sandbox: the document, the page's number, the longer side in
pixels, the file; returns how many pages there are. The module `pdf` has `paint_pdf`,
and so on; it raises `NoPage` and `UndrawableDocument`.
"""

PICTURE, REPORT = "page", "report.json"
"""Files in the folder of a `Run`: the page as it was drawn, and what the program says of it."""

_BEGUN = b"{}"
"""The report while a page is drawn. What crashes then may end as if it had not begun."""

LIBRARIES = {"pdf": "pypdfium2", "svg": "resvg_py", "heif": "pi_heif", "raw": "rawpy"}
"""The module of Python that draws a kind, where one does."""

MOST_PAGES = 1_000_000_000
MAX_REPORT_BYTES = 100

_FAILURES = {
    "damaged": DAMAGED,
    "cut-off": CUT_OFF,
    "empty": EMPTY,
    "locked": LOCKED,
    "too-large": TOO_LARGE,
    "too-slow": TOO_SLOW,
    "undrawable": UNDRAWABLE,
}
_WORDS = {sentence: word for word, sentence in _FAILURES.items()}

_PACKAGE = Path(__file__).resolve().parents[2]
_PROGRAM = f"""
import importlib.util, sys
package = sys.argv[1]
spec = importlib.util.spec_from_file_location(
    "{__name__.partition(".")[0]}", package + "/__init__.py", submodule_search_locations=[package]
)
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[spec.name])
from {__name__} import paint_in_sandbox
sys.exit(paint_in_sandbox(sys.argv[2:]))
"""
"""Of the package it sees its folder, and not what that is in, which Python would look through."""
_NOT_SET_UP = 1
"""The program's status where it could not even begin, and that of Python itself."""
_OUT_OF_MEMORY = "memory allocation of"
"""As Rust says it, before it aborts."""


class NoPage(Exception):
    """Inside of the sandbox: the document has not as many pages."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        super().__init__()


class _NotSetUp(Exception):
    """Inside of the sandbox: what draws cannot be begun."""


@contextmanager
def setting_up(folder: Path) -> Iterator[None]:
    """Inside of the sandbox, once more begin what draws: what crashes or fails in here is no fault
    of the document.
    """
    (folder / REPORT).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        raise _NotSetUp from error
    (folder / REPORT).write_bytes(_BEGUN)


def no_such_page(number: int, pages: int) -> NoSuchPage:
    """Say that a document has no such page, and how many it has."""
    return NoSuchPage(f"The document has no page {number}: it has {pages}.")


def page_number(page: Page) -> int:
    """Return the number of a page of a document that has pages.

    Raises:
        NoSuchPage: a moment is meant.
    """
    if page.unit:
        raise NoSuchPage(f"The document has pages, and no moment {page}.")
    return page.number


def library_lacks(kind: str, extra: str) -> str | None:
    """Say that a kind's library is not installed, and what brings it; None where it is."""
    return module_lacks(LIBRARIES[kind], extra)


def module_lacks(module: str, extra: str) -> str | None:
    """Say that a module is not installed, and what brings it; None where it is."""
    if importlib.util.find_spec(module) is not None:
        return None
    return f"{module} is not installed (pip install 'imgprocessor[{extra}]')"


def drawn_by_python(  # noqa: PLR0917 - one page of one document
    run: Run,
    kind: str,
    document: Path,
    page: Page,
    side_pixels: int,
    memory_bytes: int = 1_000_000_000,
    reads: Sequence[Path] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
    missing: Callable[[int, int], NoSuchPage] = no_such_page,
) -> Drawn:
    """Draw a page of a document, which may be the run's own or one in its folder.

    Args:
        run: Runs the program.
        kind: The module of this package whose `paint` draws it.
        document: Visible in the sandbox.
        page: The page.
        side_pixels: As in `DocumentKind.draw`.
        memory_bytes: Of the program.
        reads: What it reads beside the system's libraries and this package.
        environment: What else it is told.
        missing: Says that there is no such page: its number, and how many there are.

    Raises:
        NoSuchPage: it has no such page.
        UndrawableDocument: it cannot be drawn.
        NoPreview: the program could not begin: something is missing on this machine.
    """
    number = page_number(page)
    try:
        # What a program before this one left there says nothing of this page.
        (run.folder / REPORT).unlink(missing_ok=True)
    except OSError as error:
        raise UndrawableDocument(UNDRAWABLE, f"a folder in the report's place: {error}") from error
    arguments = (kind, document, run.folder, number, side_pixels)
    ended = run(
        SandboxStep(
            command=[
                *(sys.executable, "-I", "-B", "-c", _PROGRAM, str(_PACKAGE)),
                *map(str, arguments),
            ],
            reads=[_PACKAGE, *reads],
            # Threads of NumPy's libraries take memory, and there is nothing for them to do.
            environment={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **environment},
            memory_bytes=memory_bytes,
        )
    )
    if ended.status == 0:
        report = _report_bytes(run.folder / REPORT)
        return _read(report, run.folder / PICTURE, lambda pages: missing(number, pages), ended.said)
    if ended.status == _NOT_SET_UP and _report_bytes(run.folder / REPORT) != _BEGUN:
        raise NoPreview("No worker can draw such a document at the moment.", ended.said)
    if _OUT_OF_MEMORY in ended.said:
        raise UndrawableDocument(TOO_LARGE)
    raise UndrawableDocument(UNDRAWABLE, f"status {ended.status}: {ended.said}")


def _report_bytes(file: Path) -> bytes:
    """Read the report as what a stranger may have put there: a link, a pipe, or gigabytes."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, MAX_REPORT_BYTES + 1) if is_file else b""
    finally:
        os.close(descriptor)


def _read(report: bytes, picture: Path, missing: Callable[[int], NoSuchPage], detail: str) -> Drawn:
    """Return what a report says; whatever else it may be is a document that cannot be drawn."""
    try:
        said = json.loads(report.decode("ascii")) if len(report) <= MAX_REPORT_BYTES else None
    except (ValueError, RecursionError):
        said = None
    match said:
        case {"pages": int(pages), **others} if not others and _is_count(pages):
            return Drawn(picture, pages)
        case {"pages": None, **others} if not others:
            return Drawn(picture)
        case {"no_page_of": int(pages), **others} if not others and _is_count(pages):
            raise missing(pages)
        case {"failure": str(word), **others} if not others and word in _FAILURES:
            raise UndrawableDocument(_FAILURES[word], detail)
        case _:
            raise UndrawableDocument(UNDRAWABLE, f"a report that says nothing; {detail}")


def _is_count(pages: int) -> bool:
    return not isinstance(pages, bool) and 1 <= pages <= MOST_PAGES


def paint_in_sandbox(arguments: list[str]) -> int:
    """Draw a page inside of the sandbox: the kind, the document, a folder, the page, the side."""
    kind, document, folder, number, side_pixels = arguments
    report = Path(folder, REPORT)
    try:
        # Before the document is touched: what fails here is no fault of the document.
        module = importlib.import_module(f"{__package__}.{kind}")
        paint: Paint = getattr(module, f"paint_{kind}")
        if kind in LIBRARIES:
            importlib.import_module(LIBRARIES[kind])
    except Exception:  # noqa: BLE001 - a library that finds no memory, or no files, may raise anything
        traceback.print_exc()
        return _NOT_SET_UP
    report.write_bytes(_BEGUN)
    try:
        said = _painted(paint, Path(document), int(number), int(side_pixels), Path(folder, PICTURE))
    except _NotSetUp:
        traceback.print_exc()
        return _NOT_SET_UP
    report.write_text(json.dumps(said), encoding="ascii")
    return 0


def _painted(
    paint: Paint, document: Path, number: int, side_pixels: int, picture: Path
) -> dict[str, int | str | None]:
    try:
        return {"pages": paint(document, number, side_pixels, picture)}
    except NoPage as missing:
        return {"no_page_of": missing.pages}
    except UndrawableDocument as error:
        return {"failure": _WORDS[error.public]}
    except _NotSetUp:
        raise
    except MemoryError:
        return {"failure": _WORDS[TOO_LARGE]}
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _NotSetUp from error  # the disk's fault
        traceback.print_exc()
        return {"failure": _WORDS[TOO_LARGE if error.errno == errno.EFBIG else DAMAGED]}
    except Exception:  # noqa: BLE001 - a library that stumbles over what it reads may raise anything
        traceback.print_exc()
        return {"failure": _WORDS[DAMAGED]}
