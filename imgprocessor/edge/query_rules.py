"""Rules that bring what a page's author writes to its one spelling: one step for each row."""

from collections.abc import Iterator

from imgprocessor.edge.rules import BEGIN, END, QUERY, Rule, Step, asked, step
from imgprocessor.request.parameters import (
    AUTHORS,
    NAMES,
    OLD_NAMES,
    PARAMETERS,
    PROOFS,
    Parameter,
)
from imgprocessor.request.urls import CHARACTER

AUTHOR = "author"
"""The step whose result is what the author wrote and what proves the link, each parameter with a
`&` behind it. Empty where no picture is named, a parameter is given twice, or a character stands
there that no URL has: that is passed on as it is, and never kept.
"""

HAS_SIZE, FORMAT, FOR_ALL = "sized", "format", "lqip"
"""The steps that say whether the request names a size, a format, and what all visitors get."""

_SIDES = ("width", "height")

NAMES_SIZE = f"&(?:{'|'.join(_SIDES)})="
"""A pattern of what tells that a size is named, in the one spelling."""

NAMED = f"(?:{'|'.join(NAMES)})={CHARACTER}++"
"""A pattern of what names the original. It gives nothing back: a long name is gone through once."""

REFUSED = "!"
"""What a step says of a request that has no spelling."""


def query_steps() -> Iterator[Step]:
    """Yield the steps from the query string to `AUTHOR`, `HAS_SIZE` and `FORMAT`. What is wrong
    stays as it is: the application refuses it.
    """
    names = [*(row.name for row in AUTHORS), *PROOFS]
    yield step("several", QUERY, Rule("&", "&"), why="there is more than the name")
    yield step(
        "refused",
        QUERY,
        Rule(f"(?!{CHARACTER}|&).", REFUSED),
        Rule(f"{BEGIN}(?:{'|'.join(_pairs(names))})(?:[=&]|$)", REFUSED),
        why="what no URL has, or a parameter twice",
    )
    for row in AUTHORS:
        yield author_step(row)
    for name in PROOFS:
        yield asked(name, Rule(f"{BEGIN}({name}(?:=[^&]*)?){END}", r"\1&"))
    yield Step(
        AUTHOR,
        "{refused}|" + "".join(f"{{{name}}}" for name in names),
        (Rule(f"^[|]((?:{'|'.join(NAMES)})=.+)$", r"\1"),),
    )
    yield Step(HAS_SIZE, "".join(f"{{{name}}}" for name in _SIDES), (Rule(".", "1"),))


def author_step(row: Parameter) -> Step:
    """Return the step of one row: what is at its default goes, old and other spellings become the
    one that is written.
    """
    rules = [
        Rule(f"{BEGIN}{row.name}=(?:{row.value.pattern_of(row.default)}){END}", ""),
        *(
            Rule(f"{BEGIN}{row.name}={pattern}{END}", f"{row.name}={written}&")
            for pattern, written in row.value.respelled.items()
        ),
        *(
            Rule(f"{BEGIN}{old}={value}{END}", f"{row.name}={written}&")
            for old, values in row.old.items()
            for value, written in (values or {}).items()
        ),
        Rule(f"{BEGIN}({row.name}=[^&]+)", r"\1&"),
    ]
    if row.name in NAMES:  # which may stand alone
        return step(row.name, QUERY, *rules)
    return asked(row.name, *rules)


def author_pattern() -> str:
    """Return a pattern of what an author writes behind the name in the one spelling, but for the
    `&` behind the last parameter.
    """
    pattern = ""
    for row in (row for row in AUTHORS if row.name not in NAMES):
        default = row.value.pattern_of(row.default)
        pattern += f"(?:&{row.name}=(?!{default}(?:&|$))(?:{row.value.pattern}))?"
    for proof in PROOFS:
        pattern += f"(?:&{proof}=[A-Za-z0-9_-]+)?"
    return pattern


def _pairs(names: list[str]) -> Iterator[str]:
    """Yield patterns of a parameter that is given twice."""
    olds = {name: [name] for name in (*names, *PARAMETERS)}
    for old, row in OLD_NAMES.items():
        olds[row.name].append(old)
    for known in olds.values():
        either = "|".join(known)
        yield f"(?:{either})(?:=[^&]*)?&(?:.*&)?(?:{either})"
