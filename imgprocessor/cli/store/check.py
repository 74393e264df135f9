"""`store check`: whether buckets and memories are as the settings need them, and what is there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgprocessor.cli.options import Files, with_files
from imgprocessor.cli.uploads.place import complain_of, tracked
from imgprocessor.config.buckets import BucketUrl
from imgprocessor.config.secrets import store_keys
from imgprocessor.config.settings import Settings
from imgprocessor.originals.configured import make_bucket, require_folder
from imgprocessor.program import with_extra
from imgprocessor.storage.shared.configured import make_shared
from imgprocessor.storage.shared.signed import Signer

if TYPE_CHECKING:  # they need the extra
    from imgprocessor.storage.shared.bucket import Bucket, StoredObject

_TOTAL_SECONDS = 10.0
_READ_ENTRIES = 200
"""Their signatures are checked; keys are in no order, so the first are as good as any."""


@dataclass(frozen=True)
class Place:
    """A place in a bucket, and what for."""

    url: BucketUrl
    setting: str
    writes: bool = True


@click.command(
    "check", help="Try buckets and memories, and look at what is in them; say what is wrong."
)
@with_files(originals=False)
def check_store(files: Files) -> int:
    """Try all that the settings name. 1 where something is wrong."""
    settings = files.load()
    for root in settings.originals.roots:
        if isinstance(root, Path) and ":" in str(root):  # meant for a place in a bucket, perhaps
            require_folder(root)
    with with_extra("buckets", "[buckets] file"):
        wrong = [_tried(settings, place) for place in bucket_places(settings)]
    shared = make_shared(settings)
    if shared is not None:
        for name, failure in shared.probe().items():
            print(f"[store] {name}: {failure or 'all is well'}")
            wrong.append(bool(failure))
    if settings.store.bucket is not None:
        wrong.append(_looked_through(settings, settings.store.bucket))
    if not wrong:
        print("the settings name no bucket and no memory that nodes share")
    return int(any(wrong))


def bucket_places(settings: Settings) -> Iterator[Place]:
    """Yield the places in buckets that the settings name."""
    for root in settings.originals.roots:
        if isinstance(root, BucketUrl):
            yield Place(root, "[originals] roots", writes=False)
    if settings.store.bucket is not None:
        yield Place(settings.store.bucket, "[store] bucket")
    if settings.uploads.enabled and settings.uploads.bucket is not None:
        yield Place(settings.uploads.bucket, "[uploads] bucket")
    if settings.uploads.enabled and settings.replica.url is not None:
        yield Place(settings.replica.url, "[replica] url")


def _tried(settings: Settings, place: Place) -> bool:
    from imgprocessor.storage.shared.probe import tried  # noqa: PLC0415 - needs the extra

    bucket = make_bucket(settings, place.url, total_seconds=_TOTAL_SECONDS)
    wrong = False
    for step in tried(bucket, writes=place.writes):
        told = step.wrong or f"{step.lacking or 'ok'}, {step.seconds * 1000:.1f} ms"
        print(f"{place.setting} {place.url}: {step.what}: {told}")
        wrong = wrong or bool(step.wrong)
    return wrong


def _looked_through(settings: Settings, url: BucketUrl) -> bool:
    """Tell what entries there are, and whether they are ours."""
    bucket = make_bucket(settings, url.under("renditions"), total_seconds=_TOTAL_SECONDS)
    signer = Signer(store_keys(settings.store))
    count = size_bytes = 0
    strange: list[str] = []
    oldest = newest = 0.0
    left_out: list[str] = []
    try:
        for found in tracked(bucket.listed(left_out=left_out.append), "looking through", None):
            count += 1
            size_bytes += found.version.size_bytes
            modified = found.version.modified_seconds
            oldest, newest = min(oldest or modified, modified), max(newest, modified)
            if count <= _READ_ENTRIES and _is_strange(bucket, signer, found):
                strange.append(found.key)
    except OSError as error:
        complain_of(str(bucket.url), error)
        return True
    for key in left_out:
        complain_of(f"{bucket.url}/{key!a}", "left out: no object may be called so")
    if strange:
        wrong = f"{len(strange)} of {min(count, _READ_ENTRIES)} entries that were looked at"
        wrong += f" nobody with the key signed, such as {strange[0]}: was the key changed?"
        complain_of(str(bucket.url), wrong)
    days = (newest - oldest) / 86_400
    print(f"{bucket.url}: {count} entries, {size_bytes} bytes, written within {days:.1f} days")
    return bool(strange or left_out)


def _is_strange(bucket: "Bucket", signer: Signer, found: "StoredObject") -> bool:
    try:
        got = bucket.get(found.key, max_bytes=found.version.size_bytes)
    except FileNotFoundError:  # it has expired meanwhile
        return False
    name = found.key.rpartition("/")[2]
    return got is not None and signer.read(name, got.body) is None
