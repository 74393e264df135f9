"""The program in the sandbox: what it reports, and what is made of reports that strangers wrote."""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from documents import filled, pdf
from drawn_documents import GREEN, drawn, sandbox
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.errors import NoPreview, NoSuchPage, UndrawableDocument
from imgprocessor.geometry import FIRST_PAGE, Page
from imgprocessor.images.previews import drawing
from imgprocessor.images.previews.drawing import PICTURE, REPORT, drawn_by_python, library_lacks
from imgprocessor.images.previews.kind import (
    CUT_OFF,
    LOCKED,
    TOO_LARGE,
    UNDRAWABLE,
    Drawn,
    Ended,
    SandboxStep,
)
from imgprocessor.images.previews.registry import KINDS
from imgprocessor.jobs.previews.steps import ConfinedRun


@dataclass(frozen=True)
class Leaves:
    """A `Run` of a program that was taken over: it leaves what it likes, and ends as it likes."""

    document: Path
    folder: Path
    leave: Callable[[Path], object]
    status: int = 0
    said: str = ""

    def __call__(self, step: SandboxStep) -> Ended:  # noqa: ARG002 - as a Run has it
        """Run nothing."""
        self.leave(self.folder / REPORT)
        return Ended(self.status, self.said)


def read(folder: Path, leave: Callable[[Path], object], status: int = 0, said: str = "") -> Drawn:
    run = Leaves(folder / "document", folder, leave, status, said)
    return drawn_by_python(run, "pdf", run.document, Page(7), 100)


def sentence(folder: Path, leave: Callable[[Path], object], status: int = 0, said: str = "") -> str:
    with pytest.raises((UndrawableDocument, NoSuchPage, NoPreview)) as caught:
        read(folder, leave, status, said)
    return caught.value.public


def writes(report: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(report if isinstance(report, bytes) else report.encode())


def nothing(_: Path) -> None:
    pass


def terabyte(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def test_what_reports_say(tmp_path: Path) -> None:
    assert read(tmp_path, writes('{"pages": 3}')) == Drawn(tmp_path / PICTURE, 3)
    assert read(tmp_path, writes('{"pages": null}')) == Drawn(tmp_path / PICTURE, None)
    assert sentence(tmp_path, writes('{"no_page_of": 3}')) == (
        "The document has no page 7: it has 3."
    )
    assert sentence(tmp_path, writes('{"failure": "locked"}')) == LOCKED
    assert sentence(tmp_path, writes('{"failure": "cut-off"}')) == CUT_OFF


@pytest.mark.parametrize(
    "report",
    [
        *("", "{}", "[]", "3", "null", '"pages"', "{", "[" * 100, '{"pages": 3} '.ljust(101)),
        *('{"pages": true}', '{"pages": 0}', '{"pages": -1}', '{"pages": 3.0}', '{"pages": "3"}'),
        *('{"pages": 1000000001}', '{"pages": NaN}', '{"pages": 3, "x": 1}', '{"Pages": 3}'),
        *('{"failure": "x"}', '{"failure": null}', '{"failure": ["locked"]}', '{"failure": 1}'),
        *('{"no_page_of": 0}', '{"no_page_of": null}', '{"pages": "é"}'),
    ],
)
def test_reports_that_say_nothing(tmp_path: Path, report: str) -> None:
    assert sentence(tmp_path, writes(report)) == UNDRAWABLE


@given(
    report=st.binary(max_size=120)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["pages", "x"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, report: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-report"
    folder.mkdir(exist_ok=True)
    with suppress(UndrawableDocument, NoSuchPage):
        pages = read(folder, writes(report)).pages
        assert pages is None or 1 <= pages <= 10**9


@pytest.mark.parametrize(
    "leave",
    [
        nothing,
        lambda path: path.symlink_to("/etc/hostname"),
        lambda path: path.symlink_to(path),
        lambda path: path.mkdir(),
        os.mkfifo,
        terabyte,
    ],
    ids=["nothing", "link", "loop", "folder", "pipe", "terabyte"],
)
def test_reports_that_are_no_files(tmp_path: Path, leave: Callable[[Path], object]) -> None:
    assert sentence(tmp_path, leave) == UNDRAWABLE


def test_a_link_to_a_report_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "other").write_text('{"pages": 3}')

    assert sentence(tmp_path, lambda path: path.symlink_to("other")) == UNDRAWABLE


def test_what_lay_there_before_is_no_report(tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text('{"pages": 3}')
    assert sentence(tmp_path, nothing) == UNDRAWABLE

    (tmp_path / REPORT).mkdir()
    assert sentence(tmp_path, nothing) == UNDRAWABLE


def test_how_programs_end(tmp_path: Path) -> None:
    good = writes('{"pages": 3}')
    abort = -signal.SIGABRT

    assert sentence(tmp_path, good, -signal.SIGSEGV) == UNDRAWABLE
    assert sentence(tmp_path, good, 2) == UNDRAWABLE
    assert sentence(tmp_path, nothing, abort, "memory allocation of 9 bytes failed") == TOO_LARGE
    assert sentence(tmp_path, nothing, 1, "ModuleNotFoundError") == (
        "No worker can draw such a document at the moment."
    )


@pytest.fixture
def run(tmp_path: Path) -> ConfinedRun:
    """A real one, for a PDF of two pages."""
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "document.pdf").write_bytes(pdf([filled("0 0 200 100", "0 1 0"), b""]))
    return sandbox().running(tmp_path / "document.pdf", folder, 20)


def test_a_document_in_its_folder_is_drawn(run: ConfinedRun) -> None:
    """As office documents are, which another step makes a PDF of."""
    inner = run.folder / "made.pdf"
    inner.write_bytes(run.document.read_bytes())
    run.document.write_bytes(b"")

    assert drawn_by_python(run, "pdf", inner, Page(2), 100) == Drawn(run.folder / PICTURE, 2)


def test_a_module_that_is_not_there_is_no_fault_of_the_document(run: ConfinedRun) -> None:
    with pytest.raises(NoPreview) as caught:
        drawn_by_python(run, "nothing", run.document, FIRST_PAGE, 100)

    assert "No module named 'imgprocessor.images.previews.nothing'" in str(caught.value)


def test_memory_that_is_not_there_is_too_large(run: ConfinedRun) -> None:
    with pytest.raises(UndrawableDocument) as caught:
        drawn_by_python(run, "pdf", run.document, FIRST_PAGE, 30_000)

    assert caught.value.public == TOO_LARGE


def test_it_sees_no_more_of_the_program_than_the_package(run: ConfinedRun) -> None:
    beside = Path(drawing.__file__).parents[3]
    ended = run(
        SandboxStep([sys.executable, "-I", "-B", "-c", f"import os; os.listdir({str(beside)!r})"])
    )

    assert ended.status != 0
    assert "Error" in ended.said


def test_nothing_is_missing_here() -> None:
    assert [kind.lacks() for kind in KINDS if kind.name in {"pdf", "svg", "heif", "raw"}] == (
        [None] * 4
    )


def test_what_is_missing_is_said_with_what_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(drawing.LIBRARIES, "raw", "no_such_module")

    assert library_lacks("raw", "raw") == (
        "no_such_module is not installed (pip install 'imgprocessor[raw]')"
    )


def test_kinds_are_named_once() -> None:
    names = [kind.name for kind in KINDS]
    suffixes = [suffix for kind in KINDS for suffix in kind.suffixes]

    assert len(names) == len(set(names))
    assert len(suffixes) == len(set(suffixes))
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes)


def test_it_runs_through_the_real_sandbox(run: ConfinedRun) -> None:
    slow = replace(run, deadline=0.0)
    with pytest.raises(UndrawableDocument):
        drawn_by_python(slow, "pdf", slow.document, FIRST_PAGE, 100)

    assert drawn(run.document.read_bytes()).at(0.5, 0.5) == GREEN
