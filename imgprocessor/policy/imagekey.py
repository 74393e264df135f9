"""The name of a rendition, worked out from the request, the settings and the policy alone.

Equal keys mean equal bytes for one version of the original; plans that differ have keys that
differ.
"""

import hashlib
from collections.abc import Iterable

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.errors import BadQuery
from imgprocessor.policy.plan import Plan
from imgprocessor.policy.table import Cell
from imgprocessor.request.names import decode, known_as, spell
from imgprocessor.request.parameters import PARAMETERS

FIELDS = (
    "name",
    "box",
    "fit",
    "operations",
    "density",
    "bandwidth",
    "screen",
    "formats",
    "limits",
    "digest",
)
"""What a key is made of, in order, joined by `_`. No field but the name may hold a `_`, so the
last nine can always be told apart.
"""

EVERY_TAG = "imgprocessor"
"""The tag of all answers."""

MAX_SPELLED_BYTES = 1000
"""Of a name that stands in a key as it is spelled: a key fits into the headers of every cache."""

_DIGEST = "sha256:"
"""What the digest of a longer name begins with. No name is spelled so: it would have `%3A`."""

_PREFIXES = {
    "page": "p",
    "crop": "c",
    "max_height": "m",
    "gravity": "g",
    "flip": "f",
    "lqip": "lqip",
}
"""Of the operations, by the parameter and the plan's field."""

_IN_KEYS = {",": "x", "%25": "pc"}
"""What stands for what no field of a key may hold."""

NONE = "-"
"""What stands for a field that cannot matter."""


def imagekey(name: str, plan: Plan) -> str:
    """Return the canonical name of the answer that a plan describes, for an original of this name,
    which is decoded: however it was spelled, it has one key.
    """
    return "_".join(
        (
            _named(name),
            NONE if plan.box is None else str(plan.box),
            NONE if plan.fit is None else plan.fit.value,
            _operations(plan),
            NONE if plan.density is None else f"{plan.density}x",
            NONE if plan.bandwidth is None else plan.bandwidth,
            NONE if plan.screen is None else plan.screen,
            "+".join(plan.formats),
            _limits(plan),
            shape_digest(plan.cell, plan.pixels, plan.encoders, plan.effort),
        )
    )


def _named(name: str) -> str:
    spelled = spell(name)
    if len(spelled) <= MAX_SPELLED_BYTES:
        return spelled
    return _DIGEST + hashlib.sha256(name.encode()).hexdigest()


def _operations(plan: Plan) -> str:
    """Each as a prefix and its value, in the table's order."""
    asked = {name: getattr(plan, name) for name in _PREFIXES}
    written = "+".join(
        f"{_PREFIXES[name]}{row.value.write(asked[name])}"
        for name, row in PARAMETERS.items()
        if asked.get(name) is not None
    )
    for spelled, letters in _IN_KEYS.items():
        written = written.replace(spelled, letters)
    return written or NONE


def _limits(plan: Plan) -> str:
    limits = (("q", plan.quality_limit), ("b", plan.bytes_limit))
    return "+".join(f"{kind}{limit}" for kind, limit in limits if limit is not None) or NONE


def name_in(key: str) -> str:
    """Return the original's name, decoded.

    Raises:
        BadQuery: it is no imagekey, or one that has a digest of the name.
    """
    spelled, *rest = key.rsplit("_", len(FIELDS) - 1)
    if len(rest) < len(FIELDS) - 1:
        wrong = f"must be {len(FIELDS)} fields joined by _, as the header imagekey has it"
        raise BadQuery([f"imagekey: {wrong}"])
    if spelled.startswith(_DIGEST):
        wrong = "has a digest in place of a long name: purge the name, which forgets it, too"
        raise BadQuery([f"imagekey: {wrong}"])
    return decode(spelled)


def etag(key: str, version: str) -> str:
    """Return the validator of a rendition: its name, and the version of its original. It is a weak
    one: there are two ways to the same picture, whose bytes differ by a hair.
    """
    return hashlib.sha256(f"{key}\0{version}".encode()).hexdigest()[:32]


def tags(names: Iterable[str], key: str = "") -> str:
    """Return the tags that caches forget an answer by: its original's, and those of all that would
    be the original if it were there; its own, if it has a key; all answers'.
    """
    known = [original_tag(name) for name in names]
    return " ".join(filter(None, (*known, key and key_tag(key), EVERY_TAG)))


def original_tag(name: str) -> str:
    """Return the tag of all that is made from an original; the name is decoded. All spellings of
    one URL have one.
    """
    return f"o-{_short(known_as(name))}"


def key_tag(key: str) -> str:
    """Return the tag of one rendition."""
    return f"k-{_short(key)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shape_digest(cell: Cell, pixels: PixelsSettings, encoders: str, effort: str | None) -> str:
    """Return a digest of what the operator and the installation decide: the cell, the settings
    that touch pixels, the encoders, and how much time they get. Not of the whole policy: a change
    of one cell must leave the keys of the others alone.
    """
    # repr() of frozen dataclasses names every field, so a field added later is in the digest.
    shaped_by = repr((cell, pixels, encoders, effort))
    return hashlib.sha256(shaped_by.encode()).hexdigest()[:8]
