"""The name of a rendition, worked out from the request, the settings and the policy alone.

A cache in front can work it out too. Equal keys mean equal bytes for one version of the original;
plans that differ have keys that differ.
"""

import hashlib

from imgprocessor.plan import Plan

FIELDS = ("name", "box", "fit", "density", "bandwidth", "screen", "formats", "limits", "digest")
"""What a key is made of, in order, joined by `_`. No field but the name may hold a `_`, so the
last eight can always be told apart.
"""

_NONE = "-"


def imagekey(plan: Plan) -> str:
    """Return the canonical name of the answer that this plan describes."""
    return "_".join(
        (
            plan.spelled_name,
            _NONE if plan.box is None else str(plan.box),
            _NONE if plan.fit is None else plan.fit.value,
            _NONE if plan.density is None else f"{plan.density}x",
            plan.bandwidth,
            _NONE if plan.screen is None else plan.screen,
            "+".join(plan.formats),
            _limits(plan),
            _digest(plan),
        )
    )


def _limits(plan: Plan) -> str:
    limits = (("q", plan.quality_limit), ("b", plan.bytes_limit))
    return "+".join(f"{kind}{limit}" for kind, limit in limits if limit is not None) or _NONE


def etag(key: str, version: str) -> str:
    """Return the strong validator of a rendition: its name, and the version of its original."""
    return hashlib.sha256(f"{key}\0{version}".encode()).hexdigest()[:32]


def _digest(plan: Plan) -> str:
    """Return a digest of what the operator and the installation decide: the cell, the settings
    that touch pixels, the encoders. Not of the whole policy: a change of one cell must leave the
    keys of the others alone.
    """
    # repr() of frozen dataclasses names every field, so a field added later is in the digest.
    shaped_by = repr((plan.cell, plan.pixels, plan.encoders))
    return hashlib.sha256(shaped_by.encode()).hexdigest()[:8]
