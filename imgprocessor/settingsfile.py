"""Settings as INI text: read strictly, and written so that they read back as the same."""

from dataclasses import fields
from typing import Any

from imgprocessor.errors import ConfigurationError
from imgprocessor.ini import read_ini
from imgprocessor.settings import Settings


def parse_settings(text: str, origin: str) -> Settings:
    """Read settings from INI text; `origin` names the file in messages.

    Raises:
        ConfigurationError: naming file, section, option and value, and what would be right.
    """
    ini = read_ini(text, origin)
    known = {part.name: part.default for part in fields(Settings)}
    sections: dict[str, Any] = {}
    for name in ini.sections():
        if name not in known:
            wrong = f"{origin}: [{name}]: no such section; there are {', '.join(known)}"
            raise ConfigurationError(wrong)
        sections[name] = _read_section(type(known[name]), name, dict(ini[name]), origin)
    return Settings(**sections)


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
        return " ".join(value) or "none"
    if value is None:
        return "none"
    return str(value)
