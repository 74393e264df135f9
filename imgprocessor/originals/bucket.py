"""Originals in a bucket: found by key, copied here before they are used, and listed."""

import errno
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import BinaryIO

from imgprocessor.errors import (
    NotFound,
    OriginalsUnavailable,
    OversizedOriginal,
)
from imgprocessor.originals.remote import QUICK_SECONDS, Remote
from imgprocessor.originals.source import (
    NOT_SHOWN,
    Address,
    CopyRecord,
    FetchedCopy,
    FolderState,
    HostDown,
    Listed,
    Original,
)
from imgprocessor.request.names import forms, is_name
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.failures import (
    BucketFailed,
    Denied,
    ObjectTooLarge,
    Refused,
    TooSlow,
    Unreachable,
)

_MAX_SLOW = 3
"""So many answers after each other that were too late, and the bucket counts as down: one alone may
be a large object.
"""

_OTHER_FORMS_SECONDS = 2.0
"""Where so long went by, a name is not looked for in other forms."""

_LISTED_SECONDS = 60
"""A folder is not looked at again for so long: each thousand names cost a request."""

_LOOKED_SECONDS = 5
"""Whether the bucket answers is not asked again for so long."""

_MAX_REMEMBERED = 4096
"""Folders of which it is known whether they are closed."""


class BucketFetcher:
    """Fetches originals from a place in a bucket."""

    waits = True

    def __init__(
        self,
        bucket: Bucket,
        quick: Bucket,
        *,
        max_bytes: int,
        fresh_seconds: float,
        missing_seconds: float,
        complain: Callable[[str], None],
    ) -> None:
        """Use a place.

        Args:
            bucket: the place.
            quick: the same, and it does not wait for an answer as long.
            max_bytes: no original may have more.
            fresh_seconds: how long what came is not asked for again.
            missing_seconds: how long what is not there is not.
            complain: told what the bucket fails with.
        """
        self._bucket = bucket
        self._quick = quick
        self._max_bytes = max_bytes
        self._complain = complain
        self._fresh_seconds = fresh_seconds
        self.missing_seconds = missing_seconds
        self._slow = 0

    def copy(self, address: Address, known: CopyRecord | None, *, seconds: float) -> FetchedCopy:
        """Fetch an original as `CopyFetcher.copy` does.

        Raises:
            HostDown: the bucket cannot be reached, or refuses everything.
            NotFound: there is no such object, or nobody says so who may not list the bucket.
            OversizedOriginal: it has too many bytes.
            OriginalsUnavailable: it cannot be had.
        """
        key = address.id.removeprefix(f"{self._bucket.url}/")
        unless = (known.etag or None) if known else None
        try:
            bucket = self._quick if seconds <= QUICK_SECONDS else self._bucket
            came = bucket.get(key, max_bytes=self._max_bytes, unless=unless)
        except FileNotFoundError as error:
            raise NotFound(str(error)) from error
        except Denied as error:
            wrong = "it is not there, or may not be read: who may not list a bucket is not told"
            raise NotFound(f"{error}: {wrong}") from error
        except ObjectTooLarge as error:
            limit = f"over [originals] max_bytes = {self._max_bytes}"
            raise OversizedOriginal(f"{error}, {limit}") from error
        except BucketFailed as error:
            raise self._failed(address, error) from error
        self._slow = 0
        if came is None:
            return FetchedCopy(address.id, None, self._fresh_seconds)
        if not came.body:
            raise NotFound(f"{address.id} has no bytes: it may be the marker of a folder")
        version = came.version
        return FetchedCopy(
            address.id,
            came.body,
            self._fresh_seconds,
            etag=version.etag,
            modified_ns=int(version.modified_seconds * 1_000_000_000),
        )

    def _failed(self, address: Address, error: Exception) -> Exception:
        wrong = OriginalsUnavailable(str(error))
        self._complain(str(error).replace(address.id, str(self._bucket.url)))
        self._slow = self._slow + 1 if isinstance(error, TooSlow) else 0
        is_down = isinstance(error, Unreachable | Refused)
        if is_down or self._slow >= _MAX_SLOW:
            return HostDown(address.origin, wrong)
        return wrong


class BucketOriginals:
    """A place in a bucket as a source: a name is a key in it, as it is or composed otherwise."""

    def __init__(
        self, bucket: Bucket, quick: Bucket, copies: Remote, complain: Callable[[str], None]
    ) -> None:
        """Use a place.

        Args:
            bucket: the place.
            quick: the same, and it does not wait for an answer as long.
            copies: what keeps copies of what is in it.
            complain: told what is left out of listings, and what the bucket fails with.
        """
        self._bucket = bucket
        self._quick = quick
        self._copies = copies
        self._complain = complain
        self._closed: OrderedDict[str, tuple[float, bool]] = OrderedDict()
        self._looked: tuple[float, str] = (0.0, "")
        self._changing = threading.Lock()
        self.id_of, self.shared_id = copies.id_of, copies.shared_id
        self.forget_all = copies.forget_all

    def open(self, original: Original) -> AbstractContextManager[tuple[BinaryIO, Original]]:
        """Open what `find` found. Raises as `LocalCopies.open` does."""
        return self._copies.open(original)

    def find(self, name: str) -> Original:
        """Size up an original; it is fetched where it is not here, or old.

        Raises:
            NotFound: there is none, in no form of its name.
            ImageError: as `BucketFetcher.copy` says.
        """
        until = time.monotonic() + _OTHER_FORMS_SECONDS
        try:
            return self._copies.find(name)
        except NotFound:
            for other in forms(name)[1:]:
                if time.monotonic() < until:
                    with suppress(NotFound):
                        return self._copies.find(other)
            raise

    def at_hand(self, name: str) -> Original | None:
        """Size up the copy that is here; None where there is none. Raises as `id_of` does."""
        return self._copies.at_hand(name)

    def forget(self, name: str) -> int:
        """Have an original fetched anew, in each form of its name. Raises as `id_of` does."""
        return sum(self._copies.forget(one) for one in forms(name))

    def folder(self, name: str) -> FolderState:
        """Look at a folder as `FolderSource.folder` does; whether there is one its listing tells.

        Raises:
            OriginalsUnavailable: the bucket cannot be asked.
        """
        now = time.monotonic()
        with self._changing:
            due, is_closed = self._closed.get(name, (0.0, False))
        if now >= due:
            with self._copies.asking():
                is_closed = self._is_there(_in(name, NOT_SHOWN))
            due = now + _LISTED_SECONDS
            with self._changing:
                self._closed[name] = due, is_closed
                self._closed.move_to_end(name)
                while len(self._closed) > _MAX_REMEMBERED:
                    self._closed.popitem(last=False)
        return FolderState(_in(str(self._bucket.url), name), (due,), 0, is_closed)

    def listed(self, name: str) -> Listed:
        """List a folder. What no original may be called is left out, and that is said.

        Raises:
            NotFound: there is nothing in it.
            OriginalsUnavailable: as `folder`.
        """
        self._require_answers()
        odd = set[str]()
        try:
            with self._copies.asking():
                folders, objects = self._bucket.folder(name, left_out=odd.add)
        except FileNotFoundError as error:
            raise NotFound(str(error)) from error
        except BucketFailed as error:
            raise OriginalsUnavailable(str(error)) from error
        if name and not folders and not objects:
            raise NotFound(f"{self._bucket.url}/{name}: there is nothing in it")
        files = [found.key.rpartition("/")[2] for found in objects]
        odd |= {one for one in (*folders, *files) if not is_name(_in(name, one))}
        if odd:
            where = _in(str(self._bucket.url), name)
            self._complain(f"{where}: left out is {min(odd)!a}, and what else is no name")
        shown = [[one for one in some if one not in odd] for some in (folders, files)]
        return Listed(folders=shown[0], files=shown[1], links=[])

    def look(self) -> None:
        """Look whether the bucket answers, at most every few seconds.

        Raises:
            OSError: it does not.
        """
        until, wrong = self._looked
        if time.monotonic() >= until:
            with suppress(OriginalsUnavailable):
                self._is_there(NOT_SHOWN)
            _, wrong = self._looked
        if wrong:
            self._complain(wrong)
            raise OSError(errno.EIO, "a bucket does not answer as it should")

    def _is_there(self, key: str) -> bool:
        """Whether there is an object, by a request that is given up soon.

        Raises:
            OriginalsUnavailable: nobody knows, or did not a moment ago.
        """
        self._require_answers()
        wrong, is_there = "", False
        try:
            self._quick.get(key, max_bytes=0)
            is_there = True
        except ObjectTooLarge:
            is_there = True
        except (FileNotFoundError, Denied):
            is_there = False
        except BucketFailed as error:
            wrong = str(error)
        self._looked = time.monotonic() + _LOOKED_SECONDS, wrong
        if wrong:
            raise OriginalsUnavailable(wrong)
        return is_there

    def _require_answers(self) -> None:
        """Raise what was raised a moment ago: a page has many folders, and each would wait."""
        until, wrong = self._looked
        if wrong and time.monotonic() < until:
            raise OriginalsUnavailable(f"{wrong} (a moment ago)")


def _in(folder: str, name: str) -> str:
    return f"{folder}/{name}".strip("/")
