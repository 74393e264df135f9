"""Rules that bring what a page's author writes to its one spelling: one step for each row."""

from collections.abc import Iterator, Mapping, Sequence

from imgprocessor.edge.rules import BEGIN, END, QUERY, TARGET, Rule, Step, step
from imgprocessor.request.parameters import (
    AUTHORS,
    NAMES,
    OLD_NAMES,
    PARAMETERS,
    PROOFS,
    Parameter,
)
from imgprocessor.request.shorthands import ON, SIZE, UPLOAD, WIDTH_IN_PATH
from imgprocessor.request.urls import CHARACTER

IS_NAMED = "is_named"
"""The step that says whether the request names one picture, in its path or in its query. Not so
where a parameter is given twice, or a character stands there that no URL has: that is passed on as
it is, and never kept.
"""

HAS_SIZE, MAY_BE_SIZE, FORMAT, FOR_ALL = "sized", "may_be_size", "format", "lqip"
"""The steps that say whether the request names a size, whether its path may, whether it names a
format, and what all visitors get.
"""

AUTHOR = "".join(f"{{{name}}}" for name in (*(row.name for row in AUTHORS), *PROOFS))
"""What the author wrote and what proves the link, each parameter with a `&` behind it."""

_SIDES = ("width", "height")

NAMES_SIZE = f"{BEGIN}(?:{'|'.join(_SIDES)})="
"""A pattern of what tells that a size is named, in the one spelling."""

NAMED = f"(?:{'|'.join(NAMES)})={CHARACTER}++"
"""A pattern of what names the original. It gives nothing back: a long name is gone through once."""

PICTURES = "/(?:image|media|images)/(?!-(?:[/?]|$))"
"""A pattern of how the paths begin by which pictures are asked for."""

NEXT = "(?:(?<=[?])|&)"
"""What stands before a parameter of a URL in which the name is known."""

_ESCAPED = "%(?:00|2[DdEeFf]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|(?![0-9A-Fa-f]{2}))"
_ELSEWHERE = "[.]{0,2}(?:[/?]|$)"
PATH = (
    f"{PICTURES}(?!{_ELSEWHERE})(?![^?]*?(?:{_ESCAPED}|/{_ELSEWHERE}))"
    "[A-Za-z0-9._~!$'()*+,;:@&=/%-]++(?=[?]|$)"
)
"""A pattern of paths that name a picture, and mean the same to each server on the way: without
empty parts, dots that lead elsewhere, and escapes that are none, or of a slash, or needless.
"""

SIZE_BEFORE_NAME = f"(?:{WIDTH_IN_PATH}/)"
"""A pattern of what in a path may be a size, or a folder."""

_GIVEN, _IMPLIED = "given", ("width", "height", "max_height", "fit", "gravity")
"""The step with the query string for the rows that a size stands for: with a mark before it where
the path may name a size, or an upload of old, of which sides are one. There, defaults count.
"""

REFUSED = "!"
"""What a step says of a request that has no spelling."""

_TALLER = "(?:height|h)=%3[cC]"
_CROPS = f"crop(?:=(?:{'|'.join(ON)}))?"
_SIZE = f"{SIZE}={WIDTH_IN_PATH}x"
_HEIGHT = f"(?:0|(?:%3[cC])?{WIDTH_IN_PATH})"

_SHORTHANDS: Mapping[str, Mapping[str, str]] = {
    "crop": {f"{_CROPS}{END}": ""},
    "width": {f"{SIZE}=({WIDTH_IN_PATH})x{_HEIGHT}{END}": r"width=\1&"},
    "height": {_TALLER: "", f"{_SIZE}({WIDTH_IN_PATH}){END}": r"height=\1&"},
    "max_height": {f"{_SIZE}%3[cC]({WIDTH_IN_PATH}){END}": r"max_height=\1&"},
    "fit": {
        f"{_CROPS}{END}|{BEGIN}{_SIZE}{WIDTH_IN_PATH}{END}": "fit=cover&",
        f"{_SIZE}(?:0|%3[cC]{WIDTH_IN_PATH}){END}": "fit=force&",
    },
    "gravity": {rf"{SIZE}=({WIDTH_IN_PATH})x\1{END}": "gravity=upper&"},
}
"""By row, what `request.shorthands` knows: patterns, and what they come to."""

_ANY_SIZE = f"{SIZE}=[^&]*"
_OTHER_WORDS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("width", "height", "gravity"), (_ANY_SIZE,)),
    "max_height": (_ANY_SIZE, f"{_TALLER}[^&]*"),
    "fit": (_ANY_SIZE, _CROPS),
}
"""By row, patterns of what else may stand for it: together with it, it would be given twice."""


def query_steps() -> Iterator[Step]:
    """Yield the steps from the path and the query string to those of all that `AUTHOR` names,
    `HAS_SIZE`, `FORMAT` and `IS_NAMED`. What is wrong stays as it is: the application refuses it.
    """
    mark = Rule(f"^/[a-z]+/(?:{SIZE_BEFORE_NAME}|{UPLOAD}(?:[?]|$))", "!&")
    yield step("mark", TARGET, mark, why="defaults count beside a size in the path")
    yield Step(_GIVEN, f"{{mark}}{{{QUERY}}}", (Rule("^(.+)$", r"\1"),))
    yield step(
        "refused",
        QUERY,
        Rule(f"(?!{CHARACTER}|&).", REFUSED),
        Rule(f"{BEGIN}(?:{'|'.join(_pairs())})(?:&|$)", REFUSED),
        Rule(f"{BEGIN}{SIZE}=(?!{WIDTH_IN_PATH}x{_HEIGHT}{END}|{END})", REFUSED),
        why="what no URL has, a parameter twice, or a size that is none",
    )
    for row in AUTHORS:
        yield author_step(row)
    for name in PROOFS:
        yield step(name, QUERY, Rule(f"{BEGIN}({name}(?:=[^&]*)?){END}", r"\1&"))
    yield step(
        "named_by",
        TARGET,
        Rule("^/images/(?:[?]|$)", "query"),
        Rule(f"^{PATH}(?:[?][^?]*)?$", "path"),
    )
    yield Step(
        IS_NAMED,
        f"{{refused}}|{{named_by}}|{''.join(f'{{{name}}}' for name in NAMES)}",
        (Rule("^[|](?:query[|].|path[|]$)", "1"),),
    )
    yield step(MAY_BE_SIZE, TARGET, Rule(f"^/[a-z]+/{SIZE_BEFORE_NAME}", "1"))
    yield Step(HAS_SIZE, "".join(f"{{{name}}}" for name in _SIDES), (Rule("=[^&]*[^&0]", "1"),))


def author_step(row: Parameter) -> Step:
    """Return the step of one row: what is at its default goes, old and other spellings become the
    one that is written.
    """
    words = [row.name, *(old for old, values in row.old.items() if values is None)]
    word = f"(?:{'|'.join(words)})=" if len(words) > 1 else f"{row.name}="
    named = BEGIN + (f"(?:{word}|{_TALLER})" if row.name == "max_height" else word)
    is_implied, default = row.name in _IMPLIED, row.value.pattern_of(row.default)
    rules = [
        *(
            Rule(f"{BEGIN}{pattern}", written)
            for pattern, written in _SHORTHANDS.get(row.name, {}).items()
        ),
        *([Rule(f"^!.*{named}({default}){END}", rf"{row.name}=\1&")] if is_implied else []),
        Rule(f"{named}(?:{default}){END}", ""),
        *(
            Rule(f"{named}{pattern}{END}", f"{row.name}={written}&")
            for pattern, written in row.value.respelled.items()
        ),
        *(
            Rule(f"{BEGIN}{old}={value}{END}", f"{row.name}={written}&")
            for old, values in row.old.items()
            for value, written in _old_values(values or {})
        ),
        Rule(f"{named}([^&]+)", rf"{row.name}=\1&"),
    ]
    return step(row.name, _GIVEN if is_implied else QUERY, *rules)


def named_pattern() -> str:
    """Return a pattern of what names a picture, in the query, or in a path that can be no size."""
    return f"(?:/images/[?]{NAMED}|(?!/[a-z]+/{SIZE_BEFORE_NAME}){PATH}[?]?)"


def author_pattern() -> str:
    """Return a pattern of what an author writes behind the name in the one spelling, but for the
    `&` behind the last parameter; for which hints count.
    """
    pattern = ""
    for row in (row for row in AUTHORS if row.name not in {*NAMES, FOR_ALL}):
        default = row.value.pattern_of(row.default)
        pattern += f"(?:{NEXT}{row.name}=(?!{default}(?:&|$))(?:{row.value.pattern}))?"
    for proof in PROOFS:
        pattern += f"(?:{NEXT}{proof}=[A-Za-z0-9_-]+)?"
    return pattern


def _old_values(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield patterns of old values, and what they stand for; as one, those that stay the same."""
    same = [value for value, written in values.items() if value == written]
    yield from ((value, written) for value, written in values.items() if value not in same)
    if same:
        yield f"({'|'.join(same)})", r"\1"


def _pairs() -> Iterator[str]:
    """Yield patterns of a parameter that is given twice."""
    for name in (*PARAMETERS, *PROOFS):
        olds = [old for old, row in OLD_NAMES.items() if row.name == name]
        named = f"(?:{'|'.join((name, *olds))})" if olds else name
        either = "|".join((f"{named}(?:=[^&]*)?", *_OTHER_WORDS.get(name, ())))
        yield f"(?:{either})&(?:.*&)?(?:{either})"
