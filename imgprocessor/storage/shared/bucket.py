"""A bucket: objects by key, each failure an OSError that says what is wrong.

Wherever a key may not be one (S3 has objects of names that no path has), there is no such object.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

if TYPE_CHECKING:  # obstore has these for types alone
    from obstore import GetOptions, ObjectMeta, PutMode
    from obstore.store import ClientConfig, RetryConfig

from imgprocessor.config.bucket_access import BucketAccess, bucket_access
from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.storage.shared.failures import (
    BucketFailed,
    Conflict,
    ObjectTooLarge,
    Refused,
    failed,
)

_CONNECT_SECONDS = 2.0
_PAGE = 1000

_Result = TypeVar("_Result")


class ObjectVersion(NamedTuple):
    """Which bytes an object has."""

    etag: str
    """What changes with them: of an object that was put in parts no checksum of anything."""
    size_bytes: int
    modified_seconds: float
    """Since 1970, by the bucket's clock."""


class StoredObject(NamedTuple):
    """An object, as a listing has it."""

    key: str
    """In the place, which is without its prefix."""
    version: ObjectVersion


class Content(NamedTuple):
    """An object's bytes."""

    body: bytes
    version: ObjectVersion


class Bucket:
    """A place in a bucket. Threads may share it; another process has a client of its own. No
    process that has used one may be forked: its client's threads are not there in the other.
    """

    def __init__(
        self, url: BucketUrl, settings: BucketsSettings, *, total_seconds: float = 10.0
    ) -> None:
        """Use a place; no request takes longer than `total_seconds`, its body included."""
        self.url = url
        self._settings = settings
        self._seconds = total_seconds
        self._making = threading.Lock()
        self._made: tuple[BucketAccess, ObjectStore] | None = None

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        """Another process has a client of its own."""
        return partial(type(self), self.url, self._settings, total_seconds=self._seconds), ()

    def check(self) -> None:
        """Look whether requests can be made, and make none.

        Raises:
            ConfigurationError: they cannot.
        """
        self._client()

    def get(self, key: str, *, max_bytes: int, unless: str | None = None) -> Content | None:
        """Return an object; None where its ETag is `unless`.

        Raises:
            FileNotFoundError: there is none.
            ObjectTooLarge: it has more bytes.
            BucketFailed: it cannot be had.
        """
        options: GetOptions = {} if unless is None else {"if_none_match": unless}

        def ask(client: ObjectStore) -> Content | None:
            try:
                got = obstore.get(client, self._path(key), options=options)
            except exceptions.NotModifiedError:
                return None
            version = _version(got.meta)
            if version.size_bytes > max_bytes:
                raise ObjectTooLarge(f"{self.url}/{key} has {version.size_bytes} bytes")
            return Content(bytes(got.bytes()), version)

        return self._asked(key, ask)

    def put(self, key: str, body: bytes, *, instead_of: str | None = None) -> str:
        """Keep an object, whatever is there; with `instead_of` only where that ETag is. Return the
        new one.

        Raises:
            Conflict: something else is there, or nothing.
            BucketFailed: it is not kept, or nobody knows.
        """
        return self._put(key, body, "overwrite" if instead_of is None else {"e_tag": instead_of})

    def put_new(self, key: str, body: bytes) -> str:
        """Keep an object where there is none; return its ETag.

        Raises:
            Conflict: there is one.
            BucketFailed: it is not kept, or nobody knows.
        """
        return self._put(key, body, "create")

    def remove(self, key: str) -> None:
        """Remove an object, be it there or not.

        Raises:
            BucketFailed: it may be there still.
        """
        with contextlib.suppress(FileNotFoundError):
            self._asked(key, lambda client: obstore.delete(client, self._path(key)))

    def listed(self, folder: str = "", *, after: str = "") -> Iterator[StoredObject]:
        """Yield all objects in a folder and in those in it, in the order of their keys: those that
        come after a key. What has no bytes is left out: it may be a folder's marker.

        Raises:
            BucketFailed: they cannot be listed.
        """
        pages = self._asked(
            folder,
            lambda client: iter(
                obstore.list(
                    client,
                    self._folder(folder),
                    offset=self._path(after) if after else None,
                    chunk_size=_PAGE,
                )
            ),
        )
        while True:
            page = self._asked(folder, lambda _: next(pages, None))
            if page is None:
                return
            yield from self._with_bytes(page)

    def folder(self, folder: str = "") -> tuple[list[str], list[StoredObject]]:
        """Return the names of the folders that are in a folder, and the objects in it.

        Raises:
            BucketFailed: they cannot be listed.
        """
        found = self._asked(
            folder, lambda client: obstore.list_with_delimiter(client, self._folder(folder))
        )
        folders = [path.rpartition("/")[2] for path in found["common_prefixes"]]
        return folders, list(self._with_bytes(found["objects"]))

    def _put(self, key: str, body: bytes, mode: "PutMode") -> str:
        done = self._asked(
            key,
            lambda client: obstore.put(
                client, self._path(key), body, mode=mode, use_multipart=False
            ),
        )
        return done["e_tag"] or ""

    def _with_bytes(self, found: "Iterable[ObjectMeta]") -> Iterator[StoredObject]:
        for one in found:
            if one["size"]:
                yield StoredObject(self._key(one["path"]), _version(one))

    def _path(self, key: str) -> str:
        """Return a key in the whole bucket.

        Raises:
            ValueError: it is none; obstore says the same of others.
        """
        if not key or key.startswith("/") or key.endswith("/"):  # which obstore would take off
            raise ValueError("a key must not begin or end with a slash")
        return f"{self.url.prefix}/{key}" if self.url.prefix else key

    def _folder(self, folder: str) -> str | None:
        return self._path(folder) if folder else self.url.prefix or None

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self.url.prefix}/") if self.url.prefix else path

    def _asked(self, key: str, ask: Callable[[ObjectStore], _Result]) -> _Result:
        """Ask; once more with other credentials, where these are refused and the file has others
        by now.
        """
        client = self._client()
        try:
            return self._told(key, client, ask)
        except Refused:
            renewed = self._client(instead_of=client)
            if renewed is client:
                raise
        return self._told(key, renewed, ask)

    def _told(
        self, key: str, client: ObjectStore, ask: Callable[[ObjectStore], _Result]
    ) -> _Result:
        """Ask, and raise what this module's callers know."""
        where = f"{self.url}/{key}"
        try:
            return ask(client)
        except ValueError as error:  # or UnicodeEncodeError
            raise FileNotFoundError(f"{where!a}: no object may be called so") from error
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise BucketFailed(f"{self.url.root}: there is no such bucket") from error
            raise FileNotFoundError(f"{where}: there is no such object") from error
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
            raise Conflict(f"{where}: somebody else was there first") from error
        except exceptions.BaseError as error:
            raise failed(where, str(error)) from error

    def _client(self, *, instead_of: ObjectStore | None = None) -> ObjectStore:
        with self._making:
            if self._made is None or self._made[1] is instead_of:
                access = bucket_access(self._settings, self.url)
                if self._made is None or access != self._made[0]:
                    self._made = access, _new_client(self.url, access, self._seconds)
            return self._made[1]


def _new_client(url: BucketUrl, access: BucketAccess, seconds: float) -> ObjectStore:
    options: ClientConfig = {
        "timeout": timedelta(seconds=seconds),
        "connect_timeout": timedelta(seconds=min(_CONNECT_SECONDS, seconds)),
        "allow_http": (access.endpoint or "").startswith("http:"),
        "user_agent": "imgprocessor",
    }
    # What is asked for again is decided here, where it is known how long anybody waits.
    retry: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=seconds)}
    given = {
        known.name: getattr(access, known.name)
        for known in fields(access)
        if getattr(access, known.name) not in (None, False)
    }
    for ours, theirs in _NAMES[url.scheme].items():
        if ours in given:
            given[theirs] = given.pop(ours)
    given.pop("use_instance_role", None)
    kind = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[url.scheme]
    made: ObjectStore = kind(url.bucket, **given, client_options=options, retry_config=retry)
    return made


def _version(found: "ObjectMeta") -> ObjectVersion:
    etag = found["e_tag"] or found["version"] or ""
    return ObjectVersion(etag, found["size"], found["last_modified"].timestamp())


_NAMES = {
    "s3": {"is_public": "skip_signature", "virtual_hosted": "virtual_hosted_style_request"},
    "gs": {
        "is_public": "skip_signature",
        "endpoint": "base_url",
        "service_account_file": "service_account",
    },
    "az": {"is_public": "skip_signature"},
}
"""What obstore calls what the file of buckets says, where that is something else."""
