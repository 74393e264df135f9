"""Documentation that cannot fall behind: README, docs/ and conf/ against the code."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import generated
import pytest
from conftest import ROOT

from imgprocessor import errors, formats
from imgprocessor.config.settings import Settings
from imgprocessor.config.settings_file import RENAMED, describe_settings, parse_settings
from imgprocessor.edge import rules
from imgprocessor.edge.spelling import spelling_steps
from imgprocessor.errors import ImageError
from imgprocessor.policy import imagekey
from imgprocessor.policy.lint import lint_policy
from imgprocessor.policy.parse import parse_policy
from imgprocessor.policy.table import Policy
from imgprocessor.request import hints, parameters
from imgprocessor.request.query import parse
from imgprocessor.request.signing import Signing, sign

PAGES = sorted(
    str(path.relative_to(ROOT))
    for folder in (ROOT, ROOT / "docs", ROOT / "tests")
    for path in folder.glob("*.md")
)
"""All documents that are written by hand."""

PURPOSEFUL = [
    page for page in PAGES if page not in {"README.md", "CHANGELOG.md", "tests/README.md"}
]
"""Those that begin with what their reader wants to do."""

MOST_LINES_OF_README = 200

SHORT_ROW_CHARACTERS = 40
"""Shorter rows of tables, such as headings, may be alike by chance."""

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _page(file: str) -> str:
    return (ROOT / file).read_text()


def _section(file: str, title: str) -> str:
    found = re.search(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", _page(file), re.MULTILINE | re.DOTALL
    )
    assert found, title
    return found[1]


def _fences(file: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _page(file), re.MULTILINE | re.DOTALL)


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
            expected.append((section, f"| `{option}` | `{value}` | {help_text} |"))

    rows = []
    for line in _page("docs/settings.md").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip("`")
        elif line.startswith("| `"):
            rows.append((section, line))
    assert rows == expected


def test_what_documents_repeat_of_the_code_is_what_the_task_writes() -> None:
    """Settings, and what modules and packages are for."""
    task = [sys.executable, str(ROOT / "tasks/docs.py"), "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(task, env=environment, check=False, capture_output=True, text=True)

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


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
            for row in _section("docs/requests.md", "Parameters").splitlines()
            if row.startswith("| `")
        ),
    )

    assert described == list(parameters.PARAMETERS)
    for old in parameters.OLD_NAMES:
        assert f"`{old}" in _section("docs/requests.md", "Older spellings")


def test_every_error_is_in_the_table_with_its_status() -> None:
    pages = ("docs/requests.md", "docs/uploads.md", "docs/jobs.md")
    section = "\n".join(_section(page, "Failures") for page in pages)
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", section, re.MULTILINE)
    known = {
        (value.code, str(value.status))
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, ImageError) and hasattr(value, "code")
    }

    assert set(rows) == known


def test_caches_are_asked_with_every_parameter_and_every_hint(policy: Policy) -> None:
    """What is never made up, no test would miss in the rules for caches: they would keep pictures
    that differ as one.
    """
    known = {*generated.values(policy, 4096), *parameters.NAMES}

    assert known == {*parameters.PARAMETERS, *parameters.OLD_NAMES}
    assert set(generated.hints(policy)) == set(hints.HINT_HEADERS)
    read = {step.source for step in spelling_steps(policy)}
    assert {f"{{{rules.text_of(name)}}}" for name in hints.HINT_HEADERS} <= read


def test_the_page_knows_the_fields_of_an_imagekey() -> None:
    script = (ROOT / "static" / "page.js").read_text()
    (fields,) = re.findall(r"const KEY_FIELDS = \[(.*?)\];", script, re.DOTALL)

    assert tuple(re.findall(r'"(\w+)"', fields)) == imagekey.FIELDS[1:]


def _anchors(file: str) -> list[str]:
    """Return what a page's headings are called in links, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", _FENCED.sub("", _page(file)), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def _links(file: str) -> set[str]:
    return set(re.findall(r"\]\(([^()\s]+)\)", _FENCED.sub("", _page(file))))


@pytest.mark.parametrize("file", PAGES)
def test_links_lead_somewhere(file: str) -> None:
    for link in _links(file):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / file).parent / path if path else ROOT / file
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(str(target.resolve().relative_to(ROOT))), link


@pytest.mark.parametrize("file", [page for page in PAGES if page != "CHANGELOG.md"])
def test_no_two_headings_of_a_page_have_one_anchor(file: str) -> None:
    """In the changelog each version has the same ones."""
    anchors = _anchors(file)

    assert len(anchors) == len(set(anchors))


def test_every_page_is_in_the_table_of_readme() -> None:
    listed = set(
        re.findall(r"^\| .* \| \[[^]]+\]\(([^)]+)\) \|$", _page("README.md"), re.MULTILINE)
    )

    assert listed == {*PAGES, "docs/openapi.yaml"} - {"README.md", "tests/README.md"}


def test_readme_can_be_read_in_one_sitting() -> None:
    assert len(_page("README.md").splitlines()) <= MOST_LINES_OF_README


@pytest.mark.parametrize("file", PURPOSEFUL)
def test_a_page_begins_with_what_its_reader_wants_to_do(file: str) -> None:
    title, paragraph, *_ = _page(file).split("\n\n")

    assert re.fullmatch(r"# [^\n]+", title)
    assert paragraph.startswith("You want to ")
    assert paragraph.endswith(".")


def test_no_table_is_written_twice() -> None:
    """Nor any row of one, but for headings."""
    found: dict[str, str] = {}
    for file in PAGES:
        for row in re.findall(r"^\|(?:.*\|){2,}$", _page(file), re.MULTILINE):
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            if len("".join(cells)) < SHORT_ROW_CHARACTERS or file == "docs/settings.md":
                continue
            assert found.setdefault(row, file) == file, row


def test_every_package_is_in_the_map_of_readme() -> None:
    rows = re.findall(
        r"^\| \[`?(\w+)`?\]\(docs/architecture\.md#(\w+)\) \|", _page("README.md"), re.MULTILINE
    )
    floors = re.findall(r"^### `?(\w+)`?$", _page("docs/architecture.md"), re.MULTILINE)

    assert rows == [(floor, floor) for floor in floors]


@pytest.mark.parametrize("file", PAGES)
def test_modules_that_are_named_exist(file: str) -> None:
    """In words such as `policy.plan`, or `policy.plan.Plan`."""
    package = ROOT / "imgprocessor"
    floors = "|".join(path.parent.name for path in package.glob("*/__init__.py"))
    for named in re.findall(rf"`((?:{floors})(?:\.\w+)+)`", _page(file)):
        parts = named.split(".")
        if parts[-1] in {"py", "ini", "conf"}:  # files
            continue
        known = [package.joinpath(*parts[:end]).with_suffix(".py") for end in (2, 3)]
        known.append(package.joinpath(*parts, "__init__.py"))
        assert any(path.exists() for path in known), named


def test_tests_that_are_named_exist() -> None:
    """Documents name them without their folder, so that they may move."""
    there = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    for file in PURPOSEFUL:
        assert set(re.findall(r"`(test_\w+)`", _page(file))) <= there, file


def test_every_format_has_its_row() -> None:
    assert _first_column(_section("docs/policy.md", "Formats")) == list(formats.FORMATS)


def test_every_hint_is_described() -> None:
    names = [hints.OLD_BANDWIDTH, hints.OLD_SCREEN, hints.SAVE_DATA, hints.ECT, hints.RTT]
    names += [hints.DOWNLINK, hints.ACCEPT, hints.UA_MOBILE, *hints.VIEWPORT_WIDTH, *hints.DENSITY]
    for name in names:
        assert f"`{name}" in _section("docs/requests.md", "Hints")


def test_what_pages_must_ask_for_is_the_same_everywhere() -> None:
    for file in ("docs/pages.md", "apache/imgprocessor.conf"):
        assert f'Header set Accept-CH "{hints.ACCEPT_CH}"' in (ROOT / file).read_text()


def test_the_policies_in_documents_are_policies() -> None:
    (short,) = _fences("README.md", "ini")
    (example,) = _fences("docs/policy.md", "ini")

    policy = parse_policy(short, "README.md")
    assert [one.name for one in policy.bandwidths] == ["slow-3g", "3g", "4g"]
    assert lint_policy(policy) == []
    policy = parse_policy(example, "docs/policy.md")
    assert [one.name for one in policy.bandwidths] == ["save-data", "2g", "4g"]
    assert lint_policy(policy) == []


def test_the_policy_in_readme_is_short_and_has_the_delivered_cells(policy: Policy) -> None:
    (short,) = _fences("README.md", "ini")
    cells = parse_policy(short, "README.md").cells

    assert len(short.splitlines()) <= 24
    assert all(policy.cells[place] == cell for place, cell in cells.items())


def _snippet(language: str) -> str:
    (found,) = _fences("docs/signing.md", language)
    return found


def test_the_python_in_documents_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        {"name": "a,b.jpg", "width": 9, "height": 9, "fit": "cover", "gravity": "0.3,0.6"},
        {"name": "a.jpg", "ct": 60, "download": "\u00e9 b.jpg"},
        {"name": "a.jpg", "max_height": 9, "width": 9, "crop": "10%25,20%25,50%25,30%25"},
    ],
)
def test_the_javascript_in_documents_signs(parameters: dict[str, object]) -> None:
    """As the Python does, to the letter."""
    script = f"{_snippet('js')}\nconsole.log(sign({json.dumps(parameters)}, 'k'.repeat(32)));"
    node: list[str] = [str(NODE), "--input-type=module", "-e", script]
    done = subprocess.run(node, check=True, capture_output=True, text=True)
    url = done.stdout.strip()

    expires = Signing(("k" * 32,)).require(parse(url.partition("?")[2], 4096), 0)
    assert expires == parameters.get("expires")
    assert sign(url, "k" * 32, expires).rpartition("=")[2] == url.rpartition("=")[2]


def test_the_ladder_in_documents_is_one() -> None:
    (section,) = re.findall(
        r"```\n(.*?)```", _section("docs/policy.md", "Allowed sizes"), re.DOTALL
    )
    (example,) = _fences("docs/policy.md", "ini")

    allowed = parse_policy(f"{example}\n{section}", "docs/policy.md").allowed

    assert allowed.ladders["qualities"] == (40, 60)
    assert allowed.ladders["budgets"] == (20_000, 50_000)
    assert set(allowed.ladders) == {
        row.ladder.key or row.name for row in parameters.AUTHORS if row.ladder is not None
    }


@pytest.mark.parametrize("file", PAGES)
def test_settings_in_documents_are_settings(file: str) -> None:
    """Samples can be read; and in words, `[section] name` and the like is there."""
    known = {
        part.name: {option.name for option in fields(type(part.default))}  # type: ignore[arg-type]
        for part in fields(Settings)
    }
    for sample in _fences(file):
        if re.match(rf"\[(?:{'|'.join(known)})\]\n", sample):
            parse_settings(sample, file)
    if file == "CHANGELOG.md":  # which has old names, too
        return
    for section, option in re.findall(r"`\[(\w+)\]((?: \w+)?)[^`]*`", _page(file)):
        if section not in {"allowed", "bandwidths", "screens", "formats", "sized", "watch"}:
            assert section in known, section
            assert option.strip() in known[section] | {""}, option


def test_the_changelog_has_every_setting_that_was_renamed() -> None:
    rows = dict(re.findall(r"^\| `(\[\w+\] \w+)` \| (.*) \|$", _page("CHANGELOG.md"), re.MULTILINE))
    for (section, option), now in RENAMED.items():
        if not option:
            assert any(old.startswith(f"[{section}] ") and now in new for old, new in rows.items())
            continue
        words = set(re.findall(r"\w+", now.rpartition(":")[2])) - {"and"}
        assert words == set(re.findall(r"\w+", rows[f"[{section}] {option}"]))


def test_every_option_and_command_in_documents_exists() -> None:
    serve = _page("tasks/serve.py")
    for option in ("--port", "--originals", "--conf", "--policy"):
        assert f'"{option}"' in serve
        assert option in _section("README.md", "Try it")
    run = _page("run")
    for file in PAGES:
        for task in re.findall(r"\./run (\w+)|imgprocessor/run (\w+)", _page(file)):
            assert f"task_{''.join(task)}()" in run, file


def test_readme_installs_as_the_page_does() -> None:
    commands = [
        line
        for sample in re.findall(
            r"```\n(.*?)```", _section("README.md", "Into production"), re.DOTALL
        )
        for line in sample.splitlines()
    ]
    (sample, *_) = re.findall(
        r"```\n(.*?)```", _section("docs/production.md", "Install"), re.DOTALL
    )
    there = iter(sample.splitlines())

    assert 5 <= len(commands) <= 10
    assert all(command in there for command in commands), "each, in this order"


@pytest.mark.parametrize("file", PAGES)
def test_files_that_are_named_exist(file: str) -> None:
    folders = "conf|static|apache|tests|tasks|benchmarks|logs|docs"
    named = re.findall(rf"`(?:python )?((?:{folders})/[\w./-]*)[^`]*`", _page(file))

    for path in named:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    ("name", "least"), [("Against other servers", 7), ("Time to a gallery", 18)]
)
def test_a_comparison_is_the_one_that_is_linked(name: str, least: int) -> None:
    section = _section("docs/measurements.md", name)
    (file,) = re.findall(r"\(\.\./(benchmarks/results/[\w-]+\.md)\)", section)
    measured = _page(file)
    rows = re.findall(r"^\|(?: [^|]* \|)+? ([\d.]+ \|.*)$", section, re.MULTILINE)

    assert len(rows) >= least
    for row in rows:
        assert f"| {row}" in measured, row


def test_every_directive_of_the_virtual_host_has_a_reason_above_it() -> None:
    """A block of directives may share one comment; none may stand without."""
    blocks = (ROOT / "apache/imgprocessor.conf").read_text().split("\n\n")
    for block in blocks:
        directives = [line for line in block.splitlines() if re.match(r"\s*[A-Z]\w+ ", line)]
        if directives and not all("ServerName" in line for line in directives):
            assert re.search(r"^\s*#", block, re.MULTILINE), block


def test_the_changelog_is_kept() -> None:
    assert "## Unreleased" in _page("CHANGELOG.md")


def test_the_picture_of_the_page_is_small() -> None:
    (picture,) = re.findall(r"!\[[^]]+\]\((docs/page\.\w+)\)", _page("README.md"))

    assert (ROOT / picture).stat().st_size <= 150_000


UNITS = (
    "_pixels", "_bytes", "_seconds", "_quality", "_percent", "_scans", "_parts", "_per_second",
    "_per_worker",
)  # fmt: skip
COUNTS = (
    "_redirects", "_fetches", "workers", "_uploads", "_sizes", "_at_once", "_unfinished",
    "_pending", "_known",
)  # fmt: skip


def test_settings_have_units_in_their_names() -> None:
    for part in fields(Settings):
        section = part.default
        assert not isinstance(section, str)
        for option in fields(type(section)):  # type: ignore[arg-type]
            if option.type is int:
                assert option.name.endswith((*UNITS, *COUNTS)), option.name
