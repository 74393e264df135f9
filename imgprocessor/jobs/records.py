"""What is known of jobs: the protocol of their records, wherever those are kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

State = Literal["PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE"]
"""Celery's words, as the service has them that this one grew from."""

Queue = Literal["quick", "slow", "bulk"]
"""What somebody waits for, what takes longer, and what nobody waits for."""

QUEUES: tuple[Queue, ...] = ("quick", "slow", "bulk")
"""What comes first."""

JobKind = Literal["convert", "warm", "sizes", "copy", "page"]
"""A thumbnail that is fetched later; a rendition made before anybody asks for it; the sizes that an
upload keeps; an upload copied to the replica; a page of a document.
"""

LEASE_SECONDS = 6.0
"""A worker holds a job for so long, and says every two seconds that it still does."""

MAX_LEASES = 10
"""A job whose workers went away so often is a failure."""

LOST = "lost"
"""The code of that failure."""

CANCELLED = "cancelled"
"""The code of a job that somebody cancelled."""

SUCCESS = "success"
"""The outcome of a job that did not fail: no failure has this code."""


@dataclass(frozen=True)
class Wanted:
    """What a job is to do. Nothing in it is secret."""

    query: str
    """What is asked of the picture, in the one spelling; `name=` where it is there already."""
    queue: Queue
    by: str
    """Whose job it is: a token's name."""
    size_bytes: int = 0
    """Of the file that was handed in; 0 where the picture is there already."""
    sha256: str = ""
    """Of its bytes as they were sent; empty where there is no file."""
    kind: JobKind = "convert"
    trace_id: str = ""
    """Of the request that handed it in, as logs have it."""

    @property
    def keeps_thumbnail(self) -> bool:
        """Whether what is made is kept for this job alone."""
        return self.kind == "convert"

    @property
    def has_file(self) -> bool:
        """Whether a file was handed in, be it empty."""
        return bool(self.sha256)


@dataclass(frozen=True)
class Failure:
    """Why a job failed."""

    code: str
    public: str
    """A sentence for strangers."""


CANCELLED_FAILURE = Failure(CANCELLED, "The job was cancelled.")
LOST_FAILURE = Failure(LOST, "The workers that had this job went away, too often.")


@dataclass(frozen=True)
class JobRecord:
    """How a job stands."""

    job: str
    """Its id."""
    wanted: Wanted
    state: State
    created_seconds: float
    """Since 1970."""
    expires_seconds: float
    """When it is forgotten, with its files."""
    known_seconds: float
    """When it stood so: by the clock of these times, of which this machine's may differ."""
    leases: int = 0
    """How many ended because their worker was not heard of any more."""
    failure: Failure | None = None
    result: dict[str, Any] = field(default_factory=dict)
    """Of one that succeeded: what is told of the thumbnail."""

    @property
    def is_over(self) -> bool:
        """Whether nothing changes any more."""
        return self.state in {"SUCCESS", "FAILURE"}

    @property
    def age_seconds(self) -> float:
        """How long it has been known."""
        return self.known_seconds - self.created_seconds

    @property
    def left_seconds(self) -> float:
        """How long it will be known, as it stands."""
        return max(0.0, self.expires_seconds - self.known_seconds)


class Records(Protocol):
    """Keeps jobs. All times are those of one clock, that of the place where they are kept.

    What cannot be reached, or has no room, raises `JobsUnavailable`.
    """

    def key(self) -> bytes:
        """Return the secret of the ids: made once, the same for all who share the jobs."""

    def create(self, job: str, wanted: Wanted) -> None:
        """Keep a new job, which waits.

        Raises:
            JobsUnavailable: as many wait as may, or as many bytes wait or are kept.
        """

    def find(self, job: str) -> JobRecord | None:
        """Return how a job stands; None where it was forgotten, or never was."""

    def claim(self, job: str, holder: str) -> JobRecord | None:
        """Take a job that waits, for `LEASE_SECONDS`; None where there is nothing to take."""

    def renew(self, job: str, holder: str) -> bool:
        """Say that a job is still held; return whether it is: it may have been cancelled, or be
        another worker's by now.
        """

    def give_back(self, job: str, holder: str) -> None:
        """Have a job wait again, which could not be done at this moment."""

    def succeed(self, job: str, holder: str, result: dict[str, Any]) -> bool:
        """Say that a job is done; return whether that counts: only for whoever holds it. What is
        kept of it has so many `bytes`, if its result says so.
        """

    def fail(self, job: str, holder: str, failure: Failure) -> bool:
        """Say that a job cannot be done; return whether that counts."""

    def cancel(self, job: str) -> bool:
        """End a job, whatever becomes of its worker; return whether it was not over yet."""

    def hand_out(self) -> Sequence[tuple[Queue, str]]:
        """Have jobs wait again whose leases ended, or fail where that was too often; return those
        that wait again, the longest known first.
        """

    def waiting(self, queue: Queue) -> Sequence[str]:
        """Return the jobs that wait, the longest known first."""

    def expired(self) -> Sequence[str]:
        """Return jobs whose time is over: `forget` forgets them, once their files are gone."""

    def forget(self, job: str) -> None:
        """Forget a job."""

    def counts(self) -> dict[str, float]:
        """Return how many wait by queue, how many are held, how many bytes wait and are kept, the
        age in seconds of the longest known that waits by queue, and how many leases were lost so
        far.
        """

    def announce(self, worker: str, text: str, seconds: float) -> None:
        """Have what a worker says of itself known for so long."""

    def announced(self) -> Sequence[str]:
        """Return what workers say of themselves."""

    def outcomes(self) -> dict[str, float]:
        """Return how many jobs are over so far, by their failure's code, or `SUCCESS`."""
