"""The shape of the code: packages and modules, each importing only what stands before it."""

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "imgprocessor"

TOP = {"words", "wiring", "start"}
"""The floors whose modules lie in the package itself."""


def _floors() -> dict[str, list[str]]:
    """Read the map in docs/architecture.md: floors, and the modules of each, as dotted names."""
    text = (ROOT / "docs/architecture.md").read_text()
    found: dict[str, list[str]] = {}
    for title, section in re.findall(
        r"^### `?(\w+)`?\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL
    ):
        prefix = "" if title in TOP else f"{title}."
        rows = re.findall(r"^\| `([\w/]+)` \| .* \|$", section, re.MULTILINE)
        found[title] = [prefix + row.replace("/", ".") for row in rows]
    return found


FLOORS = _floors()
ORDER = [module for modules in FLOORS.values() for module in modules]

MOST_ROOMS = 12
MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 60

THIRD_PARTY = {
    "PIL": {"images"},
    "flask": {"web", "app"},
    "werkzeug": {"web", "app"},
    "multipart": {"web.uploads.form"},
    "waitress": {"cli"},
    "prometheus_client": {"storage.counters", "web.metrics"},
    "xxhash": {"storage"},
    "httpcore": {"originals", "storage.shared"},
    "obstore": {"storage.shared"},
    "redis": {"jobs", "storage.shared.memory_tier"},
    "pymemcache": {"storage.shared.memory_tier"},
    "celery": {"jobs.by_celery"},
    "kombu": {"jobs.by_celery"},
    "flower": {"jobs.by_flower"},
    "tornado": {"jobs.by_flower"},
    "click": {"cli", "__main__"},
    # Heavy, and for operators alone: never on the way of a request.
    "rich": {"cli"},
    "jinja2": {"edge", "web.responses", "cli"},
    "ssimulacra2": {"images.comparison"},
    # Inside of the sandbox alone.
    "pypdfium2": {"images.previews.pdf"},
    "resvg_py": {"images.previews.svg"},
    "pi_heif": {"images.previews.heif"},
    "rawpy": {"images.previews.raw"},
    "fontTools": {"images.previews.fonts"},
}
"""Who may import it: packages, or modules."""

PURE = [*FLOORS["request"], *FLOORS["policy"], "errors", "geometry", "formats"]
INPUT_OUTPUT = {"os", "io", "pathlib", "socket", "subprocess", "logging", "sys", "time", "tempfile"}


def _path(module: str) -> Path:
    return PACKAGE / (module.replace(".", "/") + ".py")


def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text())


def _imports(module: str) -> set[str]:
    found = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
    return found


def _modules() -> set[str]:
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }


def _packages() -> list[Path]:
    return [PACKAGE, *(path for path in PACKAGE.rglob("*") if (path / "__init__.py").exists())]


def test_the_map_is_complete() -> None:
    assert _modules() == set(ORDER)
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_what_stands_before_it(module: str) -> None:
    own = {
        name.removeprefix("imgprocessor.")
        for name in _imports(module)
        if name.startswith("imgprocessor")
    }

    assert own <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize("package", _packages(), ids=lambda package: package.name)
def test_a_floor_has_few_rooms(package: Path) -> None:
    modules = [path for path in package.glob("*.py") if path.name != "__init__.py"]
    if package == PACKAGE:  # its packages are floors
        assert len(modules) <= MOST_ROOMS
        return
    rooms = [*modules, *(path for path in package.iterdir() if (path / "__init__.py").exists())]

    assert len(rooms) <= MOST_ROOMS


@pytest.mark.parametrize("module", ORDER)
def test_third_parties_are_known_to_few(module: str) -> None:
    top_level = {name.partition(".")[0] for name in _imports(module)}

    for package, users in THIRD_PARTY.items():
        allowed = any(module == user or module.startswith(f"{user}.") for user in users)
        assert package not in top_level or allowed


@pytest.mark.parametrize("module", PURE)
def test_what_is_pure_reads_and_writes_nothing(module: str) -> None:
    top_level = {name.partition(".")[0] for name in _imports(module)}

    assert not top_level & (INPUT_OUTPUT | set(THIRD_PARTY))


@pytest.mark.parametrize("module", ORDER)
def test_a_module_says_what_it_is_for_in_one_sentence(module: str) -> None:
    """The map repeats that sentence; `./run docs` writes it there."""
    text = ast.get_docstring(_tree(module))
    assert text is not None
    sentence = " ".join(text.partition("\n\n")[0].split())

    assert sentence.endswith(".")
    assert f"` | {sentence} |\n" in (ROOT / "docs/architecture.md").read_text()


@pytest.mark.parametrize("package", _packages(), ids=lambda package: package.name)
def test_a_package_says_what_it_is_for(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))

    assert text is not None
    assert text.endswith(".")


@pytest.mark.parametrize("module", ORDER)
def test_a_module_can_be_read_in_one_sitting(module: str) -> None:
    assert len(_path(module).read_text().splitlines()) <= MOST_LINES_OF_A_MODULE
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MOST_LINES_OF_A_FUNCTION, node.name


def test_public_names_are_given_once() -> None:
    """No two public things with one name: whoever reads it knows which is meant."""
    found: dict[str, list[str]] = {}
    for module in ORDER:
        for node in _tree(module).body:
            for name in _public_names(node):
                found.setdefault(name, []).append(module)

    assert {name: where for name, where in found.items() if len(where) > 1} == {}


def _public_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        names = [node.name]
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        names = [node.target.id]
    elif isinstance(node, ast.Assign):
        names = [
            part.id
            for target in node.targets
            for part in ast.walk(target)
            if isinstance(part, ast.Name)
        ]
    else:
        names = []
    return [name for name in names if not name.startswith("_")]


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
    for path in Path(__file__).parent.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path.name
