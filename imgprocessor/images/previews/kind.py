"""A kind of document: how one is told by its bytes, what draws it, and what that may take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from imgprocessor.geometry import Page
from imgprocessor.images.previews.foreign.compound_file import directory_start

DAMAGED = "The document is damaged."
CUT_OFF = "The document is cut off."
EMPTY = "The document has nothing to show."
LOCKED = "The document needs a password."
TOO_LARGE = "The document is too large to draw."
TOO_SLOW = "The document takes too long to draw."
UNDRAWABLE = "The document cannot be drawn."
"""Its program crashed, or does not know this make of it."""

ENDS_BYTES = 65_536
"""So much of a document's beginning, and of its end, is looked at to tell its kind."""


_DIRECTORY_BYTES = 4096


@dataclass(frozen=True)
class Ends:
    """What a document begins and ends with, `ENDS_BYTES` each at most; they may overlap."""

    head: bytes
    tail: bytes
    directory: bytes = b""
    """What the directory of a compound file (OLE2) begins with, wherever in the file it is."""

    @classmethod
    def of(cls, file: BinaryIO) -> "Ends":
        """Read them. The file is at its beginning afterwards."""
        file.seek(0)
        head = file.read(ENDS_BYTES)
        size = file.seek(0, 2)
        file.seek(max(0, size - ENDS_BYTES))
        tail = file.read(ENDS_BYTES)
        directory = directory_start(head)
        if directory is not None:
            file.seek(directory)
        entries = b"" if directory is None else file.read(_DIRECTORY_BYTES)
        file.seek(0)
        return cls(head, tail, entries)


@dataclass(frozen=True)
class SandboxStep:
    """A program to be run in the sandbox. It sees its own files, the document, and a folder that it
    may write to; it begins no other process.
    """

    command: Sequence[str]
    """An absolute path, and arguments."""
    reads: Sequence[Path] = ()
    """Files and folders that it needs beside the document, Python with its packages, the system's
    libraries (`/usr`) and fonts: all software, nothing that anybody keeps.
    """
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside `HOME`, `TMPDIR`, `TMP` and `TEMP`, which are the folder that it may write to."""
    memory_bytes: int = 1_000_000_000
    """Of address space."""
    output_bytes: int = 200_000_000
    """What it may leave in that folder at any time."""


@dataclass(frozen=True)
class Ended:
    """How a program ended that was run in the sandbox."""

    status: int
    """As `subprocess` has it: below 0 it is the signal that ended it."""
    said: str
    """The end of what it wrote to stdout and stderr, for logs alone."""


class Run(Protocol):
    """Runs programs in the sandbox, for one document, in what is left of its time."""

    @property
    def document(self) -> Path:
        """A copy of it, which nobody else has; its name ends as the kind's files do. Read-only."""

    @property
    def folder(self) -> Path:
        """What programs may write to. Nothing in it can be trusted: names, links, sizes."""

    def __call__(self, step: SandboxStep) -> Ended:
        """Run one, which has ended afterwards, and all that it began.

        Raises:
            UndrawableDocument: the document's time is over, or it wrote more than it may.
        """


@dataclass(frozen=True)
class Drawn:
    """A page as it was drawn, which counts for nothing until it was decoded."""

    file: Path
    """In the folder of its `Run`: a PNG or a JPEG, by its bytes."""
    pages: int | None = None
    """How many the document has; None where that is not known, or it has none to count."""


class DocumentKind(Protocol):
    """A kind of document."""

    name: str
    """As settings and logs have it: one word."""
    title: str
    """What people call such a document, to stand before a noun or alone: "PDF"."""
    suffixes: Sequence[str]
    """How its files' names end, lower case, with the dot: for lists and copies. What it is, its
    bytes say.
    """

    def is_one(self, ends: Ends) -> bool:
        """Whether a document is of this kind, by cheap marks: whatever follows may be wrong."""

    def lacks(self) -> str | None:
        """Say what is missing on this machine to draw it, and what has that; None where nothing
        is: `"LibreOffice is not installed (Debian: libreoffice-writer-nogui)"`.
        """

    def draw(self, run: Run, page: Page, side_pixels: int) -> Drawn:
        """Draw a page, upright, its longer side of so many pixels where it has no pixels of its
        own, and no longer than that where it has. Nothing of the document is read but by `run`.

        Raises:
            NoSuchPage: it has no such page.
            UndrawableDocument: it cannot be drawn, and never will be; or as `Run` does.
        """
