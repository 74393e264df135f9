"""The one place where parts are made, without the web: for it, and for the command line."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgprocessor.config.buckets import BucketUrl
from imgprocessor.config.secrets import purge_token, signing_keys
from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.errors import ConfigurationError
from imgprocessor.load import load_policy
from imgprocessor.originals.configured import make_plain_files, make_remote, make_roots
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.http.fetch import Fetcher
from imgprocessor.originals.pages import Pages, Previews
from imgprocessor.originals.remote import Remote
from imgprocessor.originals.source import Root, Source
from imgprocessor.originals.uploads import UploadedOriginals
from imgprocessor.policy.table import Policy
from imgprocessor.program import with_extra
from imgprocessor.rendering.admission import Admission
from imgprocessor.rendering.job import DirectRenderer, Renderer
from imgprocessor.rendering.pool import WorkerPool
from imgprocessor.rendering.process import (
    make_disk_cache,
    make_locks,
    make_masters,
    max_job_seconds,
)
from imgprocessor.rendering.quarantine import Quarantine
from imgprocessor.rendering.renditions import Renditions
from imgprocessor.reporting import complain
from imgprocessor.request.signing import Signing
from imgprocessor.request.urls import PORTS
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.full import FullOriginals
from imgprocessor.service.kept_sizes import KeptSizes
from imgprocessor.service.purge import Purger
from imgprocessor.service.sources import Sources
from imgprocessor.service.turns import Turns
from imgprocessor.service.understanding import Understanding
from imgprocessor.service.uploads import Uploads
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.configured import make_shared
from imgprocessor.storage.shared.entries import SharedEntries
from imgprocessor.storage.shared.tier import Count
from imgprocessor.storage.uploads.folder import UploadFolder
from imgprocessor.storage.uploads.moving import TwoPlaces
from imgprocessor.storage.uploads.replication.outbox import OutboxInBucket, OutboxInFolder
from imgprocessor.storage.uploads.replication.replicated import Replicated
from imgprocessor.storage.uploads.replication.replication import Replication
from imgprocessor.storage.uploads.resumable.pieces import UnfinishedUploads
from imgprocessor.storage.uploads.resumable.unfinished import Unfinished
from imgprocessor.storage.uploads.store import UploadStore

if TYPE_CHECKING:  # it needs the extra
    from imgprocessor.storage.uploads.bucket import UploadBucket


def direct_renderer(settings: Settings) -> Renderer:
    """Make what renders in this process, for programs that have no workers."""
    return DirectRenderer(make_masters(settings, keeps=True))


def make_purger(settings: Settings, delivery: Delivery) -> Purger:
    """Make the part that purges.

    Raises:
        ConfigurationError: the token cannot be read, or is wrong, or other nodes want one.
    """
    token = purge_token(settings.purge)
    if settings.purge.nodes and token is None:
        raise ConfigurationError("[purge] token_file must be set where nodes are named")
    return Purger(delivery, settings.purge, token)


def make_signing(settings: Settings) -> Signing | None:
    """Make the part that tells signed links from others; None where none need be signed.

    Raises:
        ConfigurationError: the keys cannot be read, or are wrong.
    """
    keys = signing_keys(settings.signing)
    return Signing(keys) if keys else None


def make_full(
    settings: Settings, roots: Sequence[Root], replication: Replication | None = None
) -> FullOriginals | None:
    """Make the part that knows which originals may be sent as they are; None where none may."""
    wanted = settings.originals.full
    if wanted == "no" or (wanted == "auto" and settings.signing.keys_file is not None):
        return None
    store = upload_store(settings, replication)
    folder = next((root for root in roots if isinstance(root, Folder)), None)
    return FullOriginals(
        Sources({"": _files(roots, store)}), settings.originals, folder=folder, uploads=store
    )


def make_delivery(
    settings: Settings,
    *,
    policy: Policy | None = None,
    keeps: bool = False,
    renderer: Renderer | None = None,
    fetcher: Fetcher | None = None,
    count_shared: Count = lambda _tier, _outcome: None,
    roots: Sequence[Root] | None = None,
    replication: Replication | None = None,
) -> Delivery:
    """Make the part that answers requests, without the web.

    Args:
        settings: with absolute paths.
        policy: where it was read already.
        keeps: whether what is made is kept on disk; a command that runs once has no use for it.
        renderer: what makes renditions; by default this process itself.
        fetcher: what fetches remote originals; by default over the network.
        count_shared: is told what came of asking what nodes share.
        roots: where originals are; by default they are made by the settings.
        replication: what copies uploads, where it is made already.

    Raises:
        ConfigurationError: the policy is wrong, or originals cannot be had.
    """
    disk_cache = settings.disk_cache
    policy = policy or load_policy(settings)
    understanding = Understanding(policy, settings.remote.hosts, settings.pixels)
    store = upload_store(settings, replication)
    if roots is None:
        roots = make_roots(settings, keeps=keeps)
    masters = make_masters(settings, keeps=keeps)
    renditions = make_disk_cache(
        disk_cache, "renditions", disk_cache.max_renditions_bytes if keeps else 0
    )
    shared = make_shared(settings, count_shared) if keeps else None
    previews = Previews(_pages(settings, shared, keeps=keeps))
    return Delivery(
        policy=policy,
        sources=Sources(
            _sources(roots, store, make_remote(settings, fetcher, keeps=keeps)), previews.pages
        ),
        understanding=understanding,
        kept_sizes=None if store is None else KeptSizes(store, understanding.plan, policy),
        masters=masters,
        renderer=renderer or DirectRenderer(masters),
        renditions=Renditions(renditions, shared),
        generations=Generations(disk_cache.folder),
        locks=make_locks(disk_cache, keeps=keeps),
        cheaper_when_overloaded=settings.rendering.cheaper_when_overloaded,
        single_flight_seconds=settings.rendering.single_flight_seconds,
        previews=previews,
    )


def _pages(settings: Settings, shared: SharedEntries | None, *, keeps: bool) -> Pages | None:
    """Make what has pages of documents; None where none are shown.

    Raises:
        ConfigurationError: there are no workers to draw them.
    """
    if not settings.previews.enabled:
        return None
    require_workers_for_documents(settings)
    files = make_plain_files(settings, keeps=keeps)
    # Where pages are: workers with disk caches of their own may share them, and each is drawn once.
    folder = settings.remote.folder
    locks = Locks(folder / "locks" if keeps else Path(os.devnull))
    kinds, side_pixels = settings.previews.kinds, settings.previews.side_pixels
    return Pages(files, locks, kinds, Generations(folder), shared, side_pixels=side_pixels)


def require_workers_for_documents(settings: Settings) -> None:
    """Require that there are workers to draw documents, and time for one.

    Raises:
        ConfigurationError: there are none by these settings.
    """
    jobs, seconds = settings.jobs, settings.previews.document_seconds
    if not (jobs.enabled and jobs.redis and settings.uploads.enabled):
        wrong = "[uploads] and [jobs] enabled must be yes, and [jobs] redis be set"
        raise ConfigurationError(f"[previews] enabled: {wrong}: workers draw documents")
    if seconds >= jobs.job_seconds:
        wrong = f"must be less than [jobs] job_seconds, {jobs.job_seconds}"
        raise ConfigurationError(f"[previews] document_seconds = {seconds}: {wrong}")


def _sources(
    roots: Sequence[Root], store: UploadStore | None, remote: Remote | None
) -> dict[str, Sequence[Source]]:
    sources: dict[str, Sequence[Source]] = {"": _files(roots, store)}
    if remote is not None:
        sources |= dict.fromkeys(PORTS, (remote,))
    return sources


def _files(roots: Sequence[Root], store: UploadStore | None) -> Sequence[Source]:
    """Return the sources of names. Uploads come behind folders and before buckets: each would cost
    a request, and be lost with a bucket that has nothing to do with it.
    """
    if store is None:
        return roots
    first = next((n for n, root in enumerate(roots) if not isinstance(root, Folder)), len(roots))
    return [*roots[:first], UploadedOriginals(store), *roots[first:]]


def upload_store(settings: Settings, replication: Replication | None = None) -> UploadStore | None:
    """Make the part that keeps uploads, and has them copied by `replication` if there is a replica;
    None where there are none.

    Raises:
        ConfigurationError: nothing says how their bucket is reached.
    """
    replication = replication or make_replication(settings)
    return first_upload_store(settings) if replication is None else Replicated(replication)


def make_replication(settings: Settings) -> Replication | None:
    """Make the part that copies uploads; None where nothing is copied. Raises as `upload_store`
    does.
    """
    url, uploads = settings.replica.url, settings.uploads
    first = None if url is None else first_upload_store(settings)
    if url is None or first is None:
        return None
    with with_extra("buckets", "[replica] url"):
        from imgprocessor.storage.shared.bucket import Bucket  # noqa: PLC0415
        from imgprocessor.storage.uploads.replication.copying import Copier  # noqa: PLC0415
    replica = _upload_bucket(settings, url, uploads.folder / "replica")
    here = OutboxInFolder(uploads.folder)
    return Replication(
        first,
        replica,
        Copier(first, replica, settings.buckets),
        here
        if uploads.bucket is None
        else OutboxInBucket(Bucket(uploads.bucket, settings.buckets)),
        unsent=None if uploads.bucket is None else here,
        folder=uploads.folder / "replica" / "copying",
        complain=complain,
    )


def first_upload_store(settings: Settings) -> UploadStore | None:
    """Make the same without a replica: what is kept where uploads are. Raises as `upload_store`
    does.
    """
    uploads = settings.uploads
    if not uploads.enabled:
        return None
    if uploads.bucket is None:
        return upload_folder(uploads)
    return TwoPlaces(
        upload_folder(uploads), _upload_bucket(settings, uploads.bucket, uploads.folder)
    )


def _upload_bucket(settings: Settings, url: BucketUrl, folder: Path) -> "UploadBucket":
    with with_extra("buckets", "[uploads] bucket"):
        from imgprocessor.storage.uploads.bucket import UploadBucket  # noqa: PLC0415
    store = UploadBucket(
        url,
        settings.buckets,
        folder,
        PlainFiles(
            folder / "copies",
            max_bytes=settings.remote.max_kept_bytes,
            min_free_percent=settings.disk_cache.min_free_percent,
            complain=complain,
        ),
        min_free_bytes=settings.uploads.min_free_bytes,
        max_stale_seconds=settings.remote.max_stale_seconds,
    )
    store.check()
    return store


def upload_folder(uploads: UploadsSettings) -> UploadFolder:
    """Make the part that keeps uploads on this node's disk."""
    return UploadFolder(
        uploads.folder,
        max_uploads=uploads.max_uploads,
        max_bytes=uploads.max_kept_bytes,
        min_free_bytes=uploads.min_free_bytes,
    )


def make_unfinished(settings: Settings) -> UnfinishedUploads:
    """Make the part that keeps uploads which arrive in pieces. Raises as `upload_store` does."""
    uploads = settings.uploads
    folder = uploads.folder / "unfinished"
    if uploads.bucket is None:
        return Unfinished(folder, uploads)
    with with_extra("buckets", "[uploads] bucket"):
        from imgprocessor.storage.shared.bucket import Bucket  # noqa: PLC0415
        from imgprocessor.storage.uploads.resumable.unfinished_bucket import (  # noqa: PLC0415
            INFO_SECONDS,
            PIECE_SECONDS,
            UnfinishedInBucket,
        )
    small, large = (
        Bucket(uploads.bucket, settings.buckets, total_seconds=seconds)
        for seconds in (INFO_SECONDS, PIECE_SECONDS)
    )
    small.check()
    return UnfinishedInBucket(small, large, folder, uploads)


def make_uploads(
    settings: Settings,
    delivery: Delivery,
    renderer: Renderer,
    policy: Policy,
    replication: Replication | None = None,
) -> Uploads | None:
    """Make the part that takes uploads, and has them copied by `replication`; None where none are
    taken.

    Raises:
        ConfigurationError: as `make_purger` does.
    """
    store = upload_store(settings, replication)
    if store is None:
        return None
    if settings.uploads.max_bytes > settings.originals.max_bytes:
        raise ConfigurationError(
            "[uploads] max_bytes must be no more than [originals] max_bytes, or what is taken"
            " could not be shown"
        )
    return Uploads(
        store,
        settings.uploads,
        delivery=delivery,
        kept_sizes=KeptSizes(store, delivery.plan, policy),
        renderer=renderer,
        purger=make_purger(settings, delivery),
        locks=make_locks(settings.disk_cache),
        turns=make_turns(settings, renderer),
        documents=settings.previews.kinds if settings.previews.enabled else (),
    )


def make_turns(settings: Settings, renderer: Renderer) -> Turns:
    """Make what keeps half of the workers free for visitors who come meanwhile."""
    workers = processes(settings)

    def has_idle() -> bool:
        return not isinstance(renderer, WorkerPool) or renderer.taken_places() < workers

    progress = settings.disk_cache.folder / "turns"
    locks = make_locks(settings.disk_cache)
    return Turns(locks, max(1, workers // 2), progress, has_idle=has_idle)


def processes(settings: Settings) -> int:
    """Return how many workers there are."""
    return settings.rendering.workers or len(os.sched_getaffinity(0))


def make_pool(settings: Settings, folder: Path) -> WorkerPool:
    """Make the way to the workers."""
    return WorkerPool(
        folder,
        Admission(Locks(folder / "locks"), max_jobs(settings)),
        Quarantine(folder / "quarantine", settings.rendering.quarantine_seconds),
        wait_seconds=settings.rendering.worker_wait_seconds,
        answer_seconds=max_job_seconds(settings.rendering),
    )


def max_jobs(settings: Settings) -> int:
    """Return how many jobs may be rendered or wait for that."""
    return processes(settings) * (1 + settings.rendering.max_waiting_per_worker)
