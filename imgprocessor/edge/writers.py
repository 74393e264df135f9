"""Writes a cache's configuration: rules in the language of Varnish, nginx or Apache.

Each cache has one template; what comes between a request and its one spelling is `spelling`, told
here in each cache's language.
"""

import contextlib
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from string import Formatter
from typing import Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined

from imgprocessor.config.settings import Settings
from imgprocessor.config.upload_settings import SMALL_BODY_BYTES
from imgprocessor.edge.hint_rules import MAY_BE_SENT, SHOWN, WHOLE_NUMBER
from imgprocessor.edge.query_rules import (
    AUTHOR,
    FOR_ALL,
    FORMAT,
    HAS_SIZE,
    IS_NAMED,
    NAMED,
    NAMES_SIZE,
    PICTURES,
    REFUSED,
    SIZE_BEFORE_NAME,
    author_pattern,
    named_pattern,
)
from imgprocessor.edge.rules import BEGIN, QUERY, TARGET, Rule, Step, follow, text_of
from imgprocessor.edge.spelling import SPELLING, VARY, spelled_pattern, spelling_steps
from imgprocessor.formats import PLAINEST
from imgprocessor.policy.table import Policy
from imgprocessor.request.hints import ACCEPT, HINT_HEADERS

Cache = Literal["varnish", "nginx", "apache"]

_LOOPBACK = ("127.0.0.1", "::1")

CACHES: tuple[Cache, ...] = get_args(Cache)

_TEMPLATES = {
    "varnish": "varnish.vcl.jinja",
    "nginx": "nginx.conf.jinja",
    "apache": "apache.conf.jinja",
}

_PARAMETER = re.escape("(?:^|&)") + "[a-z_]+=?"
"""How patterns begin that look for a parameter."""

_ACCEPTS = (
    "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    (
        "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,"
        "image/svg+xml,image/*;q=0.8,*/*;q=0.5"
    ),
    "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
)
"""What Chromium, Safari and Firefox send for pictures; what comes of it is known beforehand."""

_OF_ALL = {"^$": "!", "^(.+)$": ""}
"""Patterns that ask whether there is anything; to Varnish, what is not set is false."""


@dataclass(frozen=True)
class Backend:
    """Where an application listens."""

    host: str
    port: int


@dataclass(frozen=True)
class Site:
    """What a configuration is written for."""

    backends: Sequence[Backend] = (Backend("127.0.0.1", 8080),)
    """The application's nodes."""
    purgers: Sequence[str] = ()
    """Addresses, and networks such as 10.0.0.0/8, from which Varnish may be told to purge, beside
    this machine's own and those of the backends.
    """
    listen: str = "80"
    """Where nginx listens, in its own words."""
    folder: str = "/var/lib/nginx/imgprocessor"
    """Where nginx keeps pictures."""
    max_megabytes: int = 2000
    """How much nginx keeps."""


def configuration(
    cache: Cache, settings: Settings, policy: Policy, answers_digest: str, site: Site
) -> str:
    """Return a complete configuration, as text. What is kept under another digest is not found."""
    environment = Environment(
        loader=PackageLoader("imgprocessor.edge"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    steps = spelling_steps(policy)
    names = [step.name for step in steps]
    hints_from = names.index(HAS_SIZE) + 1
    last_from = names.index(MAY_BE_SENT)
    return environment.get_template(_TEMPLATES[cache]).render(
        site=site,
        freshness=settings.freshness,
        digest=answers_digest,
        steps=steps,
        purgers=_purgers(site),
        max_body_bytes=settings.uploads.max_body_bytes,
        small_body_bytes=SMALL_BODY_BYTES,
        signed=settings.signing.keys_file is not None,
        spelled=spelled_pattern(policy),
        authors=named_pattern() + author_pattern(),
        author=_varnish_source(AUTHOR),
        begin=BEGIN,
        named=NAMED,
        is_named=IS_NAMED,
        for_all=FOR_ALL,
        pictures=PICTURES,
        size_before_name=SIZE_BEFORE_NAME,
        sized=HAS_SIZE,
        names_size=NAMES_SIZE,
        format=FORMAT,
        refused=REFUSED,
        may_be_sent=MAY_BE_SENT,
        spelling=SPELLING,
        vary=VARY,
        source=lambda step: _SOURCES[cache](step.source),
        captures=_captures,
        of_nothing=_of_nothing,
        query_groups=_groups(steps[:hints_from]),
        hint_groups=_groups(steps[hints_from:last_from]),
        last_groups=_groups(steps[last_from:]),
        shown=SHOWN,
        usual_vary=_usual_vary(steps),
        whole=_whole,
        copies=_copies,
        condition=_condition,
        guard=_guard,
    )


def _purgers(site: Site) -> list[str]:
    """Return who may purge, in Varnish's spelling, each once."""
    found = [*_LOOPBACK, *(backend.host.strip("[]") for backend in site.backends), *site.purgers]
    spelled = []
    for text in found:
        with contextlib.suppress(ValueError):  # a name, which Varnish would have to look up
            network = ipaddress.ip_network(text)
            whole = network.prefixlen == network.max_prefixlen
            address = f'"{network.network_address}"'
            spelled.append(address if whole else f"{address}/{network.prefixlen}")
    return list(dict.fromkeys(spelled))


def _varnish_source(source: str) -> str:
    names = {text_of(header): f"req.http.{header}" for header in HINT_HEADERS}
    names |= {QUERY: "req.http.image-asked", TARGET: "req.url"}
    pieces = []
    for literal, name, _, _ in Formatter().parse(source):
        if literal:
            pieces.append(f'"{literal}"')
        if name is not None:
            pieces.append(names.get(name, f'var.get("{name}")'))
    return " + ".join(pieces)


@dataclass(frozen=True)
class _Group:
    """Steps in a row that Varnish leaves out together."""

    condition: str
    """Empty where they are always done."""
    steps: Sequence[Step]
    known: dict[str, str]
    """What `SHOWN` comes to, by conditions under which it is known without them."""


def _groups(steps: Sequence[Step]) -> list[_Group]:
    groups = []
    for (when, unless, of_accept), some in groupby(
        steps, lambda step: (step.when, step.unless, _is_known(step))
    ):
        together = list(some)
        condition = " || ".join(f'var.get("{name}")' for name in when)
        if unless:
            condition = f'({condition or "true"}) && !var.get("{unless}")'
        groups.append(_Group(condition, together, _known(together) if of_accept else {}))
    return groups


def _is_known(step: Step) -> bool:
    """Whether a step's result follows from the header Accept alone."""
    return step.source == f"{{{text_of(ACCEPT)}}}" or step.name == SHOWN


def _usual_vary(steps: Sequence[Step]) -> dict[bool, dict[bool, str]]:
    """Return the Vary of URLs that have the author's part alone, by whether they name a size, and a
    format.
    """
    sized, named = "&width=1", f"&{FORMAT}={PLAINEST}"
    asked = {True: {True: sized + named, False: sized}, False: {True: named, False: ""}}
    return {
        is_sized: {
            is_named: follow(steps, f"/images/?name=n{query}", {})[VARY]
            for is_named, query in some.items()
        }
        for is_sized, some in asked.items()
    }


def _known(steps: Sequence[Step]) -> dict[str, str]:
    """Return what comes of the headers that browsers send, by the condition that one of them is."""
    return {
        f'req.http.{ACCEPT} == "{header}"': follow(steps, "", {ACCEPT.lower(): header})[SHOWN]
        for header in _ACCEPTS
    }


def _guard(step: Step) -> str:
    """Return what must be true for any rule of a step to match, if Varnish sees that faster."""
    header = re.fullmatch(r"{header_([a-z_]+)}", step.source)
    if not step.rules:
        return ""
    if header and _of_nothing(step) is None:
        return _varnish_source(step.source)
    # The first and the last in order have in common what all have.
    patterns = sorted(rule.pattern for rule in step.rules)
    common = takewhile(
        lambda pair: pair[0] == pair[1], zip(patterns[0], patterns[-1], strict=False)
    )
    prefix = re.match(_PARAMETER, "".join(letter for letter, _ in common))
    if prefix and len(patterns) > 1:
        return f'{_varnish_source(step.source)} ~ "{prefix[0]}"'
    return ""


def _condition(rule: Rule, text: str) -> str:
    """Return a rule's pattern as a condition: by comparison, where it matches few whole texts."""
    if rule.pattern in _OF_ALL and " + " not in text:
        return f"{_OF_ALL[rule.pattern]}{text}"
    whole = re.fullmatch(r"\^(?:\(\?:)?([A-Za-z0-9 |_\[\].-]*?)\)?\$", rule.pattern)
    if whole and not re.search(r"[.](?!])|\[(?![|.]])", whole[1]):
        words = re.sub(r"\[([|.])\]", r"\1", whole[1].replace("[|]", "\0")).split("|")
        if len(words) == 1 or "(?:" in rule.pattern:
            return " || ".join(f'{text} == "{word}"' for word in words).replace("\0", "|")
    return f'{text} ~ "{rule.pattern}"'


def _copies(rule: Rule) -> bool:
    """Whether a rule's result is the whole text."""
    return rule in {Rule("^(.+)$", r"\1"), WHOLE_NUMBER}


def _whole(rule: Rule) -> str:
    """Return a pattern that matches all of a text in which the rule's is found."""
    if "|" in re.sub(r"\[[^]]*\]|\(.*\)", "", rule.pattern):
        return f"^.*?(?:{rule.pattern}).*$"
    begin = "" if rule.pattern.startswith("^") else "^.*?"
    end = "" if rule.pattern.endswith("$") else ".*$"
    return f"{begin}{rule.pattern}{end}"


def _nginx_source(source: str) -> str:
    names = {text_of(header): f"$http_{header.replace('-', '_')}" for header in HINT_HEADERS}
    names |= {QUERY: "$args", TARGET: "$request_uri"}
    return _filled(source, names, "${{img_{}}}")


def _apache_source(source: str) -> str:
    names = {text_of(header): f"%{{HTTP:{header}}}" for header in HINT_HEADERS}
    names[QUERY] = "%{QUERY_STRING}"
    return _filled(source, names, "%{{ENV:img_{}}}")


def _filled(source: str, names: Mapping[str, str], otherwise: str) -> str:
    """Return a step's source with the names that a cache has for texts."""
    return "".join(
        literal + ("" if name is None else names.get(name, otherwise.format(name)))
        for literal, name, _, _ in Formatter().parse(source)
    )


def _captures(rule: Rule) -> bool:
    """Whether a rule's value holds something of what was matched."""
    return "\\" in rule.value


def _of_nothing(step: Step) -> str | None:
    """Return what a step says of an empty text; None where no rule matches it."""
    return next((rule.value for rule in step.rules if re.search(rule.pattern, "")), None)


_SOURCES: dict[Cache, Callable[[str], str]] = {
    "varnish": _varnish_source,
    "nginx": _nginx_source,
    "apache": _apache_source,
}
