"""Several clients hand in pictures while everything is killed and started again, over and over.

Each goes on until it was told of its picture what it asked for. At the end the folder must have
just that, and nothing else but what expires.
"""

import contextlib
import http.client
import os
import queue
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import images
import servers
import uploaders
from job_nodes import Node, send
from processes import DAEMON_USER
from servers import Answer, Server, all_processes, await_true, free_port, serving
from upload_places import bucket_node
from uploaders import URLENCODED, ident_of
from weeds import S3Server, access_file, place_in

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.uploads.bucket import UploadBucket
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.uploads.replication.copying import Copier
from imgprocessor.storage.uploads.replication.outbox import OutboxInBucket, OutboxInFolder
from imgprocessor.storage.uploads.replication.replicated import Replicated
from imgprocessor.storage.uploads.replication.replication import Replication
from imgprocessor.storage.uploads.resumable.unfinished import Unfinished
from imgprocessor.storage.uploads.resumable.unfinished_bucket import UnfinishedInBucket

CLIENTS = 4
PAUSE_SECONDS = 0.05
"""Before a client tries again."""
UNTOLD = 500
"""From this status on a client does not know what came of its request, and asks again."""
SETTINGS = "[uploads]\nfolder = uploads\nmin_free_bytes = 0\n"
LATER_SECONDS = 2 * 86_400
"""What is left half done, and what is given up, has expired by then."""


@dataclass
class Job:
    """A picture, and what is to become of it."""

    body: bytes
    sizes: tuple[str, ...]
    in_pieces: bool
    then: str
    """`stay`, `sizes`, `go`, or `return`: it is removed and handed in again."""
    has_equal: bool = False
    """Whether another job is of the same bytes."""

    @property
    def ident(self) -> str:
        """What it is called."""
        return ident_of(self.body)

    @property
    def all_sizes(self) -> tuple[str, ...]:
        """Those that it has in the end."""
        return (*self.sizes, "9x7") if self.then == "sizes" else self.sizes


class GivenUp(Exception):
    """Another client was told what is wrong, or all is over."""


@dataclass
class Course:
    """What happened."""

    kills: int = 0
    statuses: Counter[int | str] = field(default_factory=Counter)
    seconds: float = 0.0


def jobs(count: int) -> list[Job]:
    """Return jobs; of each twenty two are of equal bytes, which stay."""
    chance, made = random.Random(3), list[Job]()
    for number in range(count):
        picture = images.texture((160 + number % 50, 120), number)
        body = images.encoded(picture, "JPEG") + chance.randbytes(chance.randrange(120_000))
        sizes = tuple(chance.sample(["20x10", "30x0", "150x<60"], chance.randrange(3)))
        then = ("stay", "stay", "sizes", "go", "return")[number % 5]
        if number % 20 == 10:
            body, sizes = made[-10].body, made[-10].sizes
        made.append(Job(body, sizes, bool(number % 3), then, has_equal=number % 10 == 0))
    return made


class Client:
    """One that loses connections, and goes on."""

    def __init__(self, port: int, course: Course, over: threading.Event, seed: int) -> None:
        self._port = port
        self._over = over
        self._course = course
        self._chance = random.Random(seed)

    def do(self, job: Job) -> None:
        """Do a job to its end."""
        self._hand_in(job)
        path = f"/image/{job.ident}.jpg"
        if job.then == "sizes":
            added, _ = self._told(lambda: self._ask(path, "POST", b"sizes=9x7"))
            assert added.status == 200, added
        if job.then in {"go", "return"}:
            gone, tries = self._told(lambda: self._ask(path, "DELETE"))
            assert gone.status in {202, 204} or (gone.status == 404 and tries > 1), gone
            assert self._told(lambda: self._ask(path))[0].status == 404
        if job.then == "return":
            self._hand_in(job)
        if job.then != "go":
            assert self._told(lambda: self._ask(path))[0].status == 200

    def _hand_in(self, job: Job) -> None:
        if job.in_pieces:
            self._hand_in_pieces(job)
            return
        answer, tries = self._told(lambda: uploaders.send_form(self._port, job.body, job.sizes))
        assert answer.status in ({201} if tries == 1 and not job.has_equal else {200, 201}), answer
        assert f'"{job.ident}"' in answer.body.decode()

    def _hand_in_pieces(self, job: Job) -> None:
        begun, _ = self._told(lambda: uploaders.begin(self._port, len(job.body), job.sizes))
        assert begun.status == 201, begun
        url = begun.headers["location"]
        while True:
            stand, _ = self._told(lambda: uploaders.stand(self._port, url))
            assert stand.status == 200, stand
            offset = int(stand.headers["upload-offset"])
            if offset == len(job.body):
                break
            end = min(len(job.body), offset + self._chance.randrange(5000, 60_000))
            piece = job.body[offset:end]
            with suppress(OSError, http.client.HTTPException):
                answer = uploaders.send_piece(self._port, url, offset, piece)
                self._course.statuses[answer.status] += 1
                assert answer.status == 204 or answer.status >= UNTOLD, answer
        answer, _ = self._told(lambda: self._ask(url))
        assert answer.status == 200, answer
        assert f'"{job.ident}"' in answer.body.decode()

    def _ask(self, path: str, method: str = "GET", body: bytes | None = None) -> Answer:
        return servers.ask(self._port, path, URLENCODED if body else {}, method, body)

    def _told(self, ask: Callable[[], Answer]) -> tuple[Answer, int]:
        """Ask until there is an answer; return it, and how often that was tried."""
        tries = 0
        while True:
            tries += 1
            try:
                answer = ask()
            except (OSError, http.client.HTTPException) as error:
                self._course.statuses[type(error).__name__] += 1
            else:
                self._course.statuses[answer.status] += 1
                if answer.status < UNTOLD or answer.status == 507:
                    return answer, tries
            if self._over.wait(PAUSE_SECONDS):
                raise GivenUp


def run(
    folder: Path,
    count: int,
    *,
    life_seconds: float,
    most_kills: int,
    s3: S3Server | None = None,
    replica: S3Server | None = None,
    redis: str | None = None,
) -> Course:
    """Have so many pictures handed in. So long after uploads are answered all is killed, but for so
    many times at most: what takes longer than a life is done after the last one. Check what is
    there. With `s3` they are kept in its bucket, and copied to that of `replica`; these are killed,
    too, in the middle of each life. With `redis` what is done behind answers is done by a worker,
    which is killed with the rest.
    """
    originals = folder / "originals"
    originals.mkdir(parents=True)
    servers.open_up(originals)
    port, course, todo = free_port(), Course(), queue.SimpleQueue[Job]()
    kept = _InFolder(folder) if s3 is None else _InBucket(folder, s3, replica)
    settings = kept.settings + (f"[jobs]\nenabled = yes\nredis = {redis}\n" if redis else "")
    serve = partial(serving, folder / "server", originals, port=port, settings=settings)
    all_jobs = jobs(count)
    for job in all_jobs:
        todo.put(job)
    began, over = time.monotonic(), threading.Event()

    def work(seed: int) -> None:
        client = Client(port, course, over, seed)
        try:
            while True:
                client.do(todo.get_nowait())
        except (queue.Empty, GivenUp):
            return
        except BaseException:
            over.set()  # for the others, too
            raise

    with ThreadPoolExecutor(CLIENTS) as pool:
        working = [pool.submit(work, seed) for seed in range(CLIENTS)]
        try:
            while course.kills < most_kills and not all(one.done() for one in working):
                with serve() as server, worker(server, folder / "server", redis):
                    assert server.ask("/upload").status == 200
                    # What dies at which moment, not a wait for anything.
                    time.sleep(life_seconds)
                    for bucket in filter(None, (s3, replica)):
                        bucket.end()
                        time.sleep(life_seconds)
                        bucket.start()
                        time.sleep(life_seconds)
                    kill_everything(server)
                    course.kills += 1
            with serve() as server, worker(server, folder / "server", redis):
                for one in working:
                    one.result()
                course.seconds = time.monotonic() - began
                require_all(server, all_jobs, kept)
        finally:
            over.set()
    return course


@contextlib.contextmanager
def worker(server: Server, folder: Path, redis: str | None) -> Iterator[None]:
    """Run a worker beside a server, and kill it by -9."""
    if redis is None:
        yield
        return
    running = Node(server, folder, folder / "uploads").start_worker()
    try:
        yield
    finally:
        send(running, signal.SIGKILL)
        running.wait()


def kill_everything(server: Server) -> None:
    """Kill Apache, its daemons and their workers by -9, in any order, until none is left."""
    apache = server.apache()
    chance = random.Random()

    def left() -> list[int]:
        commands = all_processes()
        return [pid for pid in commands if commands[pid] and servers.session_of(pid) == apache]

    while victims := left():
        chance.shuffle(victims)
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    await_true(lambda: server.process.poll() is not None)


def require_all(server: Server, all_jobs: Sequence[Job], kept: "_InFolder | _InBucket") -> None:
    """Check that all is there that clients were told of, whole, and nothing else."""
    store = kept.store
    if isinstance(kept, _InBucket):
        kept.go_on()
    expected = {job.ident: job for job in all_jobs if job.then != "go"}
    assert set(store.idents()) == expected.keys()
    assert store.taken_out() == []
    for ident, job in expected.items():
        found = store.find(ident)
        assert found is not None
        with store.open(ident) as file:
            body = file.read()
        assert found.record["sent_sha256"] == sha256(job.body).hexdigest()
        assert found.record["sha256"] == sha256(body).hexdigest()
        assert images.decoded(body).size == images.decoded(job.body).size
        assert server.ask(f"/full/{ident}.jpg").body == body
        assert {*job.all_sizes} <= {*found.record["sizes"]}
        for size in job.all_sizes:
            width, _, height = size.partition("x")
            spelled = f"width={width}&height={height}".replace("<", "%3C")
            shown = server.ask(f"/image/{ident}.jpg?{spelled}", {"Accept": "image/jpeg"})
            assert shown.status == 200, shown
            images.decoded(shown.body).load()
            # What is made while the bucket is dead is cached by the node that made it.
            name = f"{size.replace('<', 'max')}.plain"
            assert isinstance(kept, _InBucket) or store.kept(ident, name) is not None
    for job in all_jobs:
        if job.then == "go":
            assert server.ask(f"/image/{job.ident}.jpg").status == 404
    kept.require_nothing_else(expected)


class _InFolder:
    """A folder that has them."""

    settings = SETTINGS

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "server" / "uploads"
        self.store = UploadFolder(
            self._folder, max_uploads=10**6, max_bytes=10**12, min_free_bytes=0
        )

    def require_nothing_else(self, expected: dict[str, Job]) -> None:
        """Check that all else expires, and that no less is counted than is there."""
        _require_no_other_files(self._folder, self.store, expected)


class _InBucket:
    """A bucket that has them, and a node that has none of its own."""

    def __init__(self, folder: Path, s3: S3Server, replica: S3Server | None) -> None:
        url, buckets = place_in(s3, folder, "uploads")
        if replica is not None:
            buckets = access_file(folder, s3.access() + replica.access())
        self._bucket = Bucket(url, buckets)
        servers.open_up(folder)
        assert buckets.file is not None
        if os.geteuid() == 0:
            shutil.chown(buckets.file, group=DAEMON_USER)
            buckets.file.chmod(0o640)
        self.settings = f"{SETTINGS}bucket = {url}\n[buckets]\nfile = {buckets.file}\n"
        self._node = folder / "server" / "uploads"
        self.store = bucket_node(folder / "another", url, buckets)
        # In the node's own folder: removals may be noted there.
        self._later = bucket_node(self._node, url, buckets, clock=_later)
        self._copy: _Copy | None = None
        if replica is not None:
            place = BucketUrl("s3", replica.bucket, "copy")
            self.settings += f"[replica]\nurl = {place}\n"
            self._copy = _Copy(folder, self._later, self._bucket, place, buckets)

    def go_on(self) -> None:
        """Go on with removals, as the server does each minute."""
        self._later.sweep()
        for ident in self.store.taken_out():
            self._later.clear(ident)

    def require_nothing_else(self, expected: dict[str, Job]) -> None:
        """Check that all else expires."""
        uploads, now = UploadsSettings(), time.time
        for _ in range(2):  # what is given up is forgotten later
            UnfinishedInBucket(
                self._bucket, self._bucket, self._node, uploads, lambda: now() + LATER_SECONDS
            ).sweep()
        _require_no_other_objects(self._bucket, expected)
        if self._copy is not None:
            self._copy.require_same(self.store, expected)


def _later() -> float:
    return time.time() + LATER_SECONDS


class _Copy:
    """The second copy of what is in a bucket."""

    def __init__(
        self,
        folder: Path,
        first: UploadBucket,
        bucket: Bucket,
        place: BucketUrl,
        buckets: BucketsSettings,
    ) -> None:
        self._bucket = Bucket(place, buckets)
        self.store = bucket_node(folder / "there", place, buckets, clock=_later)
        self._outbox = OutboxInBucket(bucket)
        self._replication = Replication(
            first,
            self.store,
            Copier(first, self.store, buckets),
            self._outbox,
            # In the node's own folder, as removals are.
            unsent=OutboxInFolder(folder / "server" / "uploads"),
            folder=folder / "copier",
            complain=print,
            clock=_later,
        )

    def require_same(self, store: UploadBucket, expected: dict[str, Job]) -> None:
        """Have the rest copied, and check that it has what it should, and nothing else."""
        await_true(self._is_whole, 60)
        self.store.forget_all()
        store.forget_all()
        assert set(self.store.idents()) == expected.keys()
        for ident in expected:
            found, copied = store.find(ident), self.store.find(ident)
            assert found is not None
            assert copied is not None
            assert copied.record == found.record
            with store.open(ident) as file, self.store.open(ident) as copy:
                assert file.read() == copy.read()
            assert [*self.store.names(ident)] == [*store.names(ident)]
            for name in store.names(ident):
                assert self.store.kept(ident, name) == store.kept(ident, name)
        _require_no_other_objects(self._bucket, expected)

    def _is_whole(self) -> bool:
        Replicated(self._replication).sweep()
        for ident in {note.ident for note in self._outbox.notes(10**6)}:
            self._replication.copy(ident)
        self._replication.sweep()
        return not self._outbox.notes(1)


def _require_no_other_objects(bucket: Bucket, expected: dict[str, Job]) -> None:
    for found in bucket.listed():
        first, ident, *inner = found.key.split("/")
        # What is copied at this moment, or soon, is looked at when it is.
        assert first in {"records", "files", "copying"}, found
        if first == "copying":
            continue
        if inner:
            sizes = {size.replace("<", "max") for size in expected[ident].all_sizes}
            assert inner[1:] == ["original"] or inner[2].rpartition(".")[0] in sizes
    lives = [
        found.key.split("/")[1]
        for found in bucket.listed("files")
        if found.key.endswith("/original")
    ]
    assert sorted(lives) == sorted(expected)


def _require_no_other_files(folder: Path, store: UploadFolder, expected: dict[str, Job]) -> None:
    counted = store.count(), store.kept_bytes()
    store.count_anew()
    assert counted >= (len(expected), store.kept_bytes())
    assert counted[1] >= store.kept_bytes()
    for path in folder.glob("incoming/*"):
        os.utime(path, (0, 0))
    store.sweep()
    uploads = replace(UploadsSettings(), unfinished_seconds=0)
    for _ in range(2):  # what is given up is forgotten later
        Unfinished(folder / "unfinished", uploads).sweep()
    for path in filter(Path.is_file, folder.rglob("*")):
        first, *inner = path.relative_to(folder).parts
        if first == "kept":
            sizes = {size.replace("<", "max") for size in expected[inner[1]].all_sizes}
            assert inner[2] in {"original", "record.json"} or inner[2].rpartition(".")[0] in sizes
        else:
            assert path.name in {"locks", "bytes", "uploads", "counted"}, path
