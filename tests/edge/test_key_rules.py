"""The rules for caches, held together with what the application does."""

import random
import re
from collections import Counter
from dataclasses import replace
from urllib.parse import quote, unquote

import pytest
from application_keys import ENCODERS, PIXELS, POLICIES, answered, proven
from generated import ODD_NAME, ODD_URLS, URL_HOSTS, URLS, made_up

from imgprocessor.edge.key_rules import KEY, VARY, key_steps
from imgprocessor.edge.query_rules import PROOF
from imgprocessor.edge.rules import Step, follow
from imgprocessor.errors import BadSignature
from imgprocessor.policy.limits import Allowed
from imgprocessor.policy.parse import parse_policy
from imgprocessor.request.parameters import parse
from imgprocessor.request.signing import proof

OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in POLICIES if name != "shipped"]


@pytest.mark.parametrize("hosts", [(), URL_HOSTS], ids=["at home", "elsewhere"])
@pytest.mark.parametrize("max_side", [4096, pytest.param(1001, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["shipped", *OTHERS])
def test_the_rules_form_the_applications_keys(
    name: str, max_side: int, hosts: tuple[str, ...]
) -> None:
    policy = parse_policy(POLICIES[name], name)
    pixels = replace(PIXELS, max_output_side_pixels=max_side)
    steps = key_steps(policy, pixels, ENCODERS, hosts)
    told, told_elsewhere = 0, 0
    for query_string, headers in made_up(policy, max_side, 3000, elsewhere=0.3 if hosts else 0.02):
        wanted = answered(query_string, headers, policy, pixels, hosts=hosts)
        known = follow(steps, query_string, headers)
        if known[KEY]:
            skipped = follow(steps, query_string, headers, skips=True)
            assert (skipped[KEY], skipped[VARY]) == (known[KEY], known[VARY])
        if known[KEY] and wanted is not None:
            assert (known[KEY], known[VARY]) == wanted, (query_string, headers)
            told += 1
            told_elsewhere += wanted[0].startswith("http")
        elif wanted is not None:
            # Where the rules say nothing, nothing is kept: only of names that are none of theirs.
            assert re.search(ODD_NAME, query_string), query_string
        elif known[KEY]:
            # What only decoding shows to be wrong.
            assert "%" in query_string, (query_string, headers)
    assert told > (300 if policy.allowed == Allowed() else 150)
    assert (told_elsewhere > 100) == bool(hosts)


def test_no_name_has_the_key_of_a_url() -> None:
    """However it is escaped: a cache would take one for the other."""
    steps = key_steps(parse_policy(POLICIES["shipped"], ""), PIXELS, ENCODERS, URL_HOSTS)
    for url in (*URLS, *ODD_URLS):
        for spelled in (url, url.replace("/", "%2f"), url.replace("/", "%2F"), quote(url, safe="")):
            assert follow(steps, f"name={spelled}", {})[KEY] == "" or "//" not in unquote(spelled)


@pytest.mark.slow
def test_what_is_signed_has_the_same_keys_and_what_is_not_has_none() -> None:
    """What proves a link is found wherever the application finds it."""
    policy = parse_policy(POLICIES["a ladder"], "")
    plain = key_steps(policy, PIXELS, ENCODERS)
    steps = key_steps(policy, PIXELS, ENCODERS, signed=True)
    chance, outcomes = random.Random(5), Counter[str]()
    for query_string, headers in made_up(policy, 4096, 4000, seed=5):
        link = proven(query_string, chance)
        known = follow(steps, link, headers)
        try:
            wanted = proof(parse(link, 4096))
        except BadSignature:
            wanted = ""
        if not wanted:
            assert not known[KEY], link
            outcomes["unproven"] += 1
            continue
        key = follow(plain, query_string, headers)[KEY]
        assert known[KEY] == key, link
        assert known[PROOF] == wanted, link
        assert {*(known[KEY] + known[PROOF])}.isdisjoint("&")
        outcomes["key" if key else "no key"] += 1
    assert min(outcomes[kind] for kind in ("unproven", "key", "no key")) > 300


def test_patterns_can_be_written_in_every_configuration() -> None:
    for name, text in POLICIES.items():
        for step in key_steps(parse_policy(text, name), PIXELS, ENCODERS, URL_HOSTS):
            for rule in step.rules:
                assert not re.search(r'["\\](?!t)', rule.pattern), (step.name, rule.pattern)
                assert re.compile(rule.pattern).groups <= 1
                assert '"' not in rule.value
                assert "," not in rule.value or rule.pattern.startswith("^")


def test_every_step_reads_what_was_told_before() -> None:
    steps = key_steps(parse_policy(POLICIES["shipped"], ""), PIXELS, ENCODERS, URL_HOSTS)

    def used(step: Step) -> set[str]:
        return {*re.findall("{([a-z_]+)}", step.source), *step.when}

    read: set[str] = set().union(*(used(step) for step in steps))
    assert [step.name for step in steps if step.name not in read] == [KEY, VARY]
    for place, step in enumerate(steps):
        before = {known.name for known in steps[:place]} | {"query"}
        assert {name for name in used(step) if not name.startswith("header_")} <= before
