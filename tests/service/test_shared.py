"""Nodes that hold nothing of their own: what one made, the others send, until it is purged."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import images
import pytest
from conftest import ROOT, find
from weeds import BUCKET, S3Server, access_file, needs_weed

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.settings import Settings
from imgprocessor.config.store_settings import MemoryUrl, StoreSettings
from imgprocessor.errors import ConfigurationError, Overloaded
from imgprocessor.load import load_policy
from imgprocessor.parts import direct_renderer, make_delivery, make_purger
from imgprocessor.policy.table import Effort
from imgprocessor.rendering import renditions
from imgprocessor.rendering.check import Check, Checked
from imgprocessor.rendering.job import Job, Rendered, Renderer
from imgprocessor.service.delivery import Answer
from imgprocessor.service.later import make_best, owed
from imgprocessor.service.purge import PurgeRequest
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.configured import make_shared

pytestmark = needs_weed

PICTURE = "name=nasa.jpeg&width=300&bandwidth=4g&dpr=1&formats=avif%2Bwebp%2Bgif"
OTHER = "name=nasa.jpeg&width=200&bandwidth=4g&dpr=1&formats=gif"


class _Counted:
    """Renders in this process, counts, and refuses as it is told."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self.jobs = 0
        self.is_full = False

    def require_place(self) -> None:
        if self.is_full:
            raise Overloaded

    def render(self, job: Job) -> Rendered:
        self.jobs += 1
        return self._renderer.render(job)

    def check(self, job: Check) -> Checked:
        return self._renderer.check(job)


class _Node:
    """A node: a disk cache of its own, and the same originals."""

    def __init__(self, settings: Settings, name: str, effort: Effort = "best") -> None:
        folder = settings.disk_cache.folder / name
        self.settings = replace(settings, disk_cache=replace(settings.disk_cache, folder=folder))
        self.rendered = _Counted(direct_renderer(self.settings))
        policy = replace(load_policy(settings), effort=effort)
        self.delivery = make_delivery(
            self.settings, policy=policy, keeps=True, renderer=self.rendered
        )

    def ask(self, query: str = PICTURE) -> Answer:
        answer = self.delivery.answer(find(self.delivery, query))
        self.finish()
        return answer

    def finish(self) -> None:
        """Wait until what it made is shared."""
        self.delivery._renditions.finish()  # noqa: SLF001 - nobody waits for it otherwise

    def purge(self, wanted: PurgeRequest, *, local: bool = False) -> dict[str, str]:
        return make_purger(self.settings, self.delivery).purge(wanted, local=local).failed


@dataclass
class _Place:
    settings: Settings
    bucket: Bucket
    server: S3Server

    def node(self, name: str, effort: Effort = "best") -> _Node:
        return _Node(self.settings, name, effort)


@pytest.fixture
def shared(settings: Settings, s3_server: S3Server, tmp_path: Path) -> _Place:
    """Settings of nodes that share a place in a bucket."""
    key_file = tmp_path / "store.key"
    key_file.touch(mode=0o600)
    key_file.write_text("0123456789abcdef" * 2)
    url = BucketUrl("s3", BUCKET, tmp_path.name)
    buckets = access_file(tmp_path, s3_server.access())
    store = StoreSettings(bucket=url, key_file=key_file)
    return _Place(replace(settings, buckets=buckets, store=store), Bucket(url, buckets), s3_server)


def test_what_one_node_made_another_one_sends_and_keeps(shared: _Place) -> None:
    first, second = shared.node("first"), shared.node("second")
    made = first.ask()

    sent, repeated = second.ask(), second.ask()

    assert (made.source, sent.source, repeated.source) == ("original", "shared", "store")
    assert made.rendition == sent.rendition == repeated.rendition
    assert made.etag == sent.etag
    assert second.rendered.jobs == 0
    assert images.decoded(sent.rendition.body).size == (300, 200)


def test_what_another_one_has_is_sent_where_there_is_too_much_to_do(shared: _Place) -> None:
    first, second = shared.node("first"), shared.node("second")
    first.ask()
    second.rendered.is_full = True

    assert second.ask().source == "shared"
    with pytest.raises(Overloaded):
        second.ask(OTHER)


def test_another_version_of_the_original_is_another_picture(
    shared: _Place, originals: Path
) -> None:
    first, second = shared.node("first"), shared.node("second")
    made = first.ask()

    images.save(originals / "nasa.jpeg", images.texture((900, 600)), "JPEG", quality=92)

    assert second.ask().source == "original"
    assert second.ask().rendition.body != made.rendition.body


@pytest.mark.parametrize(
    "wanted",
    [PurgeRequest(names=["nasa.jpeg"]), PurgeRequest(everything=True), None],
    ids=["name", "all", "imagekey"],
)
def test_what_is_purged_no_node_sends(shared: _Place, wanted: PurgeRequest | None) -> None:
    first, second, third = (shared.node(name) for name in ("first", "second", "third"))
    key = first.ask().found.planned.imagekey
    second.ask()

    assert first.purge(wanted or PurgeRequest(imagekeys=[key])) == {}
    # What `first` asks `second` for by HTTP.
    second.purge(wanted or PurgeRequest(imagekeys=[key]), local=True)

    assert [node.ask().source for node in (second, third)] == ["original", "shared"]


def test_what_was_begun_before_a_purge_is_shared_by_nobody(shared: _Place) -> None:
    first, second = shared.node("first"), shared.node("second")
    found = find(first.delivery, PICTURE)
    found, none = first.delivery.looked_for_elsewhere(found)
    assert none is None
    answer = first.delivery.render(found)

    second.purge(PurgeRequest(names=["nasa.jpeg"]))
    first.delivery.keep(answer)
    first.finish()

    assert second.ask().source == "original"


def test_what_was_found_before_a_purge_here_and_looked_for_after_it_is_not_shared(
    shared: _Place,
) -> None:
    first, second = shared.node("first"), shared.node("second")
    found = find(first.delivery, PICTURE)
    first.purge(PurgeRequest(names=["nasa.jpeg"]))

    first.delivery.answer(found)
    first.finish()

    assert second.ask().source == "original"


def test_a_node_that_has_not_heard_of_a_purge_yet_shares_nothing_from_before(
    shared: _Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks when the first mark is another one already, and before it is told."""
    first, second = shared.node("first"), shared.node("second")
    found = find(second.delivery, PICTURE)
    looked = []
    purge = first.delivery.purge

    def meanwhile(name: str) -> int:
        looked.append(second.delivery.looked_for_elsewhere(found))
        return purge(name)

    monkeypatch.setattr(first.delivery, "purge", meanwhile)
    first.purge(PurgeRequest(names=["nasa.jpeg"]))
    ((found, none),) = looked
    assert none is None
    second.delivery.keep(second.delivery.render(found))
    second.finish()

    assert shared.node("third").ask().source == "original"


def test_while_nodes_are_told_one_by_one_none_learns_the_old_picture_from_another(
    shared: _Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`third` was told already; `second`, which was not, makes it anew from what it has."""
    first, second, third = (shared.node(name) for name in ("first", "second", "third"))
    wanted = PurgeRequest(names=["nasa.jpeg"])
    purge = first.delivery.purge

    def meanwhile(name: str) -> int:
        third.purge(wanted, local=True)
        second.ask()
        assert third.ask().source == "original"
        second.purge(wanted, local=True)
        return purge(name)

    monkeypatch.setattr(first.delivery, "purge", meanwhile)
    first.purge(wanted)

    assert shared.node("fourth").ask().source == "original"
    (entry,) = shared.bucket.listed("renditions")
    assert entry.version.size_bytes > 0


def test_what_is_purged_is_removed_from_the_bucket(shared: _Place) -> None:
    node = shared.node("first")
    node.ask()
    node.ask(OTHER)
    assert len(list(shared.bucket.listed("renditions"))) == 2

    assert node.purge(PurgeRequest(names=["nasa.jpeg"])) == {}

    assert list(shared.bucket.listed("renditions")) == []


def test_the_best_is_made_once_for_all_nodes(shared: _Place) -> None:
    first, second = (shared.node(name, "behind") for name in ("first", "second"))
    for node in (first, second):
        node.delivery.work_later(lambda _: None)
    quick = [node.ask() for node in (first, second)]
    assert [answer.is_quick for answer in quick] == [True, True]
    assert second.rendered.jobs == 1, "what is to be replaced soon is not shared"

    outcomes = []
    for node, answer in zip((first, second), quick, strict=True):
        outcomes.append(make_best(node.delivery, owed(answer)))
        node.finish()

    assert outcomes == ["made", "shared"]
    assert second.rendered.jobs == 1
    best = second.ask()
    assert (best.is_quick, best.source) == (False, "store")
    assert best.rendition == first.ask().rendition


def test_nodes_of_different_policies_share_what_is_the_same_for_both(
    shared: _Place, tmp_path: Path
) -> None:
    text = (ROOT / "conf/policy.ini").read_text()
    other = tmp_path / "other.ini"
    assert "= 1920px q78\n" in text
    other.write_text(text.replace("= 1920px q78\n", "= 1920px q31\n"))
    policy = replace(shared.settings.policy, file=other)
    first, second = shared.node("first"), _Node(replace(shared.settings, policy=policy), "second")
    same = "name=nasa.jpeg&screen=phone&bandwidth=4g&dpr=1&formats=gif"
    differs = "name=nasa.jpeg&screen=desktop&bandwidth=4g&dpr=1&formats=gif"
    for query in (same, differs):
        first.ask(query)

    assert [second.ask(query).source for query in (same, differs)] == ["shared", "original"]


def test_nodes_of_different_versions_share_nothing_that_the_other_could_not_read(
    shared: _Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = shared.node("first"), shared.node("second")
    with monkeypatch.context() as newer:
        newer.setattr(renditions, "_WRITTEN_AS", f"{renditions._WRITTEN_AS}+more")  # noqa: SLF001
        first.ask()

    assert second.ask().source == "original"


def test_a_forged_entry_is_made_anew(shared: _Place) -> None:
    first, second = shared.node("first"), shared.node("second")
    made = first.ask()
    (entry,) = shared.bucket.listed("renditions")
    forged = shared.bucket.get(entry.key, max_bytes=10**7)
    assert forged is not None
    shared.bucket.put(entry.key, forged.body.replace(b'"avif"', b'"jpeg"'))

    sent = second.ask()

    assert (sent.source, sent.rendition.format) == ("original", made.rendition.format)


def test_a_bucket_that_is_dead_costs_no_answer(shared: _Place, tmp_path: Path) -> None:
    access_file(tmp_path, shared.server.access(endpoint="http://127.0.0.1:1"))
    node = shared.node("first")

    assert node.ask().source == "original"
    assert node.ask().source == "store"
    (failed,) = node.purge(PurgeRequest(names=["nasa.jpeg"])).items()
    assert failed == ("bucket", f"{shared.settings.store.bucket}: it cannot be connected to")


def test_a_purge_goes_on_here_where_the_bucket_is_dead(shared: _Place, tmp_path: Path) -> None:
    access_file(tmp_path, shared.server.access(endpoint="http://127.0.0.1:1"))
    node = shared.node("first")
    node.ask()

    node.purge(PurgeRequest(names=["nasa.jpeg"]))

    assert node.delivery.kept(find(node.delivery, PICTURE)) is None


@pytest.mark.parametrize(
    ("store", "wrong"),
    [
        ({"key_file": None}, "key_file must be set"),
        ({"shared": MemoryUrl("redis://127.0.0.1:6379/0")}, "must not be the Redis server of"),
        ({"shared": MemoryUrl("redis://localhost/1")}, "must not be the Redis server of"),
        ({"bucket": BucketUrl("s3", "unknown")}, r"has no section \[s3://unknown\]"),
    ],
)
def test_what_cannot_be_shared_is_told_at_the_start(
    shared: _Place, store: dict[str, Any], wrong: str
) -> None:
    settings = replace(
        shared.settings,
        store=replace(shared.settings.store, **store),
        jobs=replace(shared.settings.jobs, redis="redis://127.0.0.1:6379/0"),
    )

    with pytest.raises(ConfigurationError, match=wrong):
        make_shared(settings)


def test_nothing_is_shared_where_nothing_says_so(settings: Settings) -> None:
    assert make_shared(settings) is None
    assert settings.buckets == BucketsSettings()
