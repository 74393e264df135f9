"""`policy explain`: one answer in words, from the request to the bytes, with all reasons."""

from collections.abc import Iterator, Mapping

import click

from imgprocessor.cli.options import Files, with_files, with_headers
from imgprocessor.errors import ImageError
from imgprocessor.formats import FORMATS
from imgprocessor.parts import make_delivery
from imgprocessor.policy.table import SIZED
from imgprocessor.request.parameters import PARAMETERS
from imgprocessor.request.query import as_sent, url_parts
from imgprocessor.service.delivery import Delivery, Found
from imgprocessor.service.understanding import Incoming, Planned

Line = tuple[str, str]
"""What is told, and the telling."""

_FIRST: Mapping[str | None, str] = {
    "quick": "one made quickly",
    "at once": "one in the quickest format",
}
"""What is sent until the best is there, by its effort."""


@click.command(help="Tell how one request is answered, and why.")
@with_files()
@click.argument("url")
@with_headers
def explain(files: Files, url: str, headers: tuple[tuple[str, str], ...]) -> None:
    """Print it line by line; the query string alone may be given."""
    for told, telling in explained(url, dict(headers), make_delivery(files.load())):
        print(f"{told + ':':<11}{telling}")


def explained(url: str, headers: Mapping[str, str], delivery: Delivery) -> Iterator[Line]:
    """Tell how a URL (or its query string alone) with these headers (names in lower case) is
    answered. What cannot be answered is told, too.
    """
    parts = url_parts(url)
    if parts.is_full:
        yield "answer", "the original as it is, if anything: the policy does not count"
        return
    request = delivery.understand(Incoming(as_sent(parts.query_string), headers, parts.path))
    found: Found | None = None
    try:
        found = delivery.find(request)
        planned = found.planned
    except ImageError as error:
        trouble = error
        parsed = request.last.parsed
        if parsed.problems:
            yield "request", f"refused, {error.status} {error.code}: {error.public}"
            return
        planned = delivery.plan(parsed.query, request.hints)
    query = planned.query
    rows = [(row, getattr(query, row.name)) for row in PARAMETERS.values()]
    said = [f"{row.name} {row.value.write(value)}" for row, value in rows if value != row.default]
    yield "query", ", ".join(said)
    client = dict(vars(request.hints))
    taken = client.pop("formats")
    known = {
        name: value for name, value in client.items() if value is not None and value is not False
    }
    hints = ", ".join(f"{name} {value}" for name, value in known.items())
    yield "hints", hints or "none"
    yield "takes", " ".join(known for known in FORMATS if known in taken) or "nothing that is sent"
    yield from _planned(planned)
    try:
        if found is None:
            raise trouble
        yield "original", f"{found.original.id}, {found.original.size_bytes} bytes"
        yield from _rendered(found, delivery)
    except ImageError as error:
        yield "answer", f"the placeholder, with {error.status} {error.code}: {error}"


def _planned(planned: Planned) -> Iterator[Line]:
    plan = planned.plan
    if plan.lqip:
        yield "lqip", "the same for every visitor"
    else:
        yield from _decided(planned)
    yield "formats", " ".join(plan.formats)
    target = plan.cell.target_score
    wish = "" if target is None else f"the lowest that scores {target}, "
    lowered = ", as the query asks" if plan.quality_limit is not None else ""
    yield "quality", f"{wish}at most {plan.max_quality}{lowered}"
    if plan.budget_bytes is not None:
        floor = min(plan.pixels.min_quality, plan.max_quality)
        source = "the cell" if plan.bytes_limit is None else "the query"
        yield (
            "budget",
            f"{plan.budget_bytes} bytes, from {source}; quality goes to {floor}, then the size",
        )
    if plan.effort is not None:
        first = f": {_FIRST[planned.hurried.effort]} first" if plan.effort == "behind" else ""
        yield "effort", f"{plan.effort}{first}"
    yield "imagekey", planned.imagekey
    yield "Vary", planned.vary or "none: the query said everything"


def _decided(planned: Planned) -> Iterator[Line]:
    """What is decided by who the visitor is."""
    decision, plan = planned.decision, planned.plan
    yield "bandwidth", f"{decision.bandwidth}, from {decision.bandwidth_from}"
    if decision.screen is None:
        yield "screen", f"does not count, for the request names a size: row [{SIZED}]"
        yield "density", f"{plan.density} of {decision.dpr}, from {decision.dpr_from}"
    else:
        yield "screen", f"{decision.screen}, from {decision.screen_from}"
    yield "cell", f"[{decision.screen or SIZED}] {decision.bandwidth} = {decision.cell}"


def _rendered(found: Found, delivery: Delivery) -> Iterator[Line]:
    rendition = delivery.render(found).rendition
    laid_out = found.planned.plan.lay_out(rendition.original_size).size
    yield "size", f"{laid_out} of {rendition.original_size}"
    limits = {
        "quality": "; the budget took quality",
        "size": f"; the budget took size, down from {laid_out}",
        "": "",
    }
    times = "once" if rendition.trials == 1 else f"{rendition.trials} times"
    scored = "" if rendition.score is None else f", score {rendition.score:.1f}"
    quality = f"quality {rendition.quality}{scored}"
    made = "the original itself" if rendition.is_original else quality
    picture = f"{rendition.mime}, {rendition.size}, {made}"
    weight = f"{len(rendition.body)} bytes, encoded {times}"
    damaged = "; the original ends too early" if rendition.is_damaged else ""
    yield "answer", f"{picture}, {weight}{limits[rendition.limited]}{damaged}"
    spent = ", ".join(f"{part} {ms:.1f}" for part, ms in found.timings.items())
    yield "time", f"{spent} (milliseconds)"
