"""Settings as INI text: read strictly, and written so that they read back as the same."""

import os
import re
import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from imgprocessor.config.ini_text import read_ini
from imgprocessor.config.settings import Settings
from imgprocessor.errors import ConfigurationError

RENAMED = {
    ("originals", "root"): "[originals] roots",
    ("originals", "max_pixels"): "[originals] max_decoded_bytes, which counts memory",
    ("originals", "max_side_pixels"): "[originals] max_decoded_bytes, which counts memory",
    ("store", "max_wait_seconds"): "split by what it governs: [rendering] single_flight_seconds,"
    " worker_wait_seconds and decode_wait_seconds",
    ("renderers", "processes"): "[rendering] workers",
    ("renderers", "max_waiting_per_process"): "[rendering] max_waiting_per_worker",
    ("renderers", "max_render_seconds"): "[rendering] max_processor_seconds",
    ("renderers", ""): "[rendering]",
    ("purge", "disk_caches"): "[purge] proxy_cache_folders",
}
"""What settings of before are called now, by section and name; without a name, all others of the
section.
"""


def parse_settings(text: str, origin: str) -> Settings:
    """Read settings from INI text; `origin` names the file in messages.

    Raises:
        ConfigurationError: naming file, section, option and value, and what would be right.
    """
    ini = read_ini(text, origin)
    known = {part.name: part.default for part in fields(Settings)}
    sections: dict[str, Any] = {}
    for name in ini.sections():
        _refuse_renamed(name, [*ini[name]], origin)
        if name not in known:
            wrong = f"{origin}: [{name}]: no such section; there are {', '.join(known)}"
            raise ConfigurationError(wrong)
        sections[name] = _read_section(type(known[name]), name, dict(ini[name]), origin)
    return Settings(**sections)


def resolve_paths(settings: Settings, folder: Path) -> Settings:
    """Return settings whose paths are all absolute: those that are not are relative to a folder."""

    def absolute(value: Any) -> Any:
        if isinstance(value, Path):
            return Path(os.path.normpath(folder / value))
        return tuple(map(absolute, value)) if isinstance(value, tuple) else value

    sections = {part.name: getattr(settings, part.name) for part in fields(settings)}
    return Settings(
        **{
            name: replace(
                section,
                **{one.name: absolute(getattr(section, one.name)) for one in fields(section)},
            )
            for name, section in sections.items()
        }
    )


def describe_settings(settings: Settings) -> str:
    """Return settings as INI text, each under its help, so that it reads back as the same."""
    lines = []
    for part in fields(settings):
        section = getattr(settings, part.name)
        lines += [f"; {type(section).__doc__}", f"[{part.name}]"]
        for option in fields(section):
            lines.append(f"; {option.metadata['help']}")
            lines.append(f"{option.name} = {_written(getattr(section, option.name))}")
        lines.append("")
    return "\n".join(lines)


def _refuse_renamed(section: str, names: list[str], origin: str) -> None:
    for name in [*names, ""]:
        now = RENAMED.get((section, name), RENAMED.get((section, "")))
        if now is not None:
            raise ConfigurationError(f"{origin}: [{section}] {name}".rstrip() + f": is now {now}")


def _read_section(kind: type, section: str, options: dict[str, str], origin: str) -> object:
    known = {option.name: option.metadata["read"] for option in fields(kind)}
    values = {}
    for name, value in options.items():
        where = f"{origin}: [{section}] {name}"
        if name not in known:
            wrong = f"{where}: no such setting; there are {', '.join(known)}"
            raise ConfigurationError(wrong)
        try:
            values[name] = known[name](value)
        except ValueError as error:
            raise ConfigurationError(f"{where} = {value!r}: {error}") from error
    return kind(**values)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(_word, value)) or "none"
    if value is None:
        return "none"
    return str(value)


def _word(value: object) -> str:
    word = str(value)
    is_split = isinstance(value, Path) and re.search(r"[\s'\"\\]", word)
    return shlex.quote(word) if is_split else word
