"""Uploads: taken once and kept for good, with sizes that are asked for; removed everywhere."""

import contextlib
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imgprocessor.config.jobs_settings import DOCUMENT_KINDS
from imgprocessor.config.upload_settings import KeptMetadata, UploadsSettings
from imgprocessor.errors import (
    BadQuery,
    Busy,
    ImageError,
    NoSuchUpload,
    NotAllGone,
    NotYetGone,
    TooLarge,
    UnsupportedOriginal,
    UnsupportedUpload,
)
from imgprocessor.images.previews.registry import CheckedDocument, document_in, taken_in_words
from imgprocessor.originals.source import Original
from imgprocessor.originals.uploads import UploadedOriginals, upload_name
from imgprocessor.rendering.check import Check, Checked
from imgprocessor.rendering.job import Renderer
from imgprocessor.request.sizes import KeptSize, read_size
from imgprocessor.service.delivery import Delivery
from imgprocessor.service.kept_sizes import KeptSizes, WantedRendition
from imgprocessor.service.later import Later
from imgprocessor.service.purge import Purger, PurgeRequest
from imgprocessor.service.turns import LAST, Turns
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.uploads.durable import told_in_words
from imgprocessor.storage.uploads.store import KeptUpload, Postponed, Record, UploadStore

_IDENT_DIGITS = 32
_ANY_SIDE = 10**9

_ALONE_SECONDS = 60.0
"""Equal uploads wait so long for the one of them that is checked."""


@dataclass(frozen=True)
class Accepted:
    """What is kept."""

    ident: str
    sizes: tuple[KeptSize, ...]
    """All that are kept of it, in the order in which they were asked for."""
    is_new: bool
    document: str | None = None
    """Which kind of document it is; None of pictures."""


class Uploads:
    """Takes uploads, adds sizes to them, removes them."""

    def __init__(
        self,
        store: UploadStore,
        settings: UploadsSettings,
        *,
        delivery: Delivery,
        kept_sizes: KeptSizes,
        renderer: Renderer,
        purger: Purger,
        locks: Locks,
        turns: Turns,
        documents: Collection[str] = (),
    ) -> None:
        """Have workers busy by `turns` alone: the others are for visitors. Beside pictures,
        documents of these kinds are taken.
        """
        self._documents = documents
        self._turns = turns
        self._store = store
        self._settings = settings
        self._delivery = delivery
        self._kept_sizes = kept_sizes
        self._renderer = renderer
        self._purger = purger
        self._locks = locks
        self._later: Later[str] | None = None
        self._source = UploadedOriginals(store)

    def work_later(self, later: Later[str]) -> None:
        """Have `make_missing` done by `later`, where a request asks for many sizes."""
        self._later = later

    def new_file(self) -> Path:
        """Return a path for a file on its way in, as `UploadStore.new_file` does.

        Raises:
            UploadsUnavailable: the place of uploads cannot be written.
        """
        with told_in_words():
            return self._store.new_file()

    def require_room(self, size_bytes: int) -> None:
        """Look whether so large a body would be taken, before it is read.

        Raises:
            TooLarge: it is larger than any may be.
            NoRoom: there is no room for it.
            UploadsUnavailable: the place of uploads cannot be read.
        """
        if size_bytes > self._settings.max_bytes:
            raise TooLarge(self._settings.max_bytes)
        with told_in_words():
            self._store.require_room(size_bytes)

    def accept(self, file: Path, sha256: str, sizes: Sequence[KeptSize], by: str) -> Accepted:
        """Check a file, and keep it for good, unless the same bytes are there already. The file is
        gone afterwards, whatever happens.

        Args:
            file: where `new_file` said.
            sha256: of its bytes as they were sent, 64 hexadecimal digits.
            sizes: what is to be kept of it beside what is kept already.
            by: who sent it, for the record.

        Raises:
            UnsupportedUpload: it is no picture, nor a document of a kind that is taken.
            ImageError: as `Renderer.check`, `require_room` and `add_sizes` do.
        """
        ident = sha256[:_IDENT_DIGITS]
        try:
            with self._alone(ident), told_in_words():
                accepted = self._taken(ident, file, sha256, sizes, by)
        finally:
            file.unlink(missing_ok=True)
        self._make(accepted, sizes)
        return accepted

    def add_sizes(self, ident: str, sizes: Sequence[KeptSize]) -> Accepted:
        """Keep further sizes of an upload.

        Raises:
            NoSuchUpload: there is none.
            BadQuery: it would have too many.
            NoRoom, UploadsUnavailable: they cannot be kept.
        """
        accepted = self._with_sizes(ident, sizes)
        self._make(accepted, sizes)
        return accepted

    def found(self, ident: str) -> Accepted:
        """Return what is kept of an upload.

        Raises:
            NoSuchUpload: there is none.
            UploadsUnavailable: nobody knows at this moment.
        """
        with told_in_words():
            return _accepted(ident, self._required(ident).record)

    def remove(self, ident: str) -> None:
        """Remove an upload, and all that was made of it, here and in all caches.

        Raises:
            NoSuchUpload: there is none, nor anything left of one.
            NotAllGone: something is left. A repeat goes on with that, and `sweep` does.
            NotYetGone: it is found here no more, and may be elsewhere until `sweep` has removed it.
            UploadsUnavailable: it is still there.
        """
        try:
            with told_in_words():
                if not self._take_out(ident):
                    raise NoSuchUpload(f"no upload {ident}")
        except NotYetGone:
            self._purge(ident)
            raise
        self._forget(ident)

    def sweep(self) -> None:
        """Go on with removals that were not finished; remove what was left half done.

        Raises:
            OSError: as `UploadStore.sweep` does.
        """
        with self._locks.held("sweep of uploads", 0) as mine:
            if not mine:
                return
            try:
                self._store.sweep()  # which may take out what could not be before
            finally:
                for ident in self._store.taken_out():
                    with contextlib.suppress(ImageError):
                        self._forget(ident)

    def make_missing(self, ident: str) -> None:
        """Make what is to be kept of an upload and is not yet; where that cannot be now, it is made
        for whoever asks for it first.
        """
        with contextlib.suppress(ImageError):
            self.make_sizes(ident)

    def make_sizes(self, ident: str) -> None:
        """Make what is to be kept of an upload and is not yet, while nobody waits for workers.

        Raises:
            Busy: somebody does, all the time.
            ImageError: as `found` and `Renderer.render` do.
        """
        for size in self.found(ident).sizes:
            with self._turns.taken(LAST):
                self._make_sizes(ident, [size], at_best=True)

    def wanted(self, ident: str) -> Iterator[WantedRendition]:
        """Yield what is to be kept of an upload's sizes, and what is.

        Raises:
            ImageError: as `found` does.
        """
        for size in self.found(ident).sizes:
            yield from self._kept_sizes.wanted(upload_name(ident), size)

    def remake(self, ident: str, *, only_missing: bool = False) -> int:
        """Make what is missing, and, unless `only_missing`, anew what was made for another policy
        or by other encoders; return how many renditions that were.

        Raises:
            ImageError: as `found` and `Renderer.render` do.
        """
        made = 0
        for wanted in self.wanted(ident):
            if wanted.kept is None or not only_missing:
                made += self._delivery.make_anew(wanted.planned)
        return made

    def restore(self, file: Path, record: Record) -> bool:
        """Check a file that is kept elsewhere, and keep it for good with its record; return whether
        it is new. It is cleaned once more, which changes nothing that was cleaned by this program;
        what the record says of the file is what was found here. The file is gone afterwards.

        Args:
            file: where `new_file` said; the caller has compared it with its record.
            record: with all that a record has.

        Raises:
            ImageError: as `accept` does.
        """
        ident = record["ident"]
        try:
            with self._alone(ident), told_in_words():
                if self._store.find(ident) is not None:
                    return False
                found = self._checked(ident, file, record["metadata"])
                return self._store.add(ident, file, {**record, **found})
        finally:
            file.unlink(missing_ok=True)

    def _taken(
        self, ident: str, file: Path, sha256: str, sizes: Sequence[KeptSize], by: str
    ) -> Accepted:
        """Add sizes to what is there; or keep the file, also where that is removed meanwhile."""
        with contextlib.suppress(NoSuchUpload):
            return self._with_sizes(ident, sizes)
        record = self._checked_record(ident, file, sha256, sizes, by)
        if self._store.add(ident, file, record):
            return replace(_accepted(ident, record), is_new=True)
        return self._with_sizes(ident, sizes)

    def _checked_record(
        self, ident: str, file: Path, sha256: str, sizes: Sequence[KeptSize], by: str
    ) -> Record:
        sent_bytes = file.stat().st_size
        return {
            "ident": ident,
            "metadata": self._settings.metadata,
            **self._checked(ident, file, self._settings.metadata),
            "sent_bytes": sent_bytes,
            "sent_sha256": sha256,
            "uploaded_ns": time.time_ns(),
            "by": by,
            "sizes": [str(size) for size in sizes],
        }

    def _checked(self, ident: str, file: Path, metadata: KeptMetadata) -> Record:
        """Return what was found in a file: a picture, which is written anew, or a document."""
        original = Original(self._source, f"incoming:{ident}", ident, file.stat().st_size, 0)
        try:
            with self._turns.taken():
                return _found_in(self._renderer.check(Check(original, file, metadata)))
        except UnsupportedOriginal as error:
            with told_in_words():
                document = document_in(file, self._documents)
            if document is None:
                raise UnsupportedUpload(taken_in_words(self._documents), str(error)) from error
            return _found_in_document(document)

    def _with_sizes(self, ident: str, sizes: Sequence[KeptSize]) -> Accepted:
        most = self._settings.max_sizes

        def added(record: Record) -> Record:
            known = list(dict.fromkeys([*record["sizes"], *map(str, sizes)]))
            if len(known) > most:
                wrong = f"sizes: it would have {len(known)}; a picture has no more than {most}"
                raise BadQuery([wrong])
            return {**record, "sizes": known}

        with told_in_words():
            try:
                return _accepted(ident, self._store.change(ident, added))
            except FileNotFoundError as error:
                raise NoSuchUpload(f"no upload {ident}") from error

    def _make(self, accepted: Accepted, sizes: Sequence[KeptSize]) -> None:
        ident = accepted.ident
        if accepted.document is not None:  # a worker draws it first
            if self._later is not None and (sizes or accepted.is_new):
                self._later.submit(ident)
            return
        at_once = self._settings.sizes_at_once
        try:
            if sizes[:at_once]:
                with self._turns.taken():
                    self._make_sizes(ident, sizes[:at_once])
        except ImageError:
            # Others wait for workers, too; or one died; or it was removed meanwhile. What is kept
            # is kept, and so it is told: this is made for whoever asks for it first.
            at_once = 0
        if len(sizes) > at_once and self._later is not None:
            self._later.submit(ident)

    def _make_sizes(self, ident: str, sizes: Sequence[KeptSize], *, at_best: bool = False) -> None:
        for size in sizes:
            for wanted in self._kept_sizes.wanted(upload_name(ident), size):
                found = self._delivery.found(wanted.planned)
                self._delivery.answer(found, at_best=at_best)

    def _take_out(self, ident: str) -> bool:
        try:
            return self._store.take_out(ident)
        except Postponed as error:
            raise NotYetGone(str(error)) from error

    def _forget(self, ident: str) -> None:
        self._purge(ident)
        try:
            self._store.clear(ident)
        except OSError as error:
            raise NotAllGone(str(error)) from error

    def _purge(self, ident: str) -> None:
        purged = self._purger.purge(PurgeRequest(names=[upload_name(ident)]))
        if purged.failed:
            wrong = "; ".join(f"{where}: {why}" for where, why in purged.failed.items())
            raise NotAllGone(wrong)

    def _required(self, ident: str) -> KeptUpload:
        found = self._store.find(ident)
        if found is None:
            raise NoSuchUpload(f"no upload {ident}")
        return found

    @contextlib.contextmanager
    def _alone(self, ident: str) -> Iterator[None]:
        """Of equal uploads check one: the others find it there then."""
        name = f"accept {ident}"
        with self._locks.held_if_possible(name, _ALONE_SECONDS) as mine:
            if not mine:
                raise Busy("an equal upload is being checked")
            yield


def _found_in(checked: Checked) -> Record:
    return {
        "format": checked.format,
        "width": checked.size.width,
        "height": checked.size.height,
        "is_animated": checked.is_animated,
        "bytes": checked.size_bytes,
        "sha256": checked.sha256,
    }


def _found_in_document(document: CheckedDocument) -> Record:
    return {
        "format": document.kind,
        "width": None,
        "height": None,
        "is_animated": False,
        "bytes": document.size_bytes,
        "sha256": document.sha256,
        "metadata": "all",  # it is kept as it was sent
    }


def _accepted(ident: str, record: Record) -> Accepted:
    sizes = tuple(read_size(text, _ANY_SIDE) for text in record["sizes"])
    document = record["format"] if record["format"] in DOCUMENT_KINDS else None
    return Accepted(ident, sizes, is_new=False, document=document)
