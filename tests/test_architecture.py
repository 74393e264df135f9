"""The shape of the code: one list of modules, each importing only what stands before it."""

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "imgprocessor"

LAYERS = {
    "words": ["errors", "geometry", "ini", "readers", "settings", "settingsfile"],
    "decisions": [
        "addresses",
        "query",
        "signing",
        "client",
        "allowed",
        "policy",
        "doubts",
        "decision",
        "plan",
        "imagekey",
        "ranges",
        "steps",
        "queryrules",
        "hintrules",
        "keyrules",
        "usual",
        "ladder",
        "levels",
        "freshness",
    ],
    "doing": [
        "timing",
        "originals",
        "gate",
        "places",
        "purges",
        "entry",
        "files",
        "totals",
        "store",
        "tally",
        "connection",
        "download",
        "copies",
        "remote",
        "calibration",
        "encoders",
        "holes",
        "score",
        "compression",
        "exif",
        "inspection",
        "decode",
        "masters",
        "render",
        "renditions",
        "renderer",
        "quarantine",
        "wire",
        "renderers",
        "foreman",
        "diskcache",
    ],
    "the line": ["service", "placeholder", "purging", "readiness"],
    "HTTP": ["log", "metrics", "responses", "operations", "web"],
    "wiring": [
        "loading",
        "threads",
        "workshop",
        "app",
        "rendering",
        "edge",
        "link",
        "table",
        "explanation",
        "report",
        "arguments",
        "policycommand",
        "signcommand",
        "reload",
        "__main__",
    ],
}
ORDER = [module for layer in LAYERS.values() for module in layer]

THIRD_PARTY = {
    "PIL": {"encoders", "score", "compression", "decode", "masters", "render", "report"},
    "flask": {"operations", "web", "app"},
    "werkzeug": {"responses", "operations", "web", "app"},
    "waitress": {"__main__"},
    "prometheus_client": {"tally", "metrics"},
    "xxhash": {"entry", "totals"},
    "httpcore": {"connection", "download"},
    # Heavy, and for operators alone: never on the way of a request.
    "rich": {"table", "policycommand"},
    "jinja2": {"edge", "report"},
    "ssimulacra2": {"report"},
}
# What reads, writes or listens: not for words and decisions.
INPUT_OUTPUT = {"os", "io", "pathlib", "socket", "subprocess", "logging", "sys", "time", "tempfile"}


def _imports(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
    return found


def test_the_list_is_complete() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_what_stands_before_it(module: str) -> None:
    own = {
        name.removeprefix("imgprocessor.")
        for name in _imports(module)
        if name.startswith("imgprocessor")
    }

    assert own <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize("module", ORDER)
def test_third_parties_are_known_to_few(module: str) -> None:
    top_level = {name.partition(".")[0] for name in _imports(module)}

    for package, users in THIRD_PARTY.items():
        assert package not in top_level or module in users


@pytest.mark.parametrize("module", [*LAYERS["words"], *LAYERS["decisions"]])
def test_words_and_decisions_read_and_write_nothing(module: str) -> None:
    top_level = {name.partition(".")[0] for name in _imports(module)}

    assert not top_level & (INPUT_OUTPUT | set(THIRD_PARTY))


@pytest.mark.parametrize("module", [*ORDER, "__init__"])
def test_a_module_says_what_it_is_for_in_one_sentence(module: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / f"{module}.py").read_text()))

    assert text is not None
    assert text.partition("\n\n")[0].endswith(".")


def test_a_module_can_be_read_in_one_sitting() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.glob("*.py")}

    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_what_apache_loads_is_short() -> None:
    assert len((ROOT / "imgprocessor.wsgi").read_text().splitlines()) <= 10


def test_the_project_speaks_of_itself_alone() -> None:
    """No package index and no path of somebody's machine in what is delivered."""
    for folder in ("imgprocessor", "conf", "apache", "static", "tasks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".ini", ".conf", ".js", ".html", ".css"}:
                text = path.read_text()
                assert not re.search(r"pypi|/(?:root|home|work)/", text), path


def test_every_test_module_says_what_it_is_for() -> None:
    for path in Path(__file__).parent.glob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path.name
