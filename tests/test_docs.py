"""Documentation that cannot fall behind: README and conf/ against the code."""

import json
import re
import shutil
import subprocess
import time
from dataclasses import fields
from pathlib import Path

import generated
import pytest
import strategies
from conftest import ROOT

from imgprocessor import errors, formats
from imgprocessor.config.settings import Settings
from imgprocessor.config.settings_file import describe_settings, parse_settings
from imgprocessor.edge import rules
from imgprocessor.errors import ImageError
from imgprocessor.policy import imagekey
from imgprocessor.policy.parse import parse_policy
from imgprocessor.policy.table import Policy
from imgprocessor.request import hints, parameters
from imgprocessor.request.parameters import parse
from imgprocessor.request.signing import Signing, sign

README = (ROOT / "README.md").read_text()


def _section(title: str) -> str:
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def _first_column(section: str) -> list[str]:
    return re.findall(r"^\| (?:[\w ]*\| )?`([^`]+)`", section, re.MULTILINE)


def test_every_setting_is_in_the_table_with_its_default_and_its_help() -> None:
    expected = []
    for line in describe_settings(Settings()).splitlines():
        if line.startswith("["):
            section = line
        elif line.startswith("; "):
            help_text = line[2:]
        elif " = " in line:
            option, _, value = line.partition(" = ")
            expected.append(f"| `{section} {option}` | `{value}` | {help_text} |")

    assert expected == [row for row in _section("Settings").splitlines() if row.startswith("| `[")]


def test_the_settings_file_lists_every_setting_at_its_default() -> None:
    text = (ROOT / "conf/imgprocessor.ini").read_text()
    delivered = re.sub(r"^;(\w+ = )", r"\1", text, flags=re.MULTILINE)

    assert parse_settings(text, "conf/imgprocessor.ini") == Settings()
    assert parse_settings(delivered, "conf/imgprocessor.ini") == Settings()
    assert delivered.endswith(describe_settings(Settings()))


def test_every_parameter_is_in_the_table() -> None:
    described = re.findall(
        r"`(\w+)`",
        " ".join(
            row.split("|")[1]
            for row in _section("Parameters").splitlines()
            if row.startswith("| `")
        ),
    )

    assert described == list(parameters.PARAMETERS)
    for old in parameters.OLD_SPELLINGS:
        assert f"`{old}" in _section("Parameters")


def test_every_error_is_in_the_table_with_its_status() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", _section("Failures"), re.MULTILINE)
    known = {
        (value.code, str(value.status))
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, ImageError) and value is not ImageError
    }

    assert set(rows) == known


def test_requests_for_properties_have_every_parameter() -> None:
    assert set(strategies.PARAMETERS) - {"colour"} == set(parameters.PARAMETERS) - {"name", "url"}


def test_caches_are_asked_with_every_parameter_and_every_hint(policy: Policy) -> None:
    """What is never made up, no test would miss in the rules for caches: they would keep pictures
    that differ as one.
    """
    known = {*generated.values(policy, 4096), "name", "url"}

    assert known == {*parameters.PARAMETERS, *parameters.OLD_SPELLINGS}
    assert set(generated.hints(policy)) == set(hints.HINT_HEADERS)
    assert {name.lower() for name in rules.RULE_HEADERS.values()} == set(hints.HINT_HEADERS)


def test_the_page_knows_the_fields_of_an_imagekey() -> None:
    script = (ROOT / "static" / "page.js").read_text()
    (fields,) = re.findall(r"const KEY_FIELDS = \[(.*)\];", script)

    assert tuple(re.findall(r'"(\w+)"', fields)) == imagekey.FIELDS[1:]


def test_links_within_readme_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_every_format_has_its_row() -> None:
    assert _first_column(_section("Formats")) == list(formats.FORMATS)


def test_every_hint_is_described() -> None:
    names = (hints.OLD_BANDWIDTH, hints.OLD_SCREEN, hints.SAVE_DATA, hints.ECT, hints.RTT)
    for name in (*names, hints.DOWNLINK, hints.ACCEPT, *hints.VIEWPORT_WIDTH, *hints.DENSITY):
        assert f"`{name}" in _section("Hints")


def test_what_pages_must_ask_for_is_the_same_everywhere() -> None:
    for file in ("README.md", "apache/imgprocessor.conf"):
        assert f'Header set Accept-CH "{hints.ACCEPT_CH}"' in (ROOT / file).read_text()


def test_the_policy_in_readme_is_one() -> None:
    (example,) = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)

    policy = parse_policy(example, "README.md")

    assert [bandwidth.name for bandwidth in policy.bandwidths] == ["save-data", "2g", "4g"]


def _snippet(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", _section("Signed URLs"), re.DOTALL)
    return str(found)


def test_the_python_in_readme_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "keys").write_text(f"{'k' * 32}\nother\n")
    monkeypatch.chdir(tmp_path)
    known: dict[str, str] = {}

    exec(_snippet("python"), known)  # noqa: S102 - what is documented

    expires = Signing(("k" * 32,)).require(parse(known["url"].partition("?")[2], 4096), time.time())
    assert 3595 <= (expires or 0) - time.time() <= 3600


NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="there is no node")
@pytest.mark.parametrize(
    "parameters",
    [
        {"name": "nasa.jpeg"},
        {"name": "cats/tom & jerry=(1)!'*~.png", "width": 640, "height": 9, "fit": "cover"},
        {"name": "\u00fc\u20ac\U0001f431+%41?#.jpg", "quality": 40, "max_bytes": 9999},
        {"name": "a.jpg", "format": "webp", "expires": 1_900_000_000},
    ],
)
def test_the_javascript_in_readme_signs(parameters: dict[str, object]) -> None:
    """As the Python does, to the letter."""
    script = f"{_snippet('js')}\nconsole.log(sign({json.dumps(parameters)}, 'k'.repeat(32)));"
    node: list[str] = [str(NODE), "--input-type=module", "-e", script]
    done = subprocess.run(node, check=True, capture_output=True, text=True)
    url = done.stdout.strip()

    expires = Signing(("k" * 32,)).require(parse(url.partition("?")[2], 4096), 0)
    assert expires == parameters.get("expires")
    assert sign(url, "k" * 32, expires).rpartition("=")[2] == url.rpartition("=")[2]


def test_the_ladder_in_readme_is_one() -> None:
    (section,) = re.findall(r"```\n(.*?)```", _section("Allowed sizes"), re.DOTALL)
    (example,) = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)

    allowed = parse_policy(f"{example}\n{section}", "README.md").allowed

    assert (allowed.qualities, allowed.budgets) == ((40, 60), (20_000, 50_000))


def test_every_option_and_command_in_readme_exists() -> None:
    serve = (ROOT / "tasks/serve.py").read_text()
    for option in ("--port", "--originals", "--conf", "--policy"):
        assert f'"{option}"' in serve
        assert option in _section("Try it")
    run = (ROOT / "run").read_text()
    for task in re.findall(r"\./run (\w+)|imgprocessor/run (\w+)", README):
        assert f"task_{''.join(task)}()" in run


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "tests/README.md"])
def test_files_that_are_named_exist(file: str) -> None:
    text = (ROOT / file).read_text()
    named = re.findall(r"`((?:conf|static|apache|tests|tasks|benchmarks|logs)/[\w./]*)`", text)

    for path in named:
        assert (ROOT / path).exists(), path


def test_the_comparison_is_the_one_that_is_linked() -> None:
    section = _section("What was measured")
    (file,) = re.findall(r"\((benchmarks/results/[\w-]+\.md)\)", section)
    measured = (ROOT / file).read_text()
    rows = re.findall(r"^\| [^|]+ (\| [\d.]+ \|.*)$", section, re.MULTILINE)

    assert len(rows) == 7
    for row in rows:
        assert row in measured, row


def test_every_directive_of_the_virtual_host_has_a_reason_above_it() -> None:
    """A block of directives may share one comment; none may stand without."""
    blocks = (ROOT / "apache/imgprocessor.conf").read_text().split("\n\n")
    for block in blocks:
        directives = [line for line in block.splitlines() if re.match(r"\s*[A-Z]\w+ ", line)]
        if directives and not all("ServerName" in line for line in directives):
            assert re.search(r"^\s*#", block, re.MULTILINE), block


def test_the_changelog_is_kept() -> None:
    assert "## Unreleased" in Path(ROOT / "CHANGELOG.md").read_text()


UNITS = (
    "_pixels", "_bytes", "_seconds", "_quality", "_percent", "_scans", "_parts", "_per_second",
    "_per_worker",
)  # fmt: skip
COUNTS = ("_redirects", "_fetches", "workers")


def test_settings_have_units_in_their_names() -> None:
    for part in fields(Settings):
        section = part.default
        assert not isinstance(section, str)
        for option in fields(type(section)):  # type: ignore[arg-type]
            if option.type is int:
                assert option.name.endswith((*UNITS, *COUNTS)), option.name
