"""Write what documents and the page repeat of the code: settings, parameters, modules' purposes."""

import argparse
import ast
import json
import re
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from urllib.parse import unquote

from imgprocessor.config.settings import Settings
from imgprocessor.config.settings_file import describe_settings
from imgprocessor.request.parameters import NAMES, PARAMETERS, Parameter
from imgprocessor.request.values import Whole, Word

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "imgprocessor"

_MARK = "<!-- All below is written by `./run docs` from imgprocessor/config/settings.py. -->\n"
_TABLE = (
    "<!-- This table is written by `./run docs` from imgprocessor/request/parameters.py. -->\n\n"
)
_PROOFS = '        - {$ref: "#/components/parameters/signature"}\n'
_DESCRIBED = (
    "    # Up to `signature` written by `./run docs` from imgprocessor/request/parameters.py.\n"
)
_FIELDS = (
    "    <!-- These are written by `./run docs` from imgprocessor/request/parameters.py. -->\n"
)
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


def with_parameters(page: str) -> str:
    """Return docs/requests.md with the table of parameters."""
    rows = [f"| `{name}` | {row.help} |\n" for name, row in PARAMETERS.items()]
    return _between(
        page,
        _TABLE,
        "| parameter | meaning |\n|---|---|\n" + "".join(rows),
        "\nScripts in visitors'",
    )


def with_described_parameters(page: str) -> str:
    """Return docs/openapi.yaml with the parameters of a picture, and their schemas."""
    used = "".join(f'        - {{$ref: "#/components/parameters/{name}"}}\n' for name in PARAMETERS)
    page = _between(page, "      parameters: &picture_parameters\n", used, _PROOFS)
    described = "".join(
        f"    {name}:\n      name: {name}\n      in: query\n"
        f"      description: {json.dumps(row.help, ensure_ascii=False)}\n"
        f"      schema: {json.dumps(_schema(row))}\n"
        for name, row in PARAMETERS.items()
    )
    return _between(page, _DESCRIBED, described, "    signature:\n")


def _schema(row: Parameter) -> dict[str, object]:
    value = row.value
    if row.name in NAMES:
        return {"$ref": f"#/components/schemas/{row.name}"}
    if isinstance(value, Word):
        return {"enum": list(value.words)}
    if isinstance(value, Whole):
        most = value.up_to(Settings().pixels.max_output_side_pixels).most
        least = 0 if value.zero_is_none else value.least
        return {"type": "integer", "minimum": least, "maximum": most}
    if row.is_signed:
        # Programs escape a value themselves: it is described as it is before that.
        return {"type": "string", "pattern": f"^(?:{value.pattern.replace('%25', '%')})?$"}
    return {"type": "string"}


def with_fields(page: str) -> str:
    """Return static/index.html whose form has a field for all that authors write, and the names of
    all that pictures can be asked for with.
    """
    names = [name for name in PARAMETERS if name not in NAMES]
    page = re.sub('data-parameters="[^"]*"', f'data-parameters="{" ".join(names)}"', page)
    fields = "".join(_field(PARAMETERS[name]) for name in names if PARAMETERS[name].is_signed)
    return _between(page, _FIELDS, fields, "    <button>")


def _field(row: Parameter) -> str:
    label, value = row.name.replace("_", " ").capitalize(), row.value
    if isinstance(value, Whole):
        most = value.up_to(Settings().pixels.max_output_side_pixels).most
        field = f'<input name="{row.name}" type="number" min="{value.least}" max="{most}">'
    elif isinstance(value, Word):
        words = "".join(f"<option>{word}</option>" for word in value.words)
        field = f'<select name="{row.name}"><option value="">default</option>{words}</select>'
    else:
        examples = escape(unquote(", ".join(value.examples[:3])))
        field = f'<input name="{row.name}" placeholder="{examples}">'
    return f"    <label>{label}\n      {field}\n    </label>\n"


def _between(page: str, mark: str, written: str, end: str) -> str:
    """Replace what stands between a mark and an end.

    Raises:
        ValueError: they are not there.
    """
    before, found, rest = page.partition(mark)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"there is no {mark!r}, or no {end!r} after it")
    return before + mark + written + end + after


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
    "docs/openapi.yaml": with_described_parameters,
    "docs/requests.md": with_parameters,
    "docs/settings.md": with_settings,
    "static/index.html": with_fields,
}
"""By file, what it makes of that file's text."""


if __name__ == "__main__":
    sys.exit(main())
