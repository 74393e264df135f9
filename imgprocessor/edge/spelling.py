"""All rules from a request to its one spelling, in order, and the `Vary` that caches send.

The one spelling says all that a request and its hints mean under one policy, as parameters of the
URL: the author's, in the table's order and without what is at its default; what proves the link;
after them what scripts and hints say, brought down to the policy's classes. Caches ask the
application in it, and keep what comes by it: so whatever these rules make of a request, what is
kept is right for the URL that it is kept by.
"""

from collections.abc import Iterator
from dataclasses import replace

from imgprocessor.edge.hint_rules import (
    MAY_BE_SENT,
    bandwidth_steps,
    density_caps,
    density_steps,
    formats_steps,
    screen_steps,
    sets_of_formats,
)
from imgprocessor.edge.query_rules import (
    AUTHOR,
    FOR_ALL,
    FORMAT,
    HAS_SIZE,
    IS_NAMED,
    MAY_BE_SIZE,
    NEXT,
    REFUSED,
    author_pattern,
    named_pattern,
    query_steps,
)
from imgprocessor.edge.rules import Rule, Step
from imgprocessor.policy.table import DENSITIES, Policy
from imgprocessor.request.hints import UsedHints, vary
from imgprocessor.request.number_patterns import literal

SPELLING, VARY = "spelling", "vary"
"""The steps whose results are wanted. The spelling is empty where there is none: such a request is
passed on as it is, and its answer is not kept.
"""


def spelling_steps(policy: Policy) -> tuple[Step, ...]:
    """Return the steps from a request to its one spelling and its `Vary`, in order."""
    return (
        *query_steps(),
        *bandwidth_steps(policy),
        *screen_steps(policy),
        *density_steps(policy),
        *formats_steps(policy),
        Step(
            SPELLING,
            f"{{{IS_NAMED}}}{AUTHOR}|bandwidth={{bandwidth}}{{screen}}{{density}}{{{MAY_BE_SENT}}}",
            (
                Rule(f"^1((?:[^|]*&)?{FOR_ALL}=[^|]+)&[|]", r"\1"),
                Rule(f"^1([^|]*)[|]([^{REFUSED}]+)$", r"\1\2"),
            ),
            why="what is asked, and what the answer is kept by",
        ),
        *_vary_steps(policy),
    )


def spelled_pattern(policy: Policy) -> str:
    """Return a pattern of paths and query strings that are in the one spelling already; but for
    paths that may name a size.
    """
    caps = density_caps(policy)
    sized = []
    for cap in dict.fromkeys(caps.values()):
        names = "|".join(name for name, most in caps.items() if most == cap)
        densities = [literal(density) for density in DENSITIES if density <= cap]
        dpr = f"&dpr=(?:{'|'.join(densities)})" if cap > DENSITIES[0] else ""
        sized.append(f"bandwidth=(?:{names}){dpr}")
    screens = "|".join(screen.name for screen in policy.screens)
    has_size, has_format = (f".*{NEXT}{names}=" for names in ("(?:width|height)", FORMAT))
    sets = "|".join(known.replace("+", "[+]") for known in sets_of_formats(policy))
    # What looks ahead does so behind the name, which may be long.
    return (
        f"{named_pattern()}(?!.*{NEXT}{FOR_ALL}=)(?=(?!{has_format})|(?!.*{NEXT}formats=))"
        f"(?={has_format}|.*&formats=(?:{sets})$)"
        f"(?:(?!{has_size}){author_pattern()}"
        f"{NEXT}bandwidth=(?:{'|'.join(caps)})&screen=(?:{screens})"
        f"|(?={has_size}){author_pattern()}{NEXT}(?:{'|'.join(sized)}))"
        "(?:&formats=[^&]+)?"
    )


def _vary_steps(policy: Policy) -> Iterator[Step]:
    """What `negotiation.uses` says, told by what the query string names."""
    nothing = UsedHints(
        save_data=policy.save_data_bandwidth is not None,
        rtt=policy.measures_rtt,
        downlink=policy.measures_downlink,
    )
    dense = [name for name, cap in density_caps(policy).items() if cap > DENSITIES[0]]
    pieces: list[tuple[str, str, str]] = [
        ("bandwidth", "{asked_bandwidth}", "^$"),
        ("screen", f"{{{HAS_SIZE}}}|{{asked_screen}}", "^[|]$"),
        (
            "density",
            f"{{asked_dpr}}|{{{HAS_SIZE}}}{{{MAY_BE_SIZE}}}|{{asked_bandwidth}}",
            f"^[|]1+[|](?:|{'|'.join(dense)})$",
        ),
        ("formats", f"{{{FORMAT}}}|{{asked_formats}}", "^[|]$"),
    ]
    known = f"{{{IS_NAMED}}}{{{FOR_ALL}}}"
    for piece, source, pattern in pieces:
        if piece != "density" or dense:
            names = vary(replace(nothing, **{piece: True}))
            yield Step(f"vary_{piece}", source, (Rule(pattern, f", {names}"),))
            known += f"{{vary_{piece}}}"
    yield Step(VARY, known, (Rule("^1, (.+)$", r"\1"),), why="for browsers; the cache needs none")
