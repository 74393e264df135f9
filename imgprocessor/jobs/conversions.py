"""Conversions: a picture handed in, or one that is there, becomes a thumbnail later."""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.errors import (
    BadQuery,
    Busy,
    ImageError,
    Internal,
    JobOver,
    JobsUnavailable,
    NoSuchJob,
    Overloaded,
)
from imgprocessor.images.pipeline import Rendition
from imgprocessor.jobs.ids import JobIds
from imgprocessor.jobs.records import (
    CANCELLED,
    LEASE_SECONDS,
    QUEUES,
    Failure,
    JobRecord,
    Queue,
    Records,
    Wanted,
)
from imgprocessor.jobs.work import JobWork
from imgprocessor.originals.uploads import upload_name
from imgprocessor.rendering.renditions import rendition_from_bytes, rendition_to_bytes
from imgprocessor.reporting import complain, report_unexpected, trace_id, traced
from imgprocessor.request.parameters import NAMES, PARAMETERS, ImageQuery


class Dispatch(Protocol):
    """Has a worker do a job, at some time; what is lost on the way is sent again."""

    def __call__(self, queue: Queue, job: str, *, first: bool = False) -> None:
        """Have a job done; `first`, before all that waits."""


_RENEW_SECONDS = LEASE_SECONDS / 3
_SENT_AGAIN = 20
"""So many jobs that wait are sent again in one go: their messages may have been lost."""


_LATER_STILL = {
    "sizes": "its sizes are made when first asked for",
    "copy": "it is copied in a minute",
}
"""What becomes of a job that is not taken."""

STRAYS_SECONDS = 600.0
"""Between two looks for files of jobs that nobody knows."""


class Conversions:
    """Takes jobs, says how they stand, and does them."""

    def __init__(
        self,
        records: Records,
        work: JobWork,
        dispatch: Dispatch,
        settings: JobsSettings,
        *,
        log: Callable[[dict[str, Any]], None],
    ) -> None:
        """Join the parts; `log` takes a line for each job that was done."""
        self._log = log
        self._records = records
        self._work = work
        self._files = work.files
        self._dispatch = dispatch
        self._settings = settings
        self._known_ids: JobIds | None = None
        self._first: dict[Queue, str | None] = {}

    def begin(self, wanted: Wanted, file: Path | None, *, first: bool = False) -> JobRecord:
        """Take a job; it is kept by the time this returns. The file is gone afterwards. With
        `first` it comes before all that waits.

        Raises:
            BadQuery: what is asked of the picture makes no sense.
            JobsUnavailable: it cannot be kept, or as many wait as may.
            NoRoom, OSError: the file cannot be kept.
        """
        try:
            self._work.planned(wanted.query)
            job = self._ids().new()
            try:
                if file is not None:
                    self._files.take(job, file)
                self._records.create(job, wanted)
                record = self.find(job)  # before a worker knows: it may be forgotten soon after
            except BaseException:
                self._work.remove(job)
                raise
        finally:
            if file is not None:
                file.unlink(missing_ok=True)
        self._dispatch(wanted.queue, job, first=first)
        return record

    def find(self, job: str) -> JobRecord:
        """Return how a job stands.

        Raises:
            NoSuchJob: no such id was ever given.
            JobOver: it was forgotten.
            JobsUnavailable: nobody knows at this moment.
        """
        if not self._ids().is_ours(job):
            raise NoSuchJob(f"{job!r:.60} is no id of a job")
        found = self._records.find(job)
        if found is None:
            raise JobOver(f"{job} was forgotten")
        return found

    def cancel(self, job: str) -> None:
        """End a job, and have nothing left of it but that.

        Raises:
            NoSuchJob, JobOver, JobsUnavailable: as `find` does; it may be over already.
            OSError: its files cannot be removed.
        """
        self.find(job)
        if not self._records.cancel(job):
            raise JobOver(f"{job} is over")
        self._work.remove(job)

    def thumbnail(self, record: JobRecord) -> Rendition:
        """Return what was made.

        Raises:
            JobOver: nothing was, or it has gone.
            OSError: it cannot be read.
        """
        content = self._files.thumbnail(record.job) if record.state == "SUCCESS" else None
        if content is None:
            raise JobOver(f"{record.job} has no thumbnail")
        return rendition_from_bytes(content)

    def do(self, job: str) -> Queue | None:
        """Do a job, if it waits; return its queue if it should be tried again in a moment.

        Doing it twice does no harm: only what whoever holds it has made counts.
        """
        holder = secrets.token_hex(8)
        try:
            record = self._records.claim(job, holder)
            if record is None:
                return None
            with self._logged(record), self._held(job, holder) as is_held:
                try:
                    rendition = self._work.done(record, is_held.is_set)
                except JobOver:
                    return None
                except (Busy, Overloaded) as error:
                    return self._later(record, holder, error)
                except ImageError as error:
                    self._fail(job, holder, error)
                    return None
                if rendition is None:
                    self._end(job, holder)
                elif is_held.is_set():
                    self._keep(job, holder, rendition)
        except JobsUnavailable:
            return None  # its lease ends, and it is handed out again
        except Exception as error:  # noqa: BLE001 - the next job is another one
            report_unexpected(error)
            with contextlib.suppress(JobsUnavailable, OSError):
                self._fail(job, holder, Internal())
        return None

    def sweep(self) -> None:
        """Hand out again what was lost; forget what is over, with its files.

        Raises:
            JobsUnavailable: nothing is known at this moment.
            OSError: files cannot be removed.
        """
        for queue, job in self._records.hand_out():
            self._dispatch(queue, job, first=True)
        failed: OSError | None = None
        for job in self._records.expired():
            try:
                self._work.remove(job)
                self._records.forget(job)
            except OSError as error:  # others' can be removed all the same
                failed = failed or error
        if failed is not None:
            raise failed

    def remove_strays(self) -> None:
        """Remove files of jobs that nobody knows: left by a process that was killed, or of records
        that were lost. It looks at all jobs: seldom, then.

        Raises:
            JobsUnavailable, OSError: as `sweep` does.
        """
        for job in self._files.unknown():
            if self._records.find(job) is None:
                self._work.remove(job)

    def send_again(self, queue: Queue, *, are_lost: bool) -> None:
        """Send messages again for jobs that wait, the longest known: where all messages of a queue
        `are_lost`, or else for the one that was the longest known when this was last called, too.
        Others went past it, or there was no worker for any.

        Raises:
            JobsUnavailable: nothing is known at this moment.
        """
        waiting = self._records.waiting(queue)[:_SENT_AGAIN]
        first, self._first[queue] = self._first.get(queue), next(iter(waiting), None)
        for job in waiting if are_lost else waiting[:1]:
            if are_lost or job == first:
                self._dispatch(queue, job, first=not are_lost)

    def _ids(self) -> JobIds:
        if self._known_ids is None:
            self._known_ids = JobIds(self._records.key())
        return self._known_ids

    def _keep(self, job: str, holder: str, rendition: Rendition) -> None:
        """Keep what was made, unless the job was cancelled meanwhile."""
        self._files.keep_thumbnail(job, rendition_to_bytes(rendition))
        told = {
            "format": rendition.format,
            "width": rendition.size.width,
            "height": rendition.size.height,
            "bytes": len(rendition.body),
        }
        if self._records.succeed(job, holder, told):
            self._files.remove_file(job)
        else:
            record = self._records.find(job)
            failure = None if record is None else record.failure
            if record is None or (failure is not None and failure.code == CANCELLED):
                self._work.remove(job)

    def _end(self, job: str, holder: str) -> None:
        """Forget a job that leaves nothing to fetch."""
        if self._records.succeed(job, holder, {}):
            self._work.remove(job)  # what a worker has left there that was killed
            self._records.forget(job)

    def _fail(self, job: str, holder: str, error: ImageError) -> None:
        """Say why a job cannot be done; nothing else is left of it, if that counts."""
        if self._records.fail(job, holder, Failure(error.code, error.public)):
            self._work.remove(job)

    def _forget_failed(self, record: JobRecord) -> None:
        """Forget a failure that is remembered with the page that it is about."""
        if record.wanted.kind == "page":
            found = self._records.find(record.job)
            if found is not None and found.state == "FAILURE":
                self._records.forget(record.job)

    def _later(self, record: JobRecord, holder: str, error: ImageError) -> Queue | None:
        """Have a job wait again for which there was no worker; not for ever."""
        if record.age_seconds > self._settings.job_seconds * 10:
            self._fail(record.job, holder, error)
            return None
        self._records.give_back(record.job, holder)
        return record.wanted.queue

    @contextlib.contextmanager
    def _logged(self, record: JobRecord) -> Iterator[None]:
        """Work for the request that handed a job in; say afterwards what became of the job."""
        began, error = time.monotonic(), ""
        with traced(record.wanted.trace_id):
            try:
                yield
            except Exception as raised:
                error = raised.code if isinstance(raised, ImageError) else Internal.code
                raise
            finally:
                self._log(self._entry(record, time.monotonic() - began, error))
                with contextlib.suppress(JobsUnavailable):
                    self._forget_failed(record)

    def _entry(self, record: JobRecord, seconds: float, error: str) -> dict[str, Any]:
        with contextlib.suppress(JobsUnavailable):
            # What leaves nothing to fetch is forgotten at once.
            record = self._records.find(record.job) or replace(record, state="SUCCESS")
        return {
            "job": record.job,
            "trace_id": record.wanted.trace_id,
            "queue": record.wanted.queue,
            "outcome": record.state,
            "error": error or (record.failure.code if record.failure else None),
            "seconds": round(seconds, 3),
        }

    @contextlib.contextmanager
    def _held(self, job: str, holder: str) -> Iterator[threading.Event]:
        """Say again and again that a job is held; the event is cleared where it is not any more."""
        is_held, is_over = threading.Event(), threading.Event()
        is_held.set()

        def renew() -> None:
            while not is_over.wait(_RENEW_SECONDS):
                with contextlib.suppress(JobsUnavailable):
                    if not self._records.renew(job, holder):
                        is_held.clear()
                        return

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield is_held
        finally:
            is_over.set()
            thread.join()


class LaterByJobs:
    """Has something done about uploads by jobs that nobody waits for: their sizes are made, or they
    are copied to the replica.
    """

    def __init__(self, conversions: Conversions, kind: Literal["sizes", "copy"]) -> None:
        self._conversions = conversions
        self._kind: Literal["sizes", "copy"] = kind

    def submit(self, wanted: str) -> bool:
        """Have it done about an upload, as `Later.submit` says."""
        query = f"name={upload_name(wanted)}"
        job = Wanted(query, QUEUES[-1], "", kind=self._kind, trace_id=trace_id())
        try:
            self._conversions.begin(job, None)
        except (JobsUnavailable, BadQuery) as error:
            complain(f"{wanted}: {_LATER_STILL[self._kind]}: {error}")
            return False
        return True


class PagesByJobs:
    """Has pages of documents drawn for visitors, who ask again."""

    def __init__(self, conversions: Conversions) -> None:
        self._conversions = conversions

    def ask(self, query: ImageQuery) -> None:
        """Have the page made that a request is for, as `Previews.ask` says.

        Raises:
            JobsUnavailable: no job is taken at this moment.
        """
        rows = [PARAMETERS[name] for name in (*NAMES, "page")]
        said = [(row, getattr(query, row.name)) for row in rows]
        words = [f"{row.name}={row.value.write(to)}" for row, to in said if to != row.default]
        # Nobody's conversions wait behind what visitors ask for.
        job = Wanted("&".join(words), QUEUES[-1], "", kind="page", trace_id=trace_id())
        self._conversions.begin(job, None, first=True)
