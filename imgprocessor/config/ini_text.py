"""INI text: split into sections, the same way for settings and policy."""

import configparser
import re
from pathlib import Path

from imgprocessor.errors import ConfigurationError

_UNREADABLE = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029]")
"""What no path has, and what would end a message's line or move a terminal's cursor."""


def read_ini(text: str, origin: str, *, is_secret: bool = False) -> configparser.ConfigParser:
    """Split INI text into sections, the same way for settings and policy.

    `;` and `#` begin a comment, except that inside a line `#` does not: it begins colours. Of a
    text that is secret, messages repeat no line.
    """
    ini = configparser.ConfigParser(
        interpolation=None,
        inline_comment_prefixes=(";",),
        default_section="",  # no section lends its values to the others
        empty_lines_in_values=False,
    )
    unreadable = _UNREADABLE.search(text)
    if unreadable:
        line_number = text.count("\n", 0, unreadable.start()) + 1
        wrong = f"must have no control characters; there is {unreadable[0]!a}"
        raise ConfigurationError(f"{origin}: line {line_number}: {wrong}")
    try:
        ini.read_string(text, origin)
    except configparser.DuplicateSectionError as error:
        raise ConfigurationError(f"{origin}: [{error.section}]: section given twice") from error
    except configparser.DuplicateOptionError as error:
        wrong = f"{origin}: [{error.section}] {error.option}: given twice"
        raise ConfigurationError(wrong) from error
    except configparser.MissingSectionHeaderError as error:
        wrong = f"{origin}: line {error.lineno}: a line before the first [section]"
        raise ConfigurationError(wrong) from error
    except configparser.ParsingError as error:
        line_number, line = error.errors[0]
        told = "it" if is_secret else line
        wrong = f"{origin}: line {line_number}: {told} is not of the form 'key = value'"
        raise ConfigurationError(wrong) from error
    return ini


def read_text(file: Path, where: str = "", how_made: str = "") -> str:
    """Read a file that an operator wrote.

    Args:
        file: the file.
        where: names it in messages; by default its path does.
        how_made: is told where there is none.

    Raises:
        ConfigurationError: it cannot be read.
    """
    where = where or str(file)
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError) and how_made
        hint = f"; {how_made}" if is_missing else ""
        raise ConfigurationError(f"{where}: {error.strerror}{hint}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{where}: must be UTF-8 text") from error
