"""The one spelling: what the steps make of requests, followed here as caches follow them."""

import random
import re
from collections import defaultdict

import pytest
from generated import URL_HOSTS, made_up
from spellings import IDENT, PIXELS, POLICIES, proven, right_spelling, target_of

from imgprocessor.edge.rules import follow
from imgprocessor.edge.spelling import SPELLING, VARY, spelled_pattern, spelling_steps
from imgprocessor.policy.parse import parse_policy

REQUESTS = 700
"""Of the delivered policy; of the others a quarter."""


@pytest.mark.parametrize("named_by", ["query", "path"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", list(POLICIES))
def test_the_one_spelling_means_the_same(name: str, named_by: str, *, signed: bool) -> None:
    """It has no Vary of its own, is spelled so again, and steps that may be left out may be."""
    policy, chance = parse_policy(POLICIES[name], name), random.Random(2)
    count = REQUESTS if name == "shipped" else REQUESTS // 4
    steps = spelling_steps(policy)
    pattern = re.compile(spelled_pattern(policy))
    spellings, known = defaultdict(set), 0
    for query_string, headers in made_up(policy, 4096, count, seed=2):
        given = proven(query_string, chance) if signed else query_string
        asked = target_of(given, chance, named_by)
        if asked is None:
            continue
        found = follow(steps, asked, headers)
        path, _, _ = asked.partition("?")
        spelled = f"{path}?{found[SPELLING]}"
        shorter = follow(steps, asked, headers, skips=True)
        assert shorter[SPELLING] == found[SPELLING], asked
        if not found[SPELLING]:
            continue
        assert shorter[VARY] == found[VARY], asked
        again = follow(steps, spelled, {})
        assert again[SPELLING] == found[SPELLING], asked
        wanted = right_spelling(asked, headers, spelled, policy, PIXELS, URL_HOSTS, signed=signed)
        if wanted is not None:
            assert found[VARY] == wanted[1], asked
            assert again[VARY] == "", asked
            spellings[wanted[0]].add(spelled.partition("?")[2])
            known += pattern.fullmatch(spelled) is not None
        if pattern.fullmatch(asked):
            assert asked == spelled
    meant = sum(map(len, spellings.values()))
    # What odd clients write may be kept twice; little is.
    assert signed or meant < 1.4 * len(spellings)
    assert known > meant / (2 if named_by == "query" else 4)


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
    _is_spelled("/images/", query_string, headers, spelled)


GIF, SCREEN, BOTH = (
    "&formats=gif",
    "bandwidth=4g&screen=desktop",
    "bandwidth=4g&screen=desktop&dpr=1",
)
SIZED = f"bandwidth=4g&dpr=1{GIF}"


@pytest.mark.parametrize(
    ("path", "query_string", "spelled"),
    [
        ("/image/a.jpg", "", f"{SCREEN}{GIF}"),
        ("/media/b/a.jpg", "x=1", f"{SCREEN}{GIF}"),
        ("/images/a&b.jpg", "width=0340&fit=inside", f"width=340&{SIZED}"),
        ("/image/a.jpg", "h=3&w=2&encoding=jpg", "width=2&height=3&format=jpeg&bandwidth=4g&dpr=1"),
        ("/image/a.jpg", "cache-timeout=060", f"ct=60&{SCREEN}{GIF}"),
        ("/image/a.jpg", "size=9x0", f"width=9&fit=force&{SIZED}"),
        ("/image/a.jpg", "size=9x8", f"width=9&height=8&fit=cover&{SIZED}"),
        ("/image/a.jpg", "size=9x9", f"width=9&height=9&fit=cover&gravity=upper&{SIZED}"),
        ("/image/a.jpg", "size=9x%3c8", f"width=9&max_height=8&fit=force&{SIZED}"),
        ("/image/a.jpg", "w=9&h=%3C08", f"width=9&max_height=8&{SIZED}"),
        ("/image/a.jpg", "crop&w=9&h=8", f"width=9&height=8&fit=cover&{SIZED}"),
        ("/image/a.jpg", "crop=1", f"fit=cover&{SCREEN}{GIF}"),
        ("/image/a.jpg", "crop=&size=", f"{SCREEN}{GIF}"),
        ("/image/a.jpg", "crop=0,0,9,9&fit=cover", f"crop=0,0,9,9&fit=cover&{SCREEN}{GIF}"),
        ("/image/a.jpg", "lqip=yes&dpr=2", "lqip=yes"),
        # A number may be a size, or a folder.
        ("/image/100/a.jpg", "", f"{BOTH}{GIF}"),
        ("/image/100/50/a.jpg", "dpr=1.9", f"bandwidth=4g&screen=desktop&dpr=2{GIF}"),
        ("/image/100/a.jpg", "width=3", f"width=3&{SIZED}"),
        ("/image/9/a.jpg", "fit=inside&width=00", f"width=00&fit=inside&{BOTH}{GIF}"),
        ("/image/0/a.jpg", "", f"{SCREEN}{GIF}"),
        # Of an upload's name, what is at its default says that the sides are no size.
        (f"/image/{IDENT}", "width=3&fit=inside", f"width=3&fit=inside&{SIZED}"),
        (f"/image/{IDENT}", "w=3&h=3&gravity=centre", f"width=3&height=3&gravity=centre&{SIZED}"),
        # Given twice, by whichever word.
        ("/image/a.jpg", "w=9&width=9", ""),
        ("/image/a.jpg", "size=9x0&width=", ""),
        ("/image/a.jpg", "size=9x9&gravity=centre", ""),
        ("/image/a.jpg", "crop&fit=inside", ""),
        ("/image/a.jpg", "size=9x8&crop", ""),
        ("/image/a.jpg", "max_height=3&h=%3C8", ""),
        ("/image/a.jpg", "size=9", ""),
        ("/image/a.jpg", "name=b", ""),
        ("/image/a.jpg", "url=https://a.example/b", ""),
        # What servers on the way may take for something else.
        ("/image/a.jpg", "download=a?b", ""),
        *(
            (path, "", "")
            for path in (
                *(
                    "/image/a%2Fb.jpg",
                    "/image/a%2fb",
                    "/image/a//b",
                    "/image/./a",
                    "/image/a/..",
                    "/",
                ),
                *(
                    "/image/a/",
                    "/image/",
                    "/images",
                    "/images/-/health",
                    "/image/-",
                    "/image/%2D/a",
                ),
                *(
                    "/image/%61",
                    "/image/a%2ejpg",
                    "/imag%65/a",
                    "/image/a|b",
                    "/image/a\xe9",
                    "//image/a",
                ),
            )
        ),
    ],
)
def test_what_is_spelled_behind_paths(path: str, query_string: str, spelled: str) -> None:
    _is_spelled(path, query_string, {}, spelled)


def _is_spelled(path: str, query_string: str, headers: dict[str, str], spelled: str) -> None:
    policy, target = parse_policy(POLICIES["shipped"], ""), f"{path}?{query_string}"

    assert follow(spelling_steps(policy), target, headers)[SPELLING] == spelled
    # What caches take for the one spelling, without following any steps, is it.
    assert not re.fullmatch(spelled_pattern(policy), target) or query_string == spelled
