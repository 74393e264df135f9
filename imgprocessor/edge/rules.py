"""`Rule` and `Step`: texts matched and put together, as every cache can; `follow` does it here.

Varnish, nginx and Apache have one thing in common: they match text by regular expressions.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imgprocessor.request.hints import HINT_HEADERS

QUERY, TARGET = "query", "target"
"""The names of the query string, as it came, and of the path, behind which that may stand."""

BEGIN, END = "(?:^|&)", "(?:&|$)"
"""Of a parameter in a query string."""

SPACE = r"[ \t]*"
"""What may stand around a header's value."""


@dataclass(frozen=True)
class Rule:
    """Where the pattern is found, the step's result is this value."""

    pattern: str
    """For PCRE and Python's `re` alike; no double quotes."""
    value: str
    r"""May hold `\1` and `\2`, where the pattern captures.
    """


@dataclass(frozen=True)
class Step:
    """A text looked at, and what comes of it: the value of the first rule that matches."""

    name: str
    source: str
    """Text with `{names}` of earlier steps, of headers, of the query string or of the path."""
    rules: tuple[Rule, ...]
    otherwise: str = ""
    why: str = ""
    """One line for who reads the configuration."""
    when: tuple[str, ...] = ()
    """Earlier steps. Where all of them are empty, what is wanted in the end is the same if this
    one's result is `otherwise`, and a cache need not look at its text.
    """
    unless: str = ""
    """An earlier step, or none. Where it is not empty, this one's result counts for nothing."""


def follow(
    steps: Sequence[Step], target: str, headers: Mapping[str, str], *, skips: bool = False
) -> dict[str, str]:
    """Do what a cache does with a path and a query string, and with headers whose names are in
    lower case; leave out what may be.
    """
    known = {TARGET: target, QUERY: target.partition("?")[2]}
    known |= {text_of(name): headers.get(name, "") for name in HINT_HEADERS}
    for step in steps:
        text = step.source.format_map(known)
        known[step.name] = step.otherwise
        if skips and step.when and not any(known[name] for name in step.when):
            continue
        if skips and step.unless and known[step.unless]:
            continue
        for rule in step.rules:
            found = re.search(rule.pattern, text)
            if found:
                known[step.name] = found.expand(rule.value)
                break
    return known


def text_of(header: str) -> str:
    """Return the name by which steps read a header."""
    return f"header_{header.lower().replace('-', '_')}"


def step(
    name: str,
    source: str,
    *rules: Rule,
    when: tuple[str, ...] = (),
    unless: str = "",
    why: str = "",
) -> Step:
    """Return a step that looks at one text alone."""
    return Step(name, f"{{{source}}}", rules, why=why, when=when, unless=unless)


def first(pattern: str, value: str) -> Rule:
    """Return a rule for the first value of a header: of one sent twice, or a list, that counts."""
    return Rule(f"^{SPACE}(?:{pattern}){SPACE}(?:,|$)", value)
