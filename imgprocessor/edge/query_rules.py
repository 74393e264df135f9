"""Rules that find, in a cache, what `request.parameters` and `policy.plan` make of a query."""

from collections.abc import Iterator, Sequence

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.edge.number_patterns import whole_among, whole_at_least, whole_at_most
from imgprocessor.edge.rules import BEGIN, END, QUERY, Rule, Step, asked, step
from imgprocessor.geometry import Fit
from imgprocessor.policy.imagekey import NONE
from imgprocessor.policy.negotiation import on_request
from imgprocessor.policy.table import Policy
from imgprocessor.request.parameters import (
    MAX_NAME_BYTES,
    MAX_QUALITY,
    MAX_URL_BYTES,
    MIN_BUDGET_BYTES,
    OLD_SPELLINGS,
    PARAMETERS,
    PROOFS,
)
from imgprocessor.request.signing import EXPIRES, EXPIRES_PATTERN, SIGNATURE, SIGNATURE_PATTERN
from imgprocessor.request.urls import CHARACTER, spelled_url

_REFUSED = "!"
"""What a step says of a value that is answered with a 400."""

_ALL = Rule("^(.+)$", r"\1")

SIDES = ("width", "height")
"""The steps that say that the request names a size, if one of them does."""


PROOF = "proof"
"""The step that says by what a link is signed; where links must be."""


def query_steps(
    policy: Policy, pixels: PixelsSettings, hosts: Sequence[str] = (), *, signed: bool = False
) -> Iterator[Step]:
    """Yield the steps from the query string to what it asks for, in the imagekey's words.

    Originals come from these hosts, too. `signed`: a link must be signed, or it has no key.
    """
    yield step("several", QUERY, Rule("&", "&"), why="there is more than the name")
    yield _twice_step(signed=signed)
    wrong = f"{BEGIN}(?:name=[^&].*&url=[^&]|url=[^&].*&name=[^&])" if hosts else f"{BEGIN}url=[^&]"
    why = "a name and a URL are a 400" if hosts else "originals from elsewhere are a 400"
    yield asked("elsewhere", Rule(wrong, _REFUSED), why=why)
    yield from _url_steps(hosts) if hosts else _name_steps()
    yield from _author_steps(policy, pixels)
    if signed:
        yield from _proof_steps()
    yield Step(
        "refused",
        "{twice}{elsewhere}{width}{height}{asked_fit}{quality}{max_bytes}{format}"
        f"{''.join(f'{{{name}}}' for name in PROOFS) if signed else ''}|{{name}}",
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


def _twice_step(*, signed: bool) -> Step:
    spellings = {name: [name] for name in (*PARAMETERS, *(PROOFS if signed else ()))}
    for old, name in OLD_SPELLINGS.items():
        spellings[name].append(old)
    either = ("|".join(names) for names in spellings.values())
    pairs = "|".join(f"(?:{names})(?:=[^&]*)?&(?:.*&)?(?:{names})" for names in either)
    twice = Rule(f"{BEGIN}(?:{pairs})(?:[=&]|$)", _REFUSED)
    return asked("twice", twice, why="a parameter given twice is a 400")


def _author_steps(policy: Policy, pixels: PixelsSettings) -> Iterator[Step]:
    """Yield the steps of what a page's author writes, but for the name."""
    for side in ("width", "height"):
        limit = side_pattern(policy, pixels.max_output_side_pixels)
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
        Rule(f"{BEGIN}quality=(?={_quality_pattern(policy)}{END})0*([0-9]+)", r"\1"),
        Rule(f"{BEGIN}quality=[^&]", _REFUSED),
    )
    yield asked(
        "max_bytes",
        Rule(f"{BEGIN}max_bytes=(?={_budget_pattern(policy)}{END})0*([0-9]+)", r"\1"),
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


def side_pattern(policy: Policy, max_side: int) -> str:
    """Return an expression for every spelling of a side that may be asked for, up to a limit."""
    sizes = policy.allowed.sizes
    if sizes is None:
        return whole_at_most(max_side, 9)
    return whole_among([size for size in sizes if size <= max_side], 9)


def _quality_pattern(policy: Policy) -> str:
    qualities = policy.allowed.qualities
    return whole_at_most(MAX_QUALITY, 3) if qualities is None else whole_among(qualities, 3)


def _budget_pattern(policy: Policy) -> str:
    budgets = policy.allowed.budgets
    return whole_at_least(MIN_BUDGET_BYTES, 12) if budgets is None else whole_among(budgets, 12)


def _proof_steps() -> Iterator[Step]:
    """Yield the steps to what proves a link; whether it is right, only the application knows."""
    yield asked(
        SIGNATURE,
        Rule(f"{BEGIN}{SIGNATURE}=({SIGNATURE_PATTERN}){END}", r"\1"),
        otherwise=_REFUSED,
        why="a link without is a 403",
    )
    yield asked(
        EXPIRES,
        Rule(f"{BEGIN}{EXPIRES}=({EXPIRES_PATTERN}){END}", r"\1"),
        Rule(f"{BEGIN}{EXPIRES}(?:[=&]|$)", _REFUSED),
    )
    yield Step(
        PROOF,
        f"{{{SIGNATURE}}}.{{{EXPIRES}}}",
        (Rule("^(.+)$", r"\1"),),
        why="kept by this, too: who has another gets nothing that is kept",
    )


def _name_steps() -> Iterator[Step]:
    yield _spelled_name()
    yield step("name", "spelled_name", _outside("/", "[.]"), _ALL, why="no path out of the folder")


def _url_steps(hosts: Sequence[str]) -> Iterator[Step]:
    """Yield the steps to a name or a URL. What is a URL however it is escaped is no name, so that
    neither is taken for the other.
    """
    yield _spelled_name()
    yield step(
        "named",
        "spelled_name",
        _outside("(?:/|%2[Ff])", "(?:[.]|%2[Ee])"),
        _ALL,
        why="no path out of the folder",
    )
    url = f"(?={CHARACTER}{{1,{MAX_URL_BYTES}}}{END}){spelled_url(hosts)}"
    yield step(
        "url", QUERY, Rule(f"{BEGIN}url=({url}){END}", r"\1"), why="as it is spelled in the URL"
    )
    yield Step("name", "{named}{url}", (_ALL,), why="whichever is given")


def _spelled_name() -> Step:
    spelled = Rule(f"{BEGIN}name=({CHARACTER}{{1,{MAX_NAME_BYTES}}}){END}", r"\1")
    return step("spelled_name", QUERY, spelled, why="as it is spelled in the URL")


def _outside(slash: str, dot: str) -> Rule:
    return Rule(f"(?:^|{slash}){dot}{{0,2}}(?:{slash}|$)", "")
