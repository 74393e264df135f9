"""Jobs in one process: what is told of them, and what is done again."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import Busy, JobOver
from imgprocessor.geometry import Page
from imgprocessor.job_parts import make_conversions
from imgprocessor.jobs.conversions import Conversions, LaterByJobs, PagesByJobs
from imgprocessor.jobs.files import JobFiles
from imgprocessor.jobs.memory import MemoryRecords
from imgprocessor.jobs.records import JobKind, Queue, Wanted
from imgprocessor.parts import direct_renderer, make_delivery
from imgprocessor.rendering.job import Renderer
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.request.query import parse_query

WANTED = Wanted("name=nasa.jpeg&width=100&height=100", "quick", "somebody")

Make = Callable[..., Conversions]


class BusyRenderer:
    """Has no worker."""

    def render(self, _: object) -> NoReturn:
        """Make nothing."""
        raise Busy

    check = render

    def require_place(self) -> None:
        """Say that there is one."""


BUSY = BusyRenderer()


class Sent:
    """Notes what is sent, and loses it."""

    def __init__(self, queue: Queue = "bulk") -> None:
        self.messages: list[tuple[str, bool]] = []
        self._queue = queue

    def __call__(self, queue: Queue, job: str, *, first: bool = False) -> None:
        """Note a message."""
        assert queue in {WANTED.queue, self._queue}
        self.messages.append((job, first))


def _no_sizes(_: str) -> None:
    raise AssertionError


@pytest.fixture
def make(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make conversions whose records have a clock that differs by so many seconds."""

    def made(
        sent: Sent,
        *,
        ahead_seconds: float = 0.0,
        result_seconds: int = 600,
        renderer: Renderer | BusyRenderer = BUSY,
        copy: Callable[[str], object] = _no_sizes,
    ) -> Conversions:
        def clock() -> float:
            return time.time() + ahead_seconds

        monkeypatch.setattr(
            "imgprocessor.job_parts.MemoryRecords", partial(MemoryRecords, clock=clock)
        )
        there = replace(
            settings,
            uploads=UploadsSettings(enabled=True, folder=tmp_path / "uploads", min_free_bytes=0),
            jobs=JobsSettings(enabled=True, result_seconds=result_seconds, job_seconds=1),
        )
        delivery = make_delivery(there, renderer=renderer)
        return make_conversions(there, delivery, renderer, sent, _no_sizes, copy=copy)

    return made


@pytest.mark.parametrize("ahead_seconds", [-3600.0, 3600.0])
def test_times_are_those_of_the_records(make: Make, ahead_seconds: float) -> None:
    conversions = make(Sent(), ahead_seconds=ahead_seconds)
    record = conversions.begin(WANTED, None)

    again = conversions.do(record.job)

    known = conversions.find(record.job)
    assert (again, known.state) == ("quick", "RETRY")
    assert 0 <= known.age_seconds < 10
    assert 590 < known.left_seconds <= 600


def test_a_job_that_others_went_past_is_sent_again(make: Make) -> None:
    sent = Sent()
    conversions = make(sent)
    one, two = (conversions.begin(WANTED, None).job for _ in range(2))
    assert sent.messages == [(one, False), (two, False)]
    sent.messages.clear()

    conversions.send_again("quick", are_lost=False)
    assert sent.messages == []
    conversions.send_again("quick", are_lost=False)
    assert sent.messages == [(one, True)]
    conversions.cancel(one)
    conversions.send_again("quick", are_lost=False)
    assert sent.messages == [(one, True)]
    conversions.send_again("quick", are_lost=False)
    assert sent.messages == [(one, True), (two, True)]


@pytest.mark.parametrize("kind", ["convert", "warm"])
def test_a_worker_may_be_done_before_whoever_handed_in_is_told(
    make: Make, settings: Settings, kind: JobKind
) -> None:
    """What leaves nothing to fetch is forgotten by then."""

    class Done(Sent):
        def __call__(self, queue: Queue, job: str, *, first: bool = False) -> None:
            super().__call__(queue, job, first=first)
            conversions.do(job)

    conversions = make(Done(), renderer=direct_renderer(settings))

    assert conversions.begin(replace(WANTED, kind=kind), None).state == "PENDING"


def test_where_all_messages_are_lost_all_are_sent_again(make: Make) -> None:
    sent = Sent()
    conversions = make(sent)
    jobs = [conversions.begin(WANTED, None).job for _ in range(3)]
    sent.messages.clear()

    conversions.send_again("quick", are_lost=True)

    assert sent.messages == [(job, False) for job in jobs]


def test_a_job_whose_files_stay_keeps_no_other(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    conversions = make(Sent(), result_seconds=0)
    stays, goes = (conversions.begin(WANTED, None).job for _ in range(2))

    def remove(_: JobFiles, job: str) -> None:
        if job == stays:
            raise PermissionError(job)

    monkeypatch.setattr(JobFiles, "remove", remove)
    with pytest.raises(PermissionError):
        conversions.sweep()

    assert conversions.find(stays).job == stays
    with pytest.raises(JobOver):
        conversions.find(goes)


def test_an_upload_is_copied_by_a_job_that_is_forgotten_then(make: Make) -> None:
    sent, copied = Sent(), list[str]()
    conversions = make(sent, copy=copied.append)
    ident = "0123456789abcdef" * 2

    assert LaterByJobs(conversions, "copy").submit(ident)
    ((job, _),) = sent.messages
    assert conversions.find(job).wanted.queue == "bulk"
    conversions.do(job)

    assert copied == [ident]
    with pytest.raises(JobOver):
        conversions.find(job)


@pytest.mark.parametrize(
    "query",
    [
        ImageQuery(name="a b&c=%25 ü.pdf", page=Page(25, "%")),
        ImageQuery(name="a/b.pdf", width=300, bandwidth="2g"),
        ImageQuery(url="https://a.example/b%20c.pdf?d=1&e", page=Page(90, "s")),
    ],
)
def test_a_page_is_asked_for_by_a_job_that_means_the_same(make: Make, query: ImageQuery) -> None:
    sent = Sent()
    conversions = make(sent)
    PagesByJobs(conversions).ask(query)
    ((job, _),) = sent.messages
    record = conversions.find(job)
    meant = parse_query(record.wanted.query, 4096)

    assert (record.wanted.kind, record.wanted.queue) == ("page", "bulk")
    assert meant == ImageQuery(name=query.name, url=query.url, page=query.page)
