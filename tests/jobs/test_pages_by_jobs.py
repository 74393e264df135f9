"""Jobs that draw pages: which are passed over, and what is left of what was handed in."""

import errno
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sketches import GOOD, SKETCH, Hand, SettledRenderer, Sketch, abilities_of, leaves, raises

from imgprocessor.config.settings import Settings
from imgprocessor.errors import (
    Busy,
    JobOver,
    NoPreview,
    NoRoom,
    UndrawableDocument,
    UploadsUnavailable,
)
from imgprocessor.geometry import Page
from imgprocessor.images.previews.kind import DAMAGED
from imgprocessor.job_parts import make_conversions
from imgprocessor.jobs.conversions import PagesByJobs
from imgprocessor.jobs.files import JobFiles
from imgprocessor.jobs.memory import MemoryRecords
from imgprocessor.jobs.previews.steps import ConfinedRun
from imgprocessor.jobs.records import QUEUES, Queue, Wanted
from imgprocessor.originals.pages import Pages
from imgprocessor.originals.source import Original
from imgprocessor.parts import make_delivery
from imgprocessor.rendering.process import make_masters
from imgprocessor.request.hints import Hints
from imgprocessor.request.parameters import ImageQuery

QUERY = ImageQuery(name="a.sketch")
HANDED_IN = "name=file&width=20&height=20"


class Worker:
    """A worker that draws by hand, and the records of its jobs, in memory."""

    def __init__(self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_seconds = 0.0
        self.hand = Hand()
        self.sent: list[str] = []
        self.sizes: list[int] = []
        """How many pages were drawn when an upload's sizes were made."""
        self.tmp_path = tmp_path
        there = replace(
            settings,
            uploads=replace(
                settings.uploads, enabled=True, folder=tmp_path / "uploads", min_free_bytes=0
            ),
            jobs=replace(settings.jobs, enabled=True, redis="redis://127.0.0.1:1/0"),
            previews=replace(settings.previews, enabled=True, kinds=("sketch",)),
            remote=replace(settings.remote, folder=tmp_path / "copies"),
        )
        records = MemoryRecords(there.jobs, clock=lambda: time.time() + self.ahead_seconds)
        monkeypatch.setattr("imgprocessor.job_parts.make_records", lambda _: records)
        self.masters = tmp_path / "cache/masters"
        self.renderer = SettledRenderer(make_masters(there, keeps=True))
        self.delivery = make_delivery(there, keeps=True, renderer=self.renderer)
        self.conversions = make_conversions(
            there,
            self.delivery,
            self.renderer,
            self._dispatch,
            lambda _: self.sizes.append(len(self.hand.draws)),
            abilities=abilities_of(self.hand),
        )

    def _dispatch(self, queue: Queue, job: str, *, first: bool = False) -> None:
        assert queue in QUEUES
        del first
        self.sent.append(job)

    @property
    def pages(self) -> Pages:
        """What is known of pages."""
        assert self.delivery.previews.pages is not None
        return self.delivery.previews.pages

    def found(self) -> Original:
        """Return the document that everybody may see."""
        return self.delivery.found(self.delivery.plan(QUERY, Hints())).original

    def ask(self, page: Page | None = None) -> str:
        """Ask for a page as a visitor does; return the job."""
        PagesByJobs(self.conversions).ask(replace(QUERY, page=page))
        return self.sent[-1]

    def hand_in(self, body: bytes = SKETCH, page: int = 1) -> str:
        """Hand a document in; return the job."""
        file = self.tmp_path / "handed-in"
        file.write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        query = HANDED_IN if page == 1 else f"{HANDED_IN}&page={page}"
        wanted = Wanted(query, "slow", "somebody", len(body), digest)
        return self.conversions.begin(wanted, file).job

    def kept(self) -> dict[str, int]:
        """Count what is kept: of pages, of masters, and files of jobs."""
        folders = {
            "pages": self.tmp_path / "copies/entries",
            "masters": self.masters / "entries",
            "files": self.tmp_path / "uploads/jobs",
        }
        return {
            name: sum(path.is_file() for path in folder.rglob("*"))
            for name, folder in folders.items()
        }


NOTHING = {"pages": 0, "masters": 0, "files": 0}


@pytest.fixture
def worker(
    settings: Settings, originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Worker:
    kinds = [Sketch()]
    monkeypatch.setattr("imgprocessor.images.previews.registry.KINDS", kinds)
    monkeypatch.setattr("imgprocessor.jobs.previews.ability.KINDS", kinds)
    (originals / "a.sketch").write_bytes(SKETCH)
    return Worker(settings, tmp_path, monkeypatch)


def _require_forgotten(worker: Worker, job: str) -> None:
    with pytest.raises(JobOver):
        worker.conversions.find(job)


def test_a_page_is_drawn_by_a_job_that_is_forgotten_then(worker: Worker) -> None:
    job = worker.ask(Page(2))
    assert worker.conversions.do(job) is None

    assert worker.hand.draws == [("2", SKETCH)]
    page = worker.pages.page_of(worker.found(), Page(2))
    assert page is not None
    with page.source.open(page) as (file, _):
        assert file.read() == GOOD
    _require_forgotten(worker, job)
    assert worker.kept()["files"] == 0


def test_a_page_that_fails_is_remembered_and_its_job_is_not(worker: Worker) -> None:
    worker.hand.does = raises(UndrawableDocument(DAMAGED))
    job = worker.ask()
    assert worker.conversions.do(job) is None

    _require_forgotten(worker, job)
    with pytest.raises(UndrawableDocument) as refused:
        worker.pages.page_of(worker.found(), None)
    assert refused.value.public == DAMAGED
    assert worker.kept()["files"] == 0


@pytest.mark.parametrize(("age_seconds", "draws"), [(55.0, 1), (65.0, 0)])
def test_a_page_that_waited_too_long_is_passed_over(
    worker: Worker, age_seconds: float, draws: int
) -> None:
    job = worker.ask()
    worker.ahead_seconds = age_seconds

    assert worker.conversions.do(job) is None

    assert len(worker.hand.draws) == draws
    _require_forgotten(worker, job)
    assert (worker.pages.page_of(worker.found(), None) is not None) == (draws == 1)


def test_a_conversion_is_never_passed_over(worker: Worker) -> None:
    job = worker.hand_in()
    worker.ahead_seconds = 65.0
    worker.conversions.do(job)

    assert worker.conversions.find(job).state == "SUCCESS"


def test_a_page_that_another_worker_makes_is_left_to_it(worker: Worker) -> None:
    job = worker.ask()
    with worker.pages.turn(worker.found(), None, 0):
        assert worker.conversions.do(job) is None

    assert worker.hand.draws == []
    _require_forgotten(worker, job)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        NoRoom("the disk is full"),
        UploadsUnavailable("the disk fails"),
    ],
)
def test_a_worker_that_cannot_write_says_so_for_a_minute(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Else visitors would have it drawn again and again."""

    def scratch(_files: JobFiles, _job: str) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(JobFiles, "scratch", scratch)
        worker.conversions.do(worker.ask())

    with pytest.raises(NoPreview) as refused:
        worker.pages.page_of(worker.found(), None)
    assert refused.value.public == "No worker can draw documents at the moment."
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert worker.pages.page_of(worker.found(), None) is None


def test_a_conversion_that_succeeded_leaves_the_thumbnail(worker: Worker) -> None:
    job = worker.hand_in()
    during: list[dict[str, int]] = []
    worker.renderer.then = lambda: during.append(worker.kept())
    assert worker.conversions.do(job) is None

    record = worker.conversions.find(job)
    assert record.state == "SUCCESS"
    assert worker.conversions.thumbnail(record).body == GOOD
    assert during[0]["pages"] > 0
    assert during[0]["masters"] > 0
    assert worker.kept() == {**NOTHING, "files": 1}


def test_a_conversion_that_failed_leaves_nothing(worker: Worker) -> None:
    worker.hand.does = raises(UndrawableDocument(DAMAGED))
    job = worker.hand_in()
    assert worker.conversions.do(job) is None

    failure = worker.conversions.find(job).failure
    assert failure is not None
    assert (failure.code, failure.public) == ("undrawable-document", DAMAGED)
    assert worker.kept() == NOTHING


def test_a_conversion_that_is_tried_again_leaves_nothing_meanwhile(worker: Worker) -> None:
    """But for what was handed in."""

    def refuse() -> None:
        raise Busy

    job = worker.hand_in()
    worker.renderer.first = refuse
    assert worker.conversions.do(job) == "slow"

    assert len(worker.hand.draws) == 1
    assert worker.kept() == {**NOTHING, "files": 1}
    worker.renderer.first = lambda: None
    assert worker.conversions.do(job) is None
    assert worker.conversions.find(job).state == "SUCCESS"


def test_a_conversion_that_is_cancelled_while_it_waits_leaves_nothing(worker: Worker) -> None:
    job = worker.hand_in()
    worker.conversions.cancel(job)
    assert worker.conversions.do(job) is None

    assert worker.hand.draws == []
    assert worker.kept() == NOTHING


def test_a_conversion_that_is_cancelled_while_it_is_drawn_leaves_nothing(worker: Worker) -> None:
    job = worker.hand_in()

    def draw(run: ConfinedRun) -> None:
        worker.conversions.cancel(job)
        run.folder.mkdir(parents=True, exist_ok=True)
        leaves(GOOD)(run)

    worker.hand.does = draw
    assert worker.conversions.do(job) is None

    failure = worker.conversions.find(job).failure
    assert failure is not None
    assert failure.code == "cancelled"
    assert len(worker.hand.draws) == 1
    assert worker.kept() == NOTHING


def test_a_conversion_that_is_cancelled_once_it_is_rendered_leaves_nothing(worker: Worker) -> None:
    job = worker.hand_in()
    at_once: list[dict[str, int]] = []

    def cancel() -> None:
        worker.conversions.cancel(job)
        at_once.append(worker.kept())

    worker.renderer.then = cancel
    assert worker.conversions.do(job) is None

    failure = worker.conversions.find(job).failure
    assert failure is not None
    assert failure.code == "cancelled"
    assert at_once == [NOTHING]
    assert worker.kept() == NOTHING


def test_what_a_worker_left_that_was_killed_is_removed_with_its_job(worker: Worker) -> None:
    job = worker.hand_in()
    original = JobFiles(worker.tmp_path / "uploads/jobs").original(job, "0" * 16)
    worker.pages.fail(original, None, UndrawableDocument(DAMAGED))
    assert worker.kept()["pages"] == 1

    worker.ahead_seconds = 86_401.0
    worker.conversions.sweep()

    _require_forgotten(worker, job)
    assert worker.kept() == NOTHING


def test_a_document_that_is_there_is_drawn_for_its_conversion(worker: Worker) -> None:
    """And its page is everybody's."""
    wanted = Wanted("name=a.sketch&page=2&width=20&height=20", "slow", "somebody")
    job = worker.conversions.begin(wanted, None).job
    assert worker.conversions.do(job) is None

    record = worker.conversions.find(job)
    assert (record.state, record.result["width"], record.result["height"]) == ("SUCCESS", 40, 30)
    assert worker.hand.draws == [("2", SKETCH)]
    assert worker.pages.page_of(worker.found(), Page(2)) is not None


@pytest.mark.parametrize(("name", "draws"), [("a.sketch", 1), ("nasa.jpeg", 0)])
def test_the_page_is_there_before_sizes_are_made(worker: Worker, name: str, draws: int) -> None:
    wanted = Wanted(f"name={name}", "bulk", "", kind="sizes")
    assert worker.conversions.do(worker.conversions.begin(wanted, None).job) is None

    assert worker.sizes == [draws]


def test_a_picture_that_is_handed_in_has_one_page(worker: Worker) -> None:
    job = worker.hand_in(GOOD, page=2)
    assert worker.conversions.do(job) is None

    failure = worker.conversions.find(job).failure
    assert failure is not None
    assert (failure.code, failure.public) == ("no-such-page", "A picture has one page.")
    assert worker.kept() == NOTHING


def test_what_is_handed_in_and_is_nothing_that_is_known_is_refused(worker: Worker) -> None:
    job = worker.hand_in(b"some text")
    assert worker.conversions.do(job) is None

    failure = worker.conversions.find(job).failure
    assert failure is not None
    assert failure.code == "unsupported-original"
    assert worker.hand.draws == []
    assert worker.kept() == NOTHING


def test_what_a_killed_worker_left_of_a_page_goes_when_it_is_drawn(worker: Worker) -> None:
    job = worker.ask()
    left = worker.tmp_path / "uploads/jobs" / job / "scratch-of-another"
    left.mkdir(parents=True)
    (left / "document.sketch").write_bytes(SKETCH)

    assert worker.conversions.do(job) is None

    assert len(worker.hand.draws) == 1
    assert worker.kept()["files"] == 0
