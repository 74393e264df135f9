"""All places of originals, to be looked at as one: of a name in several, the first counts."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from imgprocessor.errors import NotFound
from imgprocessor.originals.source import FolderSource, FolderState, Listed, Original, Root


class Roots:
    """Folders and places in buckets, in order. One that fails is not passed over: what it has under
    a name counts, and a later one may have another picture.
    """

    def __init__(self, places: Sequence[FolderSource]) -> None:
        self._places = places

    def find(self, name: str) -> Original:
        """Size up an original in the first place that has it. Raises as `Source.find` does."""
        wrong = NotFound(f"{name!r}: there are no originals")
        for place in self._places:
            try:
                return place.find(name)
            except NotFound as error:
                wrong = error
        raise wrong

    def at_hand(self, name: str) -> Original | None:
        """Size up an original that need not be fetched, as `FolderSource.at_hand` does."""
        wrong = NotFound(f"{name!r}: there are no originals")
        for place in self._places:
            try:
                return place.at_hand(name)
            except NotFound as error:
                wrong = error
        raise wrong

    def folder(self, name: str) -> FolderState:
        """Look at a folder, which is closed where it is in one place. Raises as
        `FolderSource.folder` does.
        """
        states = [state for _, state in self._with(name)]
        return FolderState(
            states[0].id,
            tuple((state.id, *state.changed) for state in states),
            max(state.changed_ns for state in states),
            any(state.is_closed for state in states),
        )

    def listed(self, name: str) -> Listed:
        """List a folder of all places: each name once, as what it is in the first. Raises as
        `FolderSource.listed` does.
        """
        whole, seen, is_there = Listed([], [], []), set[str](), False
        for place, _ in self._with(name):
            with suppress(NotFound):
                listed, is_there = place.listed(name), True
                for ours, theirs in zip(whole, listed, strict=True):
                    ours += [one for one in theirs if one not in seen]
                seen.update(*whole)
        if not is_there:
            raise NotFound(f"{name!r}: there is no such folder")
        return whole

    def _with(self, name: str) -> Iterator[tuple[FolderSource, FolderState]]:
        """Yield the places that have a folder, and what it is there."""
        wrong = NotFound(f"{name!r}: there are no originals")
        count = 0
        for place in self._places:
            try:
                state = place.folder(name)
            except NotFound as error:
                wrong = error
                continue
            count += 1
            yield place, state
        if not count:
            raise wrong


def as_one(places: Sequence[Root]) -> FolderSource:
    """Return places as one; where there is but one, itself."""
    return places[0] if len(places) == 1 else Roots(places)
