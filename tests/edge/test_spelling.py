"""The one spelling: what the steps make of requests, followed here as caches follow them."""

import random
import re
from collections import defaultdict

import pytest
from generated import URL_HOSTS, made_up
from spellings import PIXELS, POLICIES, proven, right_spelling

from imgprocessor.edge.rules import follow
from imgprocessor.edge.spelling import SPELLING, VARY, spelled_pattern, spelling_steps
from imgprocessor.policy.parse import parse_policy

REQUESTS = 1200


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", list(POLICIES))
def test_the_one_spelling_means_the_same(name: str, *, signed: bool) -> None:
    """It has no Vary of its own, is spelled so again, and steps that may be left out may be."""
    policy, chance = parse_policy(POLICIES[name], name), random.Random(2)
    steps = spelling_steps(policy)
    pattern = re.compile(spelled_pattern(policy))
    spellings, known = defaultdict(set), 0
    for query_string, headers in made_up(policy, 4096, REQUESTS, seed=2):
        asked = proven(query_string, chance) if signed else query_string
        found = follow(steps, asked, headers)
        spelled = found[SPELLING]
        shorter = follow(steps, asked, headers, skips=True)
        assert shorter[SPELLING] == spelled, asked
        if not spelled:
            continue
        assert shorter[VARY] == found[VARY], asked
        assert follow(steps, spelled, {})[SPELLING] == spelled, asked
        wanted = right_spelling(asked, headers, spelled, policy, PIXELS, URL_HOSTS, signed=signed)
        if wanted is not None:
            assert found[VARY] == wanted[1], asked
            assert follow(steps, spelled, {})[VARY] == "", asked
            spellings[wanted[0]].add(spelled)
            known += pattern.fullmatch(spelled) is not None
        if pattern.fullmatch(asked):
            assert asked == spelled
    meant = sum(map(len, spellings.values()))
    # What odd clients write may be kept twice; little is.
    assert signed or meant < 1.4 * len(spellings)
    assert known > meant / 2


@pytest.mark.parametrize(
    ("query_string", "headers", "spelled"),
    [
        ("name=a", {}, "name=a&bandwidth=4g&screen=desktop&formats=gif"),
        (
            "x=1&dpr=1.2&width=0340&name=a.jpg&fsize=1",
            {"ect": "3g", "accept": "image/avif,image/webp,*/*"},
            "name=a.jpg&width=340&fit=force&bandwidth=3g&dpr=1.5&formats=avif+webp+gif",
        ),
        ("name=a&width=x", {}, "name=a&width=x&bandwidth=4g&dpr=1&formats=gif"),
        (
            "name=a",
            {"accept": "image/avif;q=0.1,image/webp;q=0.9"},
            "name=a&bandwidth=4g&screen=desktop&formats=webp",
        ),
        ("name=a", {"accept": "x/y"}, "name=a&bandwidth=4g&screen=desktop&formats=none"),
        ("name=a&format=gif", {}, "name=a&format=gif&bandwidth=4g&screen=desktop"),
        # What everybody else takes is refused by name: only the query can outrank that.
        ("name=a", {"accept": "image/webp,image/png;q=0"}, ""),
        ("name=a&width=9", {"accept": "image/webp,image/jpeg;q=0.4"}, ""),
        (
            "name=a&formats=webp",
            {"accept": "image/png;q=0"},
            "name=a&bandwidth=4g&screen=desktop&formats=webp",
        ),
        (
            "name=a&format=jpeg",
            {"accept": "image/png;q=0"},
            "name=a&format=jpeg&bandwidth=4g&screen=desktop",
        ),
        (
            "name=a&format=webp&height=0&quality=00&screensize=400",
            {"save-data": "on"},
            "name=a&format=webp&bandwidth=save-data&screen=phone",
        ),
        # What all visitors get alike is kept once.
        ("lqip=yes&name=a&dpr=2&width=9", {"ect": "3g"}, "name=a&width=9&lqip=yes"),
        ("name=a&lqip=yes&bandwidth=4g&screen=desktop&formats=gif", {}, "name=a&lqip=yes"),
        ("name=a&lqip=yes&format=webp&signature=x", {}, "name=a&lqip=yes&format=webp&signature=x"),
        ("name=a&lqip=yes", {"accept": "image/png;q=0"}, "name=a&lqip=yes"),
        ("name=a&lqip=no", {}, "name=a&bandwidth=4g&screen=desktop&formats=gif"),
        (
            "name=a&crop=1%2c2,3%2C4",
            {},
            "name=a&crop=1,2,3,4&bandwidth=4g&screen=desktop&formats=gif",
        ),
        ("name=a&name=a", {}, ""),
        ("name=a&fit=cover&fsize=1", {}, ""),
        ("name=a|b", {}, ""),
        ("width=300", {}, ""),
    ],
)
def test_what_is_spelled(query_string: str, headers: dict[str, str], spelled: str) -> None:
    policy = parse_policy(POLICIES["shipped"], "")

    assert follow(spelling_steps(policy), query_string, headers)[SPELLING] == spelled
    # What caches take for the one spelling, without following any steps, is it.
    assert not re.fullmatch(spelled_pattern(policy), query_string) or query_string == spelled
