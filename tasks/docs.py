"""Write what documents repeat of the code: the settings, and what modules and packages are for."""

import argparse
import ast
import re
import sys
from collections.abc import Callable
from pathlib import Path

from imgprocessor.config.settings import Settings
from imgprocessor.config.settings_file import describe_settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "imgprocessor"

_MARK = "<!-- All below is written by `./run docs` from imgprocessor/config/settings.py. -->\n"
_FLOOR = re.compile(r"^### (`?)(\w+)\1$", re.MULTILINE)
_MODULE_ROW = re.compile(r"^\| `([\w/]+)` \| .* \|$", re.MULTILINE)
_PACKAGE_ROW = re.compile(r"^(\| \[`(\w+)`\]\(docs/architecture\.md#\w+\)) \| .* \|$", re.MULTILINE)


def main() -> int:
    """Write the documents, or look whether they are as they would be written; return the status."""
    parser = argparse.ArgumentParser(prog="./run docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it would")
    check: bool = parser.parse_args().check
    stale = []
    for file, written in WRITERS.items():
        path = ROOT / file
        before = path.read_text()
        after = written(before)
        if after != before:
            stale.append(file)
            if not check:
                path.write_text(after)
    for file in stale:
        print(f"{file}: {'is not what ./run docs writes' if check else 'written'}")
    return 1 if check and stale else 0


def with_settings(page: str) -> str:
    """Return docs/settings.md with a table for each section, all at their defaults."""
    before, mark, _ = page.partition(_MARK)
    if not mark:
        raise ValueError(f"docs/settings.md: there is no line {_MARK!r}")
    lines: list[str] = []
    help_text = ""
    for line in describe_settings(Settings()).splitlines():
        if line.startswith("; "):
            help_text = line.removeprefix("; ")
        elif line.startswith("["):
            lines += ["", f"## `{line}`", "", help_text, "", "| setting | default | meaning |"]
            lines.append("|---|---|---|")
        elif line:
            name, _, value = line.partition(" = ")
            lines.append(f"| `{name}` | `{value}` | {help_text} |")
    return before + mark + "\n".join(lines) + "\n"


def with_module_purposes(page: str) -> str:
    """Return docs/architecture.md whose map says of each module what its docstring does, in the
    order that the page has.
    """
    parts = _FLOOR.split(page)
    written = [parts[0]]
    for quote, title, rows in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        folder = PACKAGE / title if quote else PACKAGE
        written.append(f"### {quote}{title}{quote}{_with_purposes(rows, folder)}")
    return "".join(written)


def _with_purposes(rows: str, folder: Path) -> str:
    def row(found: re.Match[str]) -> str:
        return f"| `{found[1]}` | {purpose(folder / f'{found[1]}.py')} |"

    return _MODULE_ROW.sub(row, rows)


def with_package_purposes(page: str) -> str:
    """Return README.md whose map says of each package what its docstring does."""

    def row(found: re.Match[str]) -> str:
        return f"{found[1]} | {purpose(PACKAGE / found[2] / '__init__.py')} |"

    return _PACKAGE_ROW.sub(row, page)


def purpose(file: Path) -> str:
    """Return the first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(text.partition("\n\n")[0].split())


WRITERS: dict[str, Callable[[str], str]] = {
    "README.md": with_package_purposes,
    "docs/architecture.md": with_module_purposes,
    "docs/settings.md": with_settings,
}
"""By file, what it makes of that file's text."""


if __name__ == "__main__":
    sys.exit(main())
