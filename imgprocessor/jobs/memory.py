"""Jobs in the memory of one process: where there is no Redis."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.errors import JobsUnavailable
from imgprocessor.jobs.records import (
    CANCELLED_FAILURE,
    LEASE_SECONDS,
    LOST_FAILURE,
    MAX_LEASES,
    QUEUES,
    SUCCESS,
    Failure,
    JobRecord,
    Queue,
    Wanted,
)


class MemoryRecords:
    """Keeps jobs until the process ends."""

    def __init__(self, settings: JobsSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._changing = threading.Lock()
        self._jobs: dict[str, JobRecord] = {}
        self._open: dict[str, None] = {}
        self._held: dict[str, tuple[str, float]] = {}
        self._lost = 0
        self._kept_bytes = 0
        self._outcomes = Counter({SUCCESS: 0})

    def key(self) -> bytes:
        """Return the secret, as `Records.key` says."""
        return self._key

    def create(self, job: str, wanted: Wanted) -> None:
        """Keep a new job, as `Records.create` says."""
        with self._changing:
            waiting = self._waiting(wanted.queue)
            if len(waiting) >= self._settings.max_pending:
                raise JobsUnavailable("[jobs] max_pending is reached")
            if len(self._jobs) >= self._settings.max_known:
                raise JobsUnavailable("[jobs] max_known is reached")
            if self._bytes() + wanted.size_bytes > self._settings.max_waiting_bytes:
                raise JobsUnavailable("[jobs] max_waiting_bytes is reached")
            if wanted.keeps_thumbnail and self._kept_bytes >= self._settings.max_kept_bytes:
                raise JobsUnavailable("[jobs] max_kept_bytes is reached")
            now = self._clock()
            expires = now + self._settings.result_seconds
            self._jobs[job] = JobRecord(job, wanted, "PENDING", now, expires, now)
            self._open[job] = None

    def find(self, job: str) -> JobRecord | None:
        """Return how a job stands."""
        with self._changing:
            known = self._jobs.get(job)
            return None if known is None else replace(known, known_seconds=self._clock())

    def claim(self, job: str, holder: str) -> JobRecord | None:
        """Take a job that waits."""
        with self._changing:
            known = self._jobs.get(job)
            if known is None or known.state not in {"PENDING", "RETRY"}:
                return None
            now = self._clock()
            self._held[job] = (holder, now + LEASE_SECONDS)
            self._jobs[job] = replace(known, state="STARTED", known_seconds=now)
            return self._jobs[job]

    def renew(self, job: str, holder: str) -> bool:
        """Say that a job is still held."""
        with self._changing:
            if not self._is_held(job, holder):
                return False
            self._held[job] = (holder, self._clock() + LEASE_SECONDS)
            return True

    def give_back(self, job: str, holder: str) -> None:
        """Have a job wait again."""
        with self._changing:
            if self._is_held(job, holder):
                del self._held[job]
                self._jobs[job] = replace(self._jobs[job], state="RETRY")

    def succeed(self, job: str, holder: str, result: dict[str, Any]) -> bool:
        """Say that a job is done."""
        return self._end(job, holder, state="SUCCESS", result=result)

    def fail(self, job: str, holder: str, failure: Failure) -> bool:
        """Say that a job cannot be done."""
        return self._end(job, holder, state="FAILURE", failure=failure)

    def cancel(self, job: str) -> bool:
        """End a job."""
        with self._changing:
            known = self._jobs.get(job)
            if known is None or known.is_over:
                return False
            self._held.pop(job, None)
            self._jobs[job] = self._over(known, state="FAILURE", failure=CANCELLED_FAILURE)
            return True

    def hand_out(self) -> Sequence[tuple[Queue, str]]:
        """Have jobs wait again whose leases ended."""
        again: list[tuple[Queue, str]] = []
        with self._changing:
            for job, (_, until) in [*self._held.items()]:
                if until > self._clock():
                    continue
                del self._held[job]
                self._lost += 1
                known = replace(self._jobs[job], leases=self._jobs[job].leases + 1)
                if known.leases >= MAX_LEASES:
                    self._jobs[job] = self._over(known, state="FAILURE", failure=LOST_FAILURE)
                else:
                    self._jobs[job] = replace(known, state="RETRY")
                    again.append((known.wanted.queue, job))
        return again

    def waiting(self, queue: Queue) -> Sequence[str]:
        """Return the jobs that wait."""
        with self._changing:
            return [known.job for known in self._waiting(queue)]

    def expired(self) -> Sequence[str]:
        """Return jobs whose time is over."""
        with self._changing:
            now = self._clock()
            return [known.job for known in self._jobs.values() if known.expires_seconds <= now]

    def forget(self, job: str) -> None:
        """Forget a job."""
        with self._changing:
            known = self._jobs.pop(job, None)
            self._held.pop(job, None)
            self._open.pop(job, None)
            if known is not None:
                self._kept_bytes -= known.result.get("bytes", 0)

    def counts(self) -> dict[str, float]:
        """Return how many there are."""
        with self._changing:
            told: dict[str, float] = {
                "held": len(self._held),
                "bytes": self._bytes(),
                "kept": self._kept_bytes,
                "lost": self._lost,
            }
            now = self._clock()
            for queue in QUEUES:
                waiting = self._waiting(queue)
                age = now - waiting[0].created_seconds if waiting else 0.0
                told |= {queue: len(waiting), f"{queue}_age": age}
            return told

    def announce(self, worker: str, text: str, seconds: float) -> None:
        """Say nothing: who does jobs in the same process has nothing to tell."""

    def announced(self) -> Sequence[str]:
        """Return nothing."""
        return []

    def outcomes(self) -> dict[str, float]:
        """Return how many are over."""
        with self._changing:
            return {**self._outcomes}

    def _waiting(self, queue: Queue) -> list[JobRecord]:
        known = (self._jobs[job] for job in self._open)
        return [
            one for one in known if one.wanted.queue == queue and one.state in {"PENDING", "RETRY"}
        ]

    def _bytes(self) -> int:
        return sum(self._jobs[job].wanted.size_bytes for job in self._open)

    def _is_held(self, job: str, holder: str) -> bool:
        known, _ = self._held.get(job, ("", 0.0))
        return known == holder

    def _end(self, job: str, holder: str, **changes: Any) -> bool:
        with self._changing:
            if not self._is_held(job, holder):
                return False
            del self._held[job]
            self._jobs[job] = self._over(self._jobs[job], **changes)
            return True

    def _over(self, known: JobRecord, **changes: Any) -> JobRecord:
        expires = self._clock() + self._settings.result_seconds
        over = replace(known, expires_seconds=expires, **changes)
        self._open.pop(known.job, None)
        self._kept_bytes += over.result.get("bytes", 0)
        self._outcomes[SUCCESS if over.failure is None else over.failure.code] += 1
        return over
