"""Renditions kept: what was made once is not made again, by no node where they share them."""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from imgprocessor.geometry import Size
from imgprocessor.images.pipeline import Rendition
from imgprocessor.originals.source import Original
from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.storage.generation import Generation
from imgprocessor.storage.shared.entries import Shared, SharedEntries

_DESCRIBED = tuple(field.name for field in fields(Rendition) if field.name != "body")
_SIZES = ("size", "original_size")


_WRITTEN_AS = "+".join(_DESCRIBED)
"""Nodes of several versions may share: each finds what has all that it knows, and no more."""


class Elsewhere(NamedTuple):
    """What other nodes have of a rendition."""

    rendition: Rendition | None
    shared: Shared | None
    """By which what is made from now on may be shared; None where it may not be."""


class Renditions:
    """Finished pictures by original and imagekey."""

    def __init__(self, disk_cache: DiskCache, shared: SharedEntries | None = None) -> None:
        """Keep them in a disk cache, and share those that will not be replaced by better ones."""
        self._disk_cache = disk_cache
        self._shared = shared

    @property
    def are_shared(self) -> bool:
        """Whether nodes share them."""
        return self._shared is not None

    def get(self, original: Original, imagekey: str) -> Rendition | None:
        """Return what was kept for this very version of an original."""
        content = self._disk_cache.get(original.group, _key(original, imagekey))
        if content is None:
            return None
        return rendition_from_bytes(bytes(content))

    def elsewhere(self, original: Original, imagekey: str, began: Generation) -> Elsewhere:
        """Look for what other nodes made of this version, for an answer that `began` before."""
        if self._shared is None:
            return Elsewhere(None, None)
        shared = self._shared.look(original.shared_group, _shared_key(original, imagekey))
        rendition = None
        if shared.body is not None:
            rendition = rendition_from_bytes(shared.body)
        # Purged here since then, the original may have been found before that; and the marks may be
        # those of afterwards.
        return Elsewhere(rendition, shared if began.is_current else None)

    def put(
        self,
        original: Original,
        imagekey: str,
        rendition: Rendition,
        began: Generation | None = None,
        shared: Shared | None = None,
    ) -> bool:
        """Keep a rendition, unless something was purged since it `began`; return whether it is.
        Share it, where `shared` says by what.
        """
        parts = _parts(rendition)
        size = sum(map(len, parts))
        if shared is not None and self._shared is not None:
            self._shared.keep(
                original.shared_group,
                _shared_key(original, imagekey),
                b"".join(parts),
                shared.marks,
            )
        return self._disk_cache.put(original.group, _key(original, imagekey), size, parts, began)

    def begin_purge(self, groups: Sequence[str] | None) -> dict[str, str]:
        """Have no node find anything of some shared groups, or of all, nor keep it there; return
        which tiers failed, and why.
        """
        return {} if self._shared is None else self._shared.close(groups)

    def end_purge(self, groups: Sequence[str] | None) -> dict[str, str]:
        """Have nodes find and keep what is begun from now on. Returns what `begin_purge` does."""
        return {} if self._shared is None else self._shared.open(groups)

    def finish(self) -> None:
        """Wait until all is shared that is to be."""
        if self._shared is not None:
            self._shared.finish()

    def purge(self, group: str) -> int:
        """Remove all that was made from an original; return how many files."""
        return self._disk_cache.purge(group)

    def purge_imagekey(self, group: str, imagekey: str) -> int:
        """Remove one rendition of an original, whatever its version; return how many files."""
        # No imagekey has a blank in it.
        return self._disk_cache.purge_keys(group, f" {imagekey}")

    def purge_all(self) -> int:
        """Remove everything; return how many files."""
        return self._disk_cache.purge_all()


def rendition_to_bytes(rendition: Rendition) -> bytes:
    """Return a rendition as bytes, with all that is known of it."""
    return b"".join(_parts(rendition))


def rendition_from_bytes(content: bytes) -> Rendition:
    """Return the rendition that `rendition_to_bytes` wrote."""
    described, _, body = content.partition(b"\n")
    known: dict[str, Any] = json.loads(described)
    for name in _SIZES:
        known[name] = Size(**known[name])
    return Rendition(body=body, **known)


def _parts(rendition: Rendition) -> list[bytes]:
    # Not asdict(), which copies deeply, and takes longer than writing the file.
    described = {name: getattr(rendition, name) for name in _DESCRIBED}
    for name in _SIZES:
        size: Size = described[name]
        described[name] = {"width": size.width, "height": size.height}
    return [json.dumps(described).encode() + b"\n", rendition.body]


def _key(original: Original, imagekey: str) -> str:
    return f"{original.identity} {imagekey}"


def _shared_key(original: Original, imagekey: str) -> str:
    return f"{_WRITTEN_AS} {original.version} {imagekey}"
