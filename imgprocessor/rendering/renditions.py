"""Renditions kept: what was made once is not made again."""

import json
from dataclasses import fields
from typing import Any

from imgprocessor.geometry import Size
from imgprocessor.images.pipeline import Rendition
from imgprocessor.originals.source import Original
from imgprocessor.storage.disk_cache import DiskCache
from imgprocessor.storage.generation import Generation

_DESCRIBED = tuple(field.name for field in fields(Rendition) if field.name != "body")
_SIZES = ("size", "original_size")


class Renditions:
    """Finished pictures by original and imagekey."""

    def __init__(self, disk_cache: DiskCache) -> None:
        self._disk_cache = disk_cache

    def get(self, original: Original, imagekey: str) -> Rendition | None:
        """Return what was kept for this very version of an original."""
        content = self._disk_cache.get(original.group, _key(original, imagekey))
        if content is None:
            return None
        return rendition_from_bytes(bytes(content))

    def put(
        self,
        original: Original,
        imagekey: str,
        rendition: Rendition,
        began: Generation | None = None,
    ) -> bool:
        """Keep a rendition, unless something was purged since it `began`; return whether it is."""
        parts = _parts(rendition)
        size = sum(map(len, parts))
        return self._disk_cache.put(original.group, _key(original, imagekey), size, parts, began)

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
