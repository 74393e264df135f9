"""Kept sizes of uploads: renditions that stay for good, for visitors of the default class."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Literal, get_args

from imgprocessor.errors import BadQuery, NoRoom
from imgprocessor.formats import UNIVERSAL
from imgprocessor.images.pipeline import Rendition
from imgprocessor.originals.source import Original
from imgprocessor.originals.uploads import ident_of
from imgprocessor.policy.negotiation import choose_formats
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import ANY_BANDWIDTH, Policy
from imgprocessor.rendering.renditions import rendition_from_bytes, rendition_to_bytes
from imgprocessor.request.hints import Hints
from imgprocessor.request.parameters import ImageQuery
from imgprocessor.request.sizes import KeptSize, read_size, size_asked
from imgprocessor.service.understanding import Planned
from imgprocessor.storage.uploads.store import UploadStore

Role = Literal["plain", "best"]
"""For whom a rendition is kept: clients that take JPEG and PNG, or all that the policy offers."""

_MAX_REMEMBERED = 1024


@dataclass(frozen=True)
class KeptRendition:
    """What is kept for good."""

    imagekey: str
    """The one that it was made for: of another policy, or other encoders, where it was not made
    anew since.
    """
    rendition: Rendition

    def is_made_for(self, planned: Planned) -> bool:
        """Whether it is what would be made now: a better one may be owed still."""
        return self.imagekey == planned.imagekey and not planned.expects_better(self.rendition)


@dataclass(frozen=True)
class WantedRendition:
    """One that is to be kept, and what is."""

    size: KeptSize
    role: Role
    planned: Planned
    """What would be made now."""
    kept: KeptRendition | None

    @property
    def is_current(self) -> bool:
        """Whether what is kept was made as it would be made now."""
        return self.kept is not None and self.kept.is_made_for(self.planned)


class KeptSizes:
    """The renditions that uploads keep."""

    def __init__(
        self, store: UploadStore, plan: Callable[[ImageQuery, Hints], Planned], policy: Policy
    ) -> None:
        self._store = store
        self._plan = plan
        self._newer = policy.newer
        self._roles: tuple[Role, ...] = ("plain", "best") if self._newer else ("plain",)
        self._everything = policy.everything
        self._richest = choose_formats(self._everything, policy)[0]
        self._plan_of = lru_cache(_MAX_REMEMBERED)(self._planned_for_default)

    def asked(self, query: ImageQuery, original: Original) -> KeptSize | None:
        """Return which of an original's kept sizes a request asks for; None where it asks for
        anything else.
        """
        return size_asked(query, sizes_of(original)) if original.sizes else None

    def name(self, planned: Planned, original: Original) -> str | None:
        """Return what the rendition is called that is kept for an answer; None where none is."""
        size = self.asked(planned.query, original)
        if size is None or self._plan_of(size) != _but_for_formats(planned.plan):
            return None
        sendable = planned.plan.formats
        if self._newer.isdisjoint(sendable):
            return _name(size, "plain")
        return _name(size, "best") if sendable[0] == self._richest else None

    def wanted(self, name: str, size: KeptSize) -> Iterator[WantedRendition]:
        """Yield what is to be kept of an upload at a size: one rendition or two."""
        for role in self._roles:
            planned = self._planned(size, name, role)
            yield WantedRendition(size, role, planned, self.get(_name(size, role), planned))

    def get(self, name: str, planned: Planned) -> KeptRendition | None:
        """Return what is kept by a name, where it may be sent as the answer that is planned."""
        ident = ident_of(planned.query.name)
        content = None
        if ident is not None:
            with contextlib.suppress(OSError):  # it can be made
                content = self._store.kept(ident, name)
        if content is None:
            return None
        made_for, _, written = content.partition(b"\n")
        kept = KeptRendition(made_for.decode(), rendition_from_bytes(written))
        return kept if kept.rendition.format in planned.plan.formats else None

    def put(self, name: str, planned: Planned, rendition: Rendition) -> bool:
        """Keep a rendition by a name, if its upload is still there; return whether it is."""
        ident = ident_of(planned.query.name)
        if ident is None:
            return False
        content = b"\n".join((planned.imagekey.encode(), rendition_to_bytes(rendition)))
        with contextlib.suppress(OSError, NoRoom):
            self._store.keep(ident, name, content)
            return True
        return False

    def _planned(self, size: KeptSize, name: str, role: Role) -> Planned:
        formats = self._everything if role == "best" else UNIVERSAL
        asked = replace(size.query(name), bandwidth=ANY_BANDWIDTH, dpr=Decimal(1), formats=formats)
        return self._plan(asked, Hints())

    def _planned_for_default(self, size: KeptSize) -> Plan:
        return _but_for_formats(self._planned(size, "", "plain").plan)


def _but_for_formats(plan: Plan) -> Plan:
    return replace(plan, formats=(), effort=None)


def is_kept_name(name: str) -> bool:
    """Whether a rendition that is kept may be called so."""
    text = name.rpartition(".")[0]
    with contextlib.suppress(BadQuery):
        size = _size(text.replace("max", "<"))
        return any(name == _name(size, known) for known in get_args(Role))
    return False


def sizes_of(original: Original) -> tuple[KeptSize, ...]:
    """Return an original's kept sizes."""
    return tuple(_size(text) for text in original.sizes)


@lru_cache(_MAX_REMEMBERED)
def _size(text: str) -> KeptSize:
    return read_size(text, 10**9)


def _name(size: KeptSize, role: Role) -> str:
    return f"{str(size).replace('<', 'max')}.{role}"
