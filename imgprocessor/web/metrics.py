"""What Prometheus reads: counts of answers over all processes, and how things stand right now.

Nothing that a client writes becomes a label: cells are the policy's, all else is this program's.
"""

import contextlib
import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import JobsUnavailable
from imgprocessor.jobs.records import QUEUES, Records
from imgprocessor.policy.table import SIZED, Policy
from imgprocessor.service.later import BestOutcome
from imgprocessor.storage.counters import Counters
from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.storage.shared.tier import TierName, TierOutcome
from imgprocessor.storage.uploads.replication.replication import Replication
from imgprocessor.web.log import Entry

METRICS_PATH = "/images/-/metrics"

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_BOUNDS_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
    float("inf"),
)
"""From a rendition that is kept to the time at which a daemon is replaced."""

_NONE = "none"
"""Where a label does not apply."""


@dataclass(frozen=True, eq=False)
class Counted:
    """A metric that only grows: a count, or seconds by how many took up to so long."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    in_buckets: bool = False

    @property
    def samples(self) -> tuple[str, ...]:
        """The names by which it can be asked for."""
        if self.in_buckets:
            return f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count"
        return (self.name,)


REQUESTS = Counted(
    "imgprocessor_requests_total", "Answers of the application.", ("status", "cell", "format")
)
BODY_BYTES = Counted("imgprocessor_response_body_bytes_total", "Bytes of bodies.", ("format",))
REFUSALS = Counted("imgprocessor_refusals_total", "Answers with an image-error.", ("reason",))
HITS = Counted("imgprocessor_store_hits_total", "Found in a store.", ("store",))
MISSES = Counted("imgprocessor_store_misses_total", "Not found in a store.", ("store",))
LIMITED = Counted("imgprocessor_limited_total", "Where a budget took something.", ("what",))
SECONDS = Counted("imgprocessor_request_seconds", "From request to answer.", ("source",), True)
PARTS = Counted("imgprocessor_part_seconds", "Parts of pictures' answers.", ("part",), True)
QUEUE = Counted("imgprocessor_queue_seconds", "Waiting for a daemon.", (), True)
UPLOADS = Counted("imgprocessor_uploads_total", "Uploads, by what came of them.", ("outcome",))
BEST = Counted(
    "imgprocessor_best_total",
    "Best pictures behind quick ones, by outcome.",
    ("outcome",),
)
SHARED = Counted(
    "imgprocessor_shared_total",
    "Entries that nodes share, looked for and kept, by tier and outcome.",
    ("tier", "outcome"),
)
COUNTED = (
    *(REQUESTS, BODY_BYTES, REFUSALS, HITS, MISSES, LIMITED, SECONDS, PARTS, QUEUE, UPLOADS),
    *(BEST, SHARED),
)

_HITS_AND_MISSES: Mapping[str, tuple[tuple[Counted, str], ...]] = {
    "store": ((HITS, "renditions"),),
    "shared": ((MISSES, "renditions"),),
    "master": ((MISSES, "renditions"), (HITS, "masters")),
    "original": ((MISSES, "renditions"), (MISSES, "masters")),
}
"""By where a picture came from."""


class Metrics(Collector):
    """Counts answers, and tells Prometheus."""

    def __init__(self, folder: Path, policy: Policy, complain: Callable[[str], None]) -> None:
        """Count in a folder that belongs to these metrics and cells: after an update or with other
        rows and columns, counting begins anew, in another one beside it.
        """
        screens = [*(screen.name for screen in policy.screens), SIZED]
        bandwidths = [bandwidth.name for bandwidth in policy.bandwidths]
        self._cells = {
            (screen, bandwidth): f"{screen} {bandwidth}"
            for screen, bandwidth in product(screens, bandwidths)
        }
        written_for = repr(("one file", COUNTED, _BOUNDS_SECONDS, screens, bandwidths))
        word = hashlib.sha256(written_for.encode()).hexdigest()[:8]
        self._counters = Counters(folder / word, complain)
        self._counters.forget_others()
        self._keys: dict[tuple[Counted, tuple[str, ...]], tuple[str, ...]] = {}
        self._watched: list[Watched] = [
            Watched(
                "imgprocessor_processes",
                "Processes that answer requests.",
                lambda: {(): self._counters.processes()},
            )
        ]

    def watch(self, watched: "Watched") -> None:
        """Show a number that is asked for whenever Prometheus asks."""
        self._watched.append(watched)

    def count(self, entry: Entry, seconds: float, queue_seconds: float | None) -> None:
        """Count an answer.

        Args:
            entry: what the log is told of it.
            seconds: from the request to the answer.
            queue_seconds: how long it waited for a daemon before; None where nobody knows.
        """
        self._counters.add(self._amounts(entry, seconds, queue_seconds))

    def count_best(self, outcome: BestOutcome) -> None:
        """Count a best picture behind a quick one."""
        self._counters.add([(self._one(BEST, outcome), 1)])

    def count_shared(self, tier: TierName, outcome: TierOutcome) -> None:
        """Count what came of asking a tier that nodes share."""
        self._counters.add([(self._one(SHARED, tier, outcome), 1)])

    def _amounts(
        self, entry: Entry, seconds: float, queue_seconds: float | None
    ) -> Iterator[tuple[str, float]]:
        named = entry.get("format")
        picture_format = named if isinstance(named, str) else _NONE
        source = entry.get("source")
        source = source if isinstance(source, str) else _NONE
        status = str(entry["status"])
        yield self._one(REQUESTS, status, self._cell(entry), picture_format), 1
        body_bytes = entry["bytes"]
        if isinstance(body_bytes, int):
            yield self._one(BODY_BYTES, picture_format), body_bytes
        for counted, disk_cache in _HITS_AND_MISSES.get(source, ()):
            yield self._one(counted, disk_cache), 1
        for counted, name in ((REFUSALS, "error"), (LIMITED, "limited"), (UPLOADS, "upload")):
            reason = entry.get(name)
            if isinstance(reason, str) and reason:
                yield self._one(counted, reason), 1
        yield from self._seconds(seconds, SECONDS, source)
        if queue_seconds is not None:
            yield from self._seconds(queue_seconds, QUEUE)
        parts = entry.get("ms")
        if isinstance(parts, Mapping):
            for part, milliseconds in parts.items():
                yield from self._seconds(milliseconds / 1000, PARTS, part)

    def _cell(self, entry: Entry) -> str:
        screen, bandwidth = entry.get("screen"), entry.get("bandwidth")
        return self._cells.get((str(screen or SIZED), str(bandwidth)), _NONE)

    def _one(self, counted: Counted, *labels: str) -> str:
        return self._known(counted, labels)[0]

    def _seconds(
        self, seconds: float, counted: Counted, *labels: str
    ) -> Iterator[tuple[str, float]]:
        new = (counted, labels) not in self._keys
        keys = self._known(counted, labels)
        if new:
            # Prometheus wants all of the buckets from the beginning.
            yield from ((key, 0) for key in keys)
        yield keys[-1], max(seconds, 0.0)
        yield keys[bisect_left(_BOUNDS_SECONDS, seconds)], 1

    def _known(self, counted: Counted, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the counts of a metric with these labels: of seconds, the buckets and the sum."""
        keys = self._keys.get((counted, labels))
        if keys is None:
            keys = self._keys[counted, labels] = tuple(_keys(counted, labels))
        return keys

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield from self._counters.collect()
        for watched in self._watched:
            try:
                numbers = watched.ask()
            except OSError:
                continue
            kind = CounterMetricFamily if watched.grows else GaugeMetricFamily
            family = kind(watched.name, watched.help, labels=watched.labels)
            for labels, number in numbers.items():
                family.add_metric(labels, number)
            yield family


@dataclass(frozen=True)
class Watched:
    """A number that others know: one that goes up and down, or, where it `grows`, a count."""

    name: str
    help: str
    ask: Callable[[], Mapping[tuple[str, ...], float]]
    """Return the numbers of this moment by the values of the labels. An OSError leaves them out."""
    labels: tuple[str, ...] = ()
    grows: bool = False


def watched_disk_caches(
    disk_caches: Mapping[str, DiskCache], caps: Mapping[str, int]
) -> Iterator[Watched]:
    """Yield what there is to know of disk caches, by their names."""

    def of_each(ask: Callable[[DiskCache], int | None]) -> dict[tuple[str, ...], float]:
        # A disk cache whose disk fails must not hide the others.
        known: dict[tuple[str, ...], float] = {}
        for name, disk_cache in disk_caches.items():
            with contextlib.suppress(OSError):
                number = ask(disk_cache)
                if number is not None:
                    known[(name,)] = number
        return known

    labels = ("store",)
    yield Watched(
        "imgprocessor_store_bytes", "Kept.", lambda: of_each(DiskCache.kept_bytes), labels
    )
    yield Watched(
        "imgprocessor_damaged_entries_total",
        "Kept ones that were found damaged, or could not be read.",
        lambda: of_each(lambda disk_cache: disk_cache.damages.read()),
        labels,
        grows=True,
    )
    most: dict[tuple[str, ...], float] = {(name,): cap for name, cap in caps.items()}
    yield Watched("imgprocessor_store_max_bytes", "No more is ever kept.", lambda: most, labels)


def watched_uploads(
    count: Callable[[], int], kept_bytes: Callable[[], int], settings: UploadsSettings
) -> Iterator[Watched]:
    """Yield what there is to know of uploads that are kept, and their bounds."""
    for name, about, number in (
        ("kept", "Uploads that are kept.", count),
        ("kept_bytes", "Bytes of uploads and of their kept sizes.", kept_bytes),
        ("max_kept", "No more uploads are kept.", lambda: settings.max_uploads),
        ("max_kept_bytes", "No more bytes are kept.", lambda: settings.max_kept_bytes),
    ):
        yield Watched(f"imgprocessor_uploads_{name}", about, partial(_alone, number))


def watched_replica(replication: Replication) -> Iterator[Watched]:
    """Yield what there is to know of the second copy of uploads."""
    for name, about, number in (
        ("waiting", "Uploads that are to be copied.", lambda: replication.waiting().uploads),
        (
            "oldest_seconds",
            "How long the oldest of them waits.",
            lambda: replication.waiting().oldest_seconds,
        ),
    ):
        yield Watched(f"imgprocessor_replica_{name}", about, partial(_alone, number))
    yield Watched(
        "imgprocessor_replica_copies_total",
        "Copies of uploads on this node, by what came of them.",
        lambda: {(result,): count for result, count in replication.counts().items()},
        ("outcome",),
        grows=True,
    )


def _alone(number: Callable[[], float]) -> dict[tuple[str, ...], float]:
    return {(): number()}


def watched_jobs(records: Records) -> Iterator[Watched]:
    """Yield what there is to know of jobs that Redis keeps."""

    def asked() -> Mapping[str, float]:
        with _told():
            return records.counts()

    def outcomes() -> dict[tuple[str, ...], float]:
        with _told():
            return {(outcome,): number for outcome, number in records.outcomes().items()}

    def of_queues(ending: str) -> dict[tuple[str, ...], float]:
        known = asked()
        return {(queue,): known[queue + ending] for queue in QUEUES}

    labels = ("queue",)
    waiting, age = partial(of_queues, ""), partial(of_queues, "_age")
    yield Watched("imgprocessor_jobs_waiting", "Jobs that wait.", waiting, labels)
    yield Watched("imgprocessor_jobs_oldest_seconds", "How long the oldest waits.", age, labels)
    for name, about, key in (
        ("imgprocessor_jobs_held", "Jobs that workers have.", "held"),
        ("imgprocessor_jobs_waiting_bytes", "Bytes of files of jobs that are not over.", "bytes"),
        ("imgprocessor_jobs_kept_bytes", "Bytes of thumbnails.", "kept"),
    ):
        yield Watched(name, about, partial(_alone, partial(_one_of, asked, key)))
    yield Watched(
        "imgprocessor_job_leases_lost_total",
        "Jobs whose worker was not heard of any more.",
        partial(_alone, partial(_one_of, asked, "lost")),
        grows=True,
    )
    yield Watched(
        "imgprocessor_jobs_over_total",
        "Jobs that are over, by what came of them.",
        outcomes,
        ("outcome",),
        grows=True,
    )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except JobsUnavailable as error:
        raise OSError(str(error)) from error


def _one_of(counts: Callable[[], Mapping[str, float]], key: str) -> float:
    return counts()[key]


def watched_places(free: Callable[[], int], taken: Callable[[], int]) -> Watched:
    """Return what there is to know of the worker pool."""
    return Watched(
        "imgprocessor_places",
        "For jobs that are rendered or wait for that.",
        lambda: {("free",): free(), ("taken",): taken()},
        ("state",),
    )


def watched_build(*about: str) -> Watched:
    """Return what runs here: the version, Pillow, and the policy."""
    labels = ("version", "pillow", "policy")
    return Watched("imgprocessor_build_info", "What runs here.", lambda: {about: 1}, labels)


def _keys(counted: Counted, labels: tuple[str, ...]) -> Iterator[str]:
    """Yield what the library calls the counts of a metric with these labels."""
    names = [*counted.labels]
    if not counted.in_buckets:
        # The library's own files have a count's name without _total here.
        metric = counted.name.removesuffix("_total")
        yield mmap_key(metric, counted.name, names, [*labels], counted.help)
        return
    for bound in _BOUNDS_SECONDS:
        # It is not typed.
        values = [*labels, floatToGoString(bound)]  # type: ignore[no-untyped-call]
        sample = f"{counted.name}_bucket"
        yield mmap_key(counted.name, sample, [*names, "le"], values, counted.help)
    yield mmap_key(counted.name, f"{counted.name}_sum", names, [*labels], counted.help)
