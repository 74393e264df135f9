"""The query string as steps for caches: what `query` and `plan` make of it."""

from collections.abc import Iterator

from imgprocessor.decision import on_request
from imgprocessor.geometry import Fit
from imgprocessor.imagekey import NONE
from imgprocessor.policy import Policy
from imgprocessor.query import (
    MAX_NAME_BYTES,
    MAX_QUALITY,
    MIN_BUDGET_BYTES,
    OLD_SPELLINGS,
    PARAMETERS,
)
from imgprocessor.ranges import whole_at_least, whole_at_most
from imgprocessor.settings import PixelsSettings
from imgprocessor.steps import BEGIN, END, QUERY, Rule, Step, asked, step

_REFUSED = "!"
"""What a step says of a value that is answered with a 400."""

_NAME = r"[A-Za-z0-9._~!$'()*+,;:@/?=%-]"
"""What may stand in a query string unescaped (RFC 3986, 3.4), but for `&`, which ends a value."""

SIDES = ("width", "height")
"""The steps that say that the request names a size, if one of them does."""


def query_steps(policy: Policy, pixels: PixelsSettings) -> Iterator[Step]:
    """Yield the steps from the query string to what it asks for, in the imagekey's words."""
    spellings = {name: [name] for name in PARAMETERS}
    for old, name in OLD_SPELLINGS.items():
        spellings[name].append(old)
    yield step("several", QUERY, Rule("&", "&"), why="there is more than the name")
    either = ("|".join(names) for names in spellings.values())
    pairs = "|".join(f"(?:{names})(?:=[^&]*)?&(?:.*&)?(?:{names})" for names in either)
    twice = Rule(f"{BEGIN}(?:{pairs})(?:[=&]|$)", _REFUSED)
    yield asked("twice", twice, why="a parameter given twice is a 400")
    spelled = Rule(f"{BEGIN}name=({_NAME}{{1,{MAX_NAME_BYTES}}}){END}", r"\1")
    yield step("spelled_name", QUERY, spelled, why="as it is spelled in the URL")
    outside = Rule("(?:^|/)[.]{0,2}(?:/|$)", "")
    yield step(
        "name", "spelled_name", outside, Rule("^(.+)$", r"\1"), why="no path out of the folder"
    )
    for side in ("width", "height"):
        limit = whole_at_most(pixels.max_output_side_pixels, 9)
        yield asked(
            side,
            Rule(f"{BEGIN}{side}=0{{1,9}}{END}", ""),
            Rule(f"{BEGIN}{side}=(?={limit}{END})0*([0-9]+)", r"\1"),
            Rule(f"{BEGIN}{side}=[^&]", _REFUSED),
            why="CSS pixels; 0 is none",
        )
    fits = "|".join(fit.value for fit in Fit)
    yield asked(
        "asked_fit",
        Rule(f"{BEGIN}fit=({fits}){END}", r"\1"),
        Rule(f"{BEGIN}fsize=1{END}", Fit.FORCE.value),
        Rule(f"{BEGIN}fit=[^&]", _REFUSED),
        otherwise=Fit.INSIDE.value,
    )
    yield asked(
        "quality",
        Rule(f"{BEGIN}quality=0{{1,3}}{END}", ""),
        Rule(f"{BEGIN}quality=(?={whole_at_most(MAX_QUALITY, 3)}{END})0*([0-9]+)", r"\1"),
        Rule(f"{BEGIN}quality=[^&]", _REFUSED),
    )
    least = whole_at_least(MIN_BUDGET_BYTES, 12)
    yield asked(
        "max_bytes",
        Rule(f"{BEGIN}max_bytes=(?={least}{END})0*([0-9]+)", r"\1"),
        Rule(f"{BEGIN}max_bytes=[^&]", _REFUSED),
        why=f"{MIN_BUDGET_BYTES} at least",
    )
    offered = "|".join(on_request(policy))
    yield asked(
        "format",
        Rule(f"{BEGIN}format=({offered}){END}", r"\1"),
        Rule(f"{BEGIN}format=auto{END}", ""),
        Rule(f"{BEGIN}format=[^&]", _REFUSED),
    )
    yield Step(
        "refused",
        "{twice}{width}{height}{asked_fit}{quality}{max_bytes}{format}|{name}",
        (Rule(_REFUSED + ".*[|]|[|]$", _REFUSED),),
        why="what is answered with a 400 has no key",
    )
    yield Step("box", "{width}x{height}", (Rule("^(.*[0-9].*)$", r"\1"),), NONE, when=SIDES)
    yield Step(
        "fit",
        "{asked_fit} {box}",
        (
            Rule(f" {NONE}$", NONE),
            Rule(f"^{Fit.COVER.value} (?:x|[0-9]+x$)", Fit.FORCE.value),
            Rule("^([a-z]+) ", r"\1"),
        ),
        NONE,
        when=SIDES,
        why="with one side free there is nothing to cut off",
    )
