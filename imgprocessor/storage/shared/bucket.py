"""A bucket: objects by key, each failure an OSError that says what is wrong.

Wherever a key may not be one (S3 has objects of names that no path has), there is no such object.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

import obstore
from obstore import exceptions
from obstore.store import ObjectStore

if TYPE_CHECKING:  # obstore has these for types alone
    from obstore import GetOptions, GetResult, ObjectMeta, PutMode

from imgprocessor.config.bucket_access import BucketAccess, bucket_access
from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.errors import ConfigurationError
from imgprocessor.storage.shared.clients import new_client
from imgprocessor.storage.shared.failures import (
    MOVED,
    BucketFailed,
    Conflict,
    ObjectTooLarge,
    Refused,
    failed,
    lacks_bucket,
)
from imgprocessor.storage.shared.s3_listing import (
    Asking,
    ListedPage,
    S3Listing,
    may_be_asked_for,
)

_PAGE = 1000

_Result = TypeVar("_Result")

MAX_IN_FOLDER = 250_000
"""Names that a folder has at most, where it is listed by itself: 250 requests."""

_MAX_KEY_BYTES = 1024
"""All of them have keys no longer than that."""

_NOT_FOUND = "status code: 404"
"""In an error of obstore's."""

LeftOut = Callable[[str], None]
"""Is told a key."""


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


class _Client(NamedTuple):
    store: ObjectStore
    listing: S3Listing | None
    """What lists it; None is obstore."""


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
        self._made: tuple[BucketAccess, _Client] | None = None

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        """Another process has a client of its own."""
        return partial(type(self), self.url, self._settings, total_seconds=self._seconds), ()

    def check(self) -> None:
        """Look whether requests can be made, and make none.

        Raises:
            ConfigurationError: they cannot.
        """
        self._configured()

    def get(self, key: str, *, max_bytes: int, unless: str | None = None) -> Content | None:
        """Return an object; None where its ETag is `unless`.

        Raises:
            FileNotFoundError: there is none.
            ObjectTooLarge: it has more bytes.
            BucketFailed: it cannot be had.
        """
        options: GetOptions = {} if unless is None else {"if_none_match": unless}

        def ask(client: _Client) -> Content | None:
            try:
                got = obstore.get(client.store, self._path(key), options=options)
            except exceptions.NotModifiedError as error:
                if unless is None:
                    raise BucketFailed(
                        f"{self.url}/{key}: it answers 304 to no condition"
                    ) from error
                return None
            version = _version(got.meta)
            if version.etag == unless:  # not every server looks
                return None
            if not version.etag:
                raise BucketFailed(
                    f"{self.url}/{key}: its answer has no ETag, so it is no bucket's"
                )
            if version.size_bytes > max_bytes:
                raise ObjectTooLarge(f"{self.url}/{key} has {version.size_bytes} bytes")
            return Content(self._whole(key, got, version.size_bytes), version)

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
            self._asked(key, lambda client: obstore.delete(client.store, self._path(key)))

    def listed(
        self, folder: str = "", *, after: str = "", left_out: LeftOut = lambda _: None
    ) -> Iterator[StoredObject]:
        """Yield all objects in a folder and in those in it, in the order of their keys: those that
        come after a key. What has no bytes is left out: it may be a folder's marker. `left_out` is
        told the key of each other one that cannot be asked for.

        Raises:
            BucketFailed: they cannot be listed.
        """
        if self._client().listing is None:
            yield from self._listed_by_obstore(folder, after)
            return
        for page in self._pages(folder, Asking(after=self._in_bucket(after))):
            yield from self._with_bytes(page, left_out)

    def folder(
        self, folder: str = "", *, left_out: LeftOut = lambda _: None
    ) -> tuple[list[str], list[StoredObject]]:
        """Return the names of the folders that are in a folder, and the objects in it. `left_out`
        is told what cannot be asked for: an object's key, or a folder's with the slash.

        Raises:
            BucketFailed: they cannot be listed.
        """
        if self._client().listing is None:
            return self._folder_by_obstore(folder)
        folders: list[str] = []
        objects: list[StoredObject] = []
        for page in self._pages(folder, Asking(delimiter="/")):
            if len(folders) + len(objects) > MAX_IN_FOLDER:
                wrong = f"there are more than {MAX_IN_FOLDER} names in it"
                raise BucketFailed(f"{self.url}/{folder}: {wrong}")
            objects += self._with_bytes(page, left_out)
            for path in page.folders:
                if may_be_asked_for(path.removesuffix("/")):
                    folders.append(path.removesuffix("/").rpartition("/")[2])
                else:
                    left_out(self._key(path))
        return folders, objects

    def _whole(self, key: str, got: "GetResult", size_bytes: int) -> bytes:
        """Read no more than was said, whatever comes; and no less."""
        body = bytearray()
        for part in got.stream():
            body += part
            if len(body) > size_bytes:
                break
        if len(body) != size_bytes:
            raise BucketFailed(f"{self.url}/{key}: not the {size_bytes} bytes come that it said")
        return bytes(body)

    def _pages(self, folder: str, first: Asking) -> Iterator[ListedPage]:
        asking = first
        while True:
            page = self._asked(folder, partial(self._page, folder, asking))
            yield page
            if not page.following:
                return
            asking = asking._replace(following=page.following)

    def _page(self, folder: str, asking: Asking, client: _Client) -> ListedPage:
        where = f"{self.url}/{folder}"
        if folder and not may_be_asked_for(folder):
            raise ValueError("no folder of objects that may be asked for")
        if client.listing is None:
            raise BucketFailed(f"{where}: it is reached in another way than when the listing began")
        prefix = self._in_bucket(f"{folder}/" if folder else "")
        return client.listing.page(where, prefix, asking)

    def _listed_by_obstore(self, folder: str, after: str) -> Iterator[StoredObject]:
        offset = self._path(after) if after else None
        pages = self._asked(
            folder,
            lambda client: iter(
                obstore.list(client.store, self._folder(folder), offset=offset, chunk_size=_PAGE)
            ),
        )
        while True:
            page = self._asked(folder, lambda _: self._no_odd_key(lambda: next(pages, None)))
            if page is None:
                return
            # Azure and others begin from the first one all the same.
            yield from (one for one in self._stored(page) if one.key.encode() > after.encode())

    def _folder_by_obstore(self, folder: str) -> tuple[list[str], list[StoredObject]]:
        found = self._asked(
            folder,
            lambda client: self._no_odd_key(
                lambda: obstore.list_with_delimiter(client.store, self._folder(folder))
            ),
        )
        folders = [path.rpartition("/")[2] for path in found["common_prefixes"]]
        return folders, list(self._stored(found["objects"]))

    def _no_odd_key(self, listed: Callable[[], _Result]) -> _Result:
        """List by obstore, which fails over a key that is no path; say so.

        Raises:
            BucketFailed: there is one.
        """
        try:
            return listed()
        except (ValueError, exceptions.BaseError) as error:
            odd = re.search('Error parsing Path "(.*?)": Encountered', str(error), re.DOTALL)
            if odd is None:
                raise
            wrong = f"the object {odd[1]!a} makes the listing fail: no object may be called so"
            raise BucketFailed(f"{self.url.root}: {wrong}") from error

    def _put(self, key: str, body: bytes, mode: "PutMode") -> str:
        def ask(client: _Client) -> str:
            path = self._path(key)
            try:
                done = obstore.put(client.store, path, body, mode=mode, use_multipart=False)
            except FileNotFoundError as error:  # so there is no bucket, or what is no bucket
                raise failed(f"{self.url}/{key}", str(error)) from error
            return _quoted(done["e_tag"] or "")

        return self._asked(key, ask)

    def _with_bytes(self, page: ListedPage, left_out: LeftOut) -> Iterator[StoredObject]:
        for one in page.keys:
            key = self._key(one.key)
            if one.size_bytes and may_be_asked_for(one.key):
                version = ObjectVersion(_quoted(one.etag), one.size_bytes, one.modified_seconds)
                yield StoredObject(key, version)
            elif one.size_bytes:
                left_out(key)

    def _stored(self, found: "Iterable[ObjectMeta]") -> Iterator[StoredObject]:
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
        path = self._in_bucket(key)
        if len(path.encode()) > _MAX_KEY_BYTES:
            raise ValueError(f"a key must have no more than {_MAX_KEY_BYTES} bytes")
        return path

    def _in_bucket(self, key: str) -> str:
        return f"{self.url.prefix}/{key}".removeprefix("/")

    def _folder(self, folder: str) -> str | None:
        return self._path(folder) if folder else self.url.prefix or None

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self.url.prefix}/") if self.url.prefix else path

    def _asked(self, key: str, ask: Callable[[_Client], _Result]) -> _Result:
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

    def _told(self, key: str, client: _Client, ask: Callable[[_Client], _Result]) -> _Result:
        """Ask, and raise what this module's callers know."""
        where = f"{self.url}/{key}"
        try:
            return ask(client)
        except ValueError as error:  # or UnicodeEncodeError
            raise FileNotFoundError(f"{where!a}: no object may be called so") from error
        except FileNotFoundError as error:
            if lacks_bucket(str(error)):
                raise failed(where, str(error)) from error
            raise FileNotFoundError(f"{where}: there is no such object") from error
        except exceptions.PreconditionError as error:
            if _NOT_FOUND in str(error) and not lacks_bucket(str(error)):
                raise Conflict(f"{where}: nothing is there any more") from error
            raise failed(where, str(error)) from error
        except exceptions.BaseError as error:
            if MOVED in str(error) and client.listing is not None:
                client.listing.page(where, "", Asking())  # which fails, too, and says where it is
            raise failed(where, str(error)) from error

    def _client(self, *, instead_of: _Client | None = None) -> _Client:
        try:
            return self._configured(instead_of)
        except ConfigurationError as error:  # what was right at the start is so no more
            raise Refused(f"{self.url}: {error}") from error

    def _configured(self, instead_of: _Client | None = None) -> _Client:
        with self._making:
            if self._made is None or self._made[1] is instead_of:
                access = bucket_access(self._settings, self.url)
                if self._made is None or access != self._made[0]:
                    self._made = access, self._new_client(access)
            return self._made[1]

    def _new_client(self, access: BucketAccess) -> _Client:
        is_ours = self.url.scheme == "s3" and not access.use_instance_role
        return _Client(
            new_client(self.url, access, self._seconds),
            S3Listing(self.url, access, self._seconds) if is_ours else None,
        )


def _version(found: "ObjectMeta") -> ObjectVersion:
    etag = found["e_tag"] or found["version"] or ""
    return ObjectVersion(_quoted(etag), found["size"], found["last_modified"].timestamp())


def _quoted(etag: str) -> str:
    """Return an ETag as headers have it: some listings have it without the quotes."""
    return f'"{etag}"' if etag and not etag.endswith('"') else etag
