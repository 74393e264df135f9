"""Where originals come from: which source has one, and what is kept as what was made of it."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from imgprocessor.errors import NoSuchUpload, NotFound
from imgprocessor.originals.pages import Pages
from imgprocessor.originals.source import Original, Source, group_of


class Sources:
    """Sources in order: of several, the first counts that has an original."""

    def __init__(self, sources: Mapping[str, Sequence[Source]], pages: Pages | None = None) -> None:
        """Use sources by the schemes of the names that they know, "" for names without; `pages` has
        what was drawn of their documents.
        """
        self._sources = sources
        self._pages = pages

    def find(self, name: str) -> Original:
        """Size up an original. Raises as `Source.find` does."""
        wrong: NotFound | None = None
        for source in self._of(name):
            try:
                return source.find(name)
            except NotFound as error:
                wrong = error if wrong is None or isinstance(error, NoSuchUpload) else wrong
        raise wrong or _none(name)

    def groups_of(self, name: str) -> Sequence[str]:
        """Return what all is kept as on this node that was made of an original of this name,
        whichever source it came from.

        Raises:
            NotFound: no original may be called so.
        """
        return [*dict.fromkeys(group_of(original_id) for _, original_id in self._ids_of(name))]

    def shared_groups_of(self, names: Sequence[str]) -> Sequence[str]:
        """Return what nodes share it as that was made of originals of these names; nothing where
        none may be called so.
        """
        groups: dict[str, None] = {}
        for name in names:
            with contextlib.suppress(NotFound):
                ids = self._ids_of(name)
                groups |= dict.fromkeys(group_of(source.shared_id(known)) for source, known in ids)
        return [*groups]

    def forgetting(self, name: str) -> Sequence[Callable[[], int]]:
        """Return what forgets an original that is here only because it was asked for, source by
        source; each returns how many files, or raises as `Source.forget` does.

        Raises:
            NotFound: no original may be called so.
        """
        pages = self._pages
        drawn = [] if pages is None else [partial(pages.purge, one) for one in self.groups_of(name)]
        return [*(partial(_forgotten, source, name) for source in self._of(name)), *drawn]

    def forgetting_all(self) -> Sequence[Callable[[], int]]:
        """Return what forgets all of these."""
        sources = {source for some in self._sources.values() for source in some}
        drawn = [] if self._pages is None else [self._pages.forget_all]
        return [*(source.forget_all for source in sources), *drawn]

    def _of(self, name: str) -> Sequence[Source]:
        """Return where an original may come from: no file's name has a scheme, nor any `//`."""
        scheme, separator, _ = name.partition("://")
        return self._sources.get(scheme if separator else "", ())

    def _ids_of(self, name: str) -> Sequence[tuple[Source, str]]:
        ids = []
        wrong = _none(name)
        for source in self._of(name):
            try:
                ids.append((source, source.id_of(name)))
            except NotFound as error:
                wrong = error
        if not ids:
            raise wrong
        return ids


def _none(name: str) -> NotFound:
    return NotFound(f"{name!r}: there are no such originals here")


def _forgotten(source: Source, name: str) -> int:
    with contextlib.suppress(NotFound):  # none of its originals may be called so
        return source.forget(name)
    return 0
