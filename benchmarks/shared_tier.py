"""Measure a rendition that another node made against making it, by size, and what a look costs.

    python benchmarks/shared_tier.py [FOLDER] [--every 3] [--rounds 5]

starts a SeaweedFS, a memcached and a Redis on loopback, and has nodes in this process over the
photographs of the folder (those of lomiri-wallpapers by default). Each rendition is made, shared
and then answered in turn: new, its original decoded for it; new, from a master; found in the
bucket, in memcached and in Redis, and kept on the disk by that; found on the disk. For clients that
take JPEG alone, and as Chromium asks: what a node makes for those at first is the quick one, what
it finds elsewhere the best. Prints milliseconds, medians and 95th percentiles over photographs and
rounds; the processor's of this process, its threads' too, means; and ratios, medians of those of
each round. Then what a look in the bucket is made of, for an entry of 80 kB.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from memcacheds import running_memcached
from redises import redis_server
from weeds import place_in, running_s3

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.settings import Settings
from imgprocessor.config.store_settings import MemoryUrl, StoreSettings
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.parts import make_delivery
from imgprocessor.rendering.process import keep_memory
from imgprocessor.service.delivery import Answer, Delivery, Found
from imgprocessor.service.understanding import Incoming
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.bucket_tier import BucketTier
from imgprocessor.storage.shared.signed import Signer

WALLPAPERS = Path("/usr/share/backgrounds")
WIDTHS = (160, 320, 640, 1082, 1920)
KINDS = {"JPEG": "format=jpeg", "Chromium": "formats=avif%2Bwebp%2Bgif"}
KEY = "0123456789abcdef" * 2
WAYS = ("new", "from a master", "bucket", "memcached", "redis", "disk")
TIERS = ("bucket", "memcached", "redis")
LOOKED_BYTES = 80_000
LOOKS = 300


@dataclass
class Spent:
    """What came of a way."""

    ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)


@dataclass
class Row:
    """A kind of client, and a size."""

    ways: defaultdict[str, Spent] = field(default_factory=lambda: defaultdict(Spent))
    made_bytes: list[int] = field(default_factory=list)
    shared_bytes: list[int] = field(default_factory=list)
    best_ms: list[float] = field(default_factory=list)
    """The processor's, of what is made behind the answer."""


def main() -> int:
    """Print tables."""
    parser = argparse.ArgumentParser(description="What nodes share, against making it.")
    parser.add_argument("folder", nargs="?", type=Path, default=WALLPAPERS)
    parser.add_argument("--every", type=int, default=3, help="take every so many-th photograph")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    keep_memory()  # as workers do
    files = [
        path
        for path in sorted(options.folder.glob("*.jpg"))
        if not path.is_symlink() and _width(path) >= max(WIDTHS)
    ][:: options.every]
    with tempfile.TemporaryDirectory(prefix="imgprocessor-shared-") as name, ExitStack() as stack:
        folder = Path(name)
        stores = stack.enter_context(_stores(folder))
        nodes = _Nodes(options.folder, folder, stores)
        print(
            "| asked for | px | new, ms | from a master | bucket | memcached | Redis | disk"
            " | bucket / new | bucket / master | processor: new | bucket | memcached | Redis"
            " | best, behind | kB: new | shared |\n|---|--:" + "|--:" * 15 + "|"
        )
        for kind, query in KINDS.items():
            for width in WIDTHS:
                row = Row()
                for file in files:
                    asked = f"name={file.name}&width={width}&bandwidth=4g&dpr=1&{query}"
                    nodes.measure(asked, options.rounds, row)
                print(f"| {kind} | {width} | {_told(row)} |", flush=True)
        print("\n| a look in the bucket, 80 kB | ms | processor, ms |\n|---|--:|--:|")
        url, buckets = stores["bucket"][0].bucket, stores["bucket"][1]
        if url is not None:
            for what, (ms, processor_ms) in _parts(url, buckets):
                print(f"| {what} | {ms:.2f} | {processor_ms:.2f} |", flush=True)
    return 0


@contextmanager
def _stores(folder: Path) -> Iterator[dict[str, tuple[StoreSettings, BucketsSettings]]]:
    """Run what nodes share; yield its settings."""
    key_file = folder / "store.key"
    key_file.touch(mode=0o600)
    key_file.write_text(KEY)
    with (
        running_s3(folder / "s3") as server,
        running_memcached() as memcached,
        redis_server(folder, "--maxmemory", "64mb", "--appendonly", "no") as redis_url,
    ):
        url, buckets = place_in(server, folder, "kept")
        none = BucketsSettings()
        yield {
            "bucket": (StoreSettings(bucket=url, key_file=key_file), buckets),
            "memcached": (StoreSettings(shared=MemoryUrl(memcached.url), key_file=key_file), none),
            "redis": (StoreSettings(shared=MemoryUrl(redis_url), key_file=key_file), none),
        }


class _Nodes:
    """Nodes in this process, each with a disk cache of its own."""

    def __init__(
        self,
        originals: Path,
        folder: Path,
        stores: Mapping[str, tuple[StoreSettings, BucketsSettings]],
    ) -> None:
        plain = load_settings(DEFAULT_CONF, Overrides(originals=originals))

        def node(name: str, settings: Settings) -> Delivery:
            cache = replace(plain.disk_cache, folder=folder / name, min_free_percent=0)
            made = make_delivery(replace(settings, disk_cache=cache), keeps=True)
            made.work_later(lambda _: None)  # so what is made at first is the quick one
            return made

        self._new, self._mastered = node("new", plain), node("mastered", plain)
        self._sharing = {
            name: node(name, replace(plain, store=store, buckets=buckets))
            for name, (store, buckets) in stores.items()
        }

    def measure(self, asked: str, rounds: int, row: Row) -> None:
        """Answer in each way so often, in turns."""
        began = time.process_time()
        best = self._new.answer(_found(self._new, asked), at_best=True)
        row.best_ms.append((time.process_time() - began) * 1000)
        row.shared_bytes.append(len(best.rendition.body))
        for node in self._sharing.values():
            found, _ = node.looked_for_elsewhere(_found(node, asked))
            node.keep(replace(best, found=found))
            node._renditions.finish()  # noqa: SLF001 - nobody waits for it otherwise
        self._mastered.render(_found(self._mastered, asked), is_behind=True)  # which makes masters
        key = best.found.planned.imagekey
        for _ in range(rounds):
            self._new.purge_all()
            made = _timed(self._new, asked, row.ways["new"])
            row.made_bytes.append(len(made.rendition.body))
            self._mastered.purge_imagekey(key)
            _timed(self._mastered, asked, row.ways["from a master"])
            for name, node in self._sharing.items():
                node.purge_imagekey(key)
                _came("shared", _timed(node, asked, row.ways[name]))
            _came("store", _timed(self._sharing["bucket"], asked, row.ways["disk"]))


def _came(source: str, answer: Answer) -> None:
    if answer.source != source:
        raise RuntimeError(f"{answer.found.planned.imagekey} came from {answer.source}")


def _timed(node: Delivery, asked: str, spent: Spent) -> Answer:
    began, processor = time.perf_counter(), time.process_time()
    answer = node.answer(_found(node, asked))
    spent.ms.append((time.perf_counter() - began) * 1000)
    spent.processor_ms.append((time.process_time() - processor) * 1000)
    return answer


def _found(node: Delivery, asked: str) -> Found:
    return node.find(node.understand(Incoming(asked, {})))


def _told(row: Row) -> str:
    def ratio(way: str) -> float:
        pairs = zip(row.ways["bucket"].ms, row.ways[way].ms, strict=True)
        return statistics.median(shared / made for shared, made in pairs)

    ways = {way: row.ways[way] for way in WAYS}
    both = [(statistics.median(one.ms), _percentile95(one.ms)) for one in ways.values()]
    cells = [f"{median:.1f}, {most:.1f}" for median, most in both]
    cells += [f"{ratio('new'):.3f}", f"{ratio('from a master'):.3f}"]
    cells += [f"{statistics.mean(ways[way].processor_ms):.1f}" for way in ("new", *TIERS)]
    cells += [f"{statistics.mean(row.best_ms):.0f}"]
    cells += [f"{statistics.mean(ones) / 1000:.1f}" for ones in (row.made_bytes, row.shared_bytes)]
    return " | ".join(cells)


def _percentile95(values: Sequence[float]) -> float:
    return sorted(values)[round(0.95 * (len(values) - 1))]


def _width(file: Path) -> int:
    with Image.open(file) as image:
        return image.width


# --- What a look is made of -----------------------------------------------------------------------


def _parts(url: BucketUrl, buckets: BucketsSettings) -> Iterator[tuple[str, tuple[float, float]]]:
    tier, bucket, signer = BucketTier(url, buckets), Bucket(url, buckets), Signer([KEY])
    body, name, marks = os.urandom(LOOKED_BYTES), "ab" * 32, ["cd" * 32, "ef" * 32]
    entry = signer.written(name, "-" * 3, body)
    tier.put("group", name, entry)
    key, missing = f"renditions/gr/group/{name}", "renditions/gr/group/none"

    def gone() -> None:
        try:
            bucket.get(missing, max_bytes=LOOKED_BYTES)
        except FileNotFoundError:
            return

    yield (
        "three GETs at once: the entry and two marks that are not there",
        _each(lambda: tier.look("group", name, marks)),
    )
    yield "two GETs at once: of the marks alone", _each(lambda: tier.look("group", None, marks))
    yield "one GET, of the entry", _each(lambda: bucket.get(key, max_bytes=2 * LOOKED_BYTES))
    yield "one GET, of what is not there", _each(gone)
    yield "one PUT", _each(lambda: tier.put("group", name, entry))
    yield "the signature checked", _each(lambda: signer.read(name, entry))


def _each(act: Callable[[], object]) -> tuple[float, float]:
    """Return milliseconds, a median, and the processor's, on average."""
    act()
    taken = []
    processor = time.process_time()
    for _ in range(LOOKS):
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), (time.process_time() - processor) * 1000 / LOOKS


if __name__ == "__main__":
    sys.exit(main())
