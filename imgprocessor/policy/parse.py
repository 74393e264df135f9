"""The policy's text, read strictly: a table that is wrong in any word stops the start."""

import re
from dataclasses import replace
from decimal import Decimal
from typing import get_args

from imgprocessor.config.ini_text import read_ini
from imgprocessor.errors import ConfigurationError
from imgprocessor.formats import ENCODED, PLAINEST, Format
from imgprocessor.policy.limits import ALLOWED, BYTES_A_KILOBYTE, read_allowed
from imgprocessor.policy.table import (
    BEST_QUALITY,
    FULL_PERCENT,
    SIZED,
    Bandwidth,
    Cell,
    Effort,
    Policy,
    Screen,
)
from imgprocessor.request.values import parse_number

_BANDWIDTHS = "bandwidths"
_SCREENS = "screens"
_FORMATS = "formats"
_OFFER = "offer"
_EFFORT = "effort"
_DEFAULT = "default"
_MOBILE = "mobile"
_OTHERWISE = "otherwise"
_RESERVED = (_BANDWIDTHS, _SCREENS, _FORMATS, SIZED, ALLOWED, _DEFAULT)


def parse_policy(text: str, origin: str) -> Policy:
    """Read the table from INI text; `origin` names the file in messages.

    Raises:
        ConfigurationError: naming file, section, key and word, and what would be right.
    """
    return _Reader(text, origin).read()


class _Reader:
    """Reads one policy; holds what every message must name."""

    def __init__(self, text: str, origin: str) -> None:
        self._ini = read_ini(text, origin)
        self._lines = text.splitlines()
        self._origin = origin

    def read(self) -> Policy:
        bandwidths = self._read_bandwidths()
        screens = self._read_screens()
        bandwidth_names = [bandwidth.name for bandwidth in bandwidths]
        screen_names = [screen.name for screen in screens]
        mobile_screen = self._read_choice(_SCREENS, _MOBILE, screen_names, screen_names[0])
        self._refuse_unknown_sections(screen_names)
        return Policy(
            bandwidths=tuple(bandwidths),
            default_bandwidth=self._read_choice(_BANDWIDTHS, _DEFAULT, bandwidth_names),
            screens=tuple(screens),
            default_screen=self._read_choice(_SCREENS, _DEFAULT, screen_names),
            mobile_screen=mobile_screen,
            cells={
                (row, bandwidth): self._read_cell(row, bandwidth)
                for row in (SIZED, *screen_names)
                for bandwidth in self._known_keys(row, bandwidth_names)
            },
            formats=self._read_formats(),
            effort=self._read_effort(),
            allowed=read_allowed(self._ini, self._wrong),
        )

    def _read_bandwidths(self) -> list[Bandwidth]:
        bandwidths: list[Bandwidth] = []
        for name, text in self._rows(_BANDWIDTHS):
            bandwidth = Bandwidth(name)
            kinds = set()
            for word in text.split():
                bandwidth = self._bounded(bandwidth, word)
                kind = re.split("[<>]", word)[0]
                if kind in kinds:
                    raise self._wrong(_BANDWIDTHS, name, f"{word!r}: only one {kind}")
                kinds.add(kind)
            measures = bandwidth.min_rtt_ms is not None or bandwidth.max_downlink_mbps is not None
            rest = next((known.name for known in bandwidths if known.otherwise), None)
            if measures and rest is not None:
                wrong = (
                    f"its bounds are never met: it must stand before {rest}, which takes the rest"
                )
                raise self._wrong(_BANDWIDTHS, name, wrong)
            bandwidths.append(bandwidth)
        self._refuse_second("otherwise", [known.name for known in bandwidths if known.otherwise])
        self._refuse_second("save-data", [known.name for known in bandwidths if known.save_data])
        return bandwidths

    def _refuse_second(self, word: str, names: list[str]) -> None:
        if len(names) > 1:
            raise self._wrong(_BANDWIDTHS, names[1], f"{word!r} already belongs to {names[0]}")

    def _bounded(self, bandwidth: Bandwidth, word: str) -> Bandwidth:
        if word == "save-data":
            return replace(bandwidth, save_data=True)
        if word == _OTHERWISE:
            return replace(bandwidth, otherwise=True)
        found = re.fullmatch(r"(rtt>=|downlink<=)(.*)", word)
        number = parse_number(found[2]) if found else None
        if found is None or number is None:
            right = "rtt>=MILLISECONDS, downlink<=MEGABITS, save-data or otherwise"
            raise self._wrong(
                _BANDWIDTHS, bandwidth.name, f"{word!r} is no bound; right are {right}"
            )
        if found[1] == "rtt>=":
            return replace(bandwidth, min_rtt_ms=number)
        return replace(bandwidth, max_downlink_mbps=number)

    def _read_screens(self) -> list[Screen]:
        screens: list[Screen] = []
        narrower = 0
        for name, text in self._rows(_SCREENS):
            if screens and screens[-1].max_css_pixels is None:
                raise self._wrong(
                    _SCREENS, name, f"must stand before {screens[-1].name}, which takes the rest"
                )
            if text == _OTHERWISE:
                screens.append(Screen(name, None))
                continue
            if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) <= narrower:
                right = f"a number of CSS pixels over {narrower}, or 'otherwise'"
                raise self._wrong(_SCREENS, name, f"{text!r} must be {right}: narrowest first")
            narrower = int(text)
            screens.append(Screen(name, narrower))
        if screens[-1].max_css_pixels is not None:
            raise self._wrong(_SCREENS, screens[-1].name, "the last screen must be 'otherwise'")
        return screens

    def _read_formats(self) -> tuple[Format, ...]:
        if _FORMATS not in self._ini:
            return (PLAINEST,)
        for key in self._ini[_FORMATS]:
            if key not in {_OFFER, _EFFORT}:
                raise self._wrong(_FORMATS, key, f"no such key; there are {_OFFER} and {_EFFORT}")
        offered: list[Format] = []
        for word in self._ini[_FORMATS].get(_OFFER, "").split():
            known = next((known for known in ENCODED if known == word), None)
            if known is None:
                wrong = f"{word!r} cannot be encoded; there are {', '.join(ENCODED)}"
                raise self._wrong(_FORMATS, _OFFER, wrong)
            if known in offered:
                raise self._wrong(_FORMATS, _OFFER, f"{word!r}: named twice")
            offered.append(known)
        if PLAINEST not in offered:
            wrong = f"must have {PLAINEST}, the one that everybody can show"
            raise self._wrong(_FORMATS, _OFFER, wrong)
        return tuple(offered)

    def _read_effort(self) -> Effort:
        efforts: tuple[Effort, ...] = get_args(Effort)
        word = self._ini[_FORMATS].get(_EFFORT, efforts[0]) if _FORMATS in self._ini else efforts[0]
        known = next((known for known in efforts if known == word), None)
        if known is None:
            raise self._wrong(_FORMATS, _EFFORT, f"{word!r} must be one of {', '.join(efforts)}")
        return known

    def _read_cell(self, row: str, bandwidth: str) -> Cell:
        words: dict[str, str] = {}
        for word in self._ini[row].get(bandwidth, "").split():
            kind = next(
                (kind for kind, pattern in _CELL_WORDS if re.fullmatch(pattern, word)), None
            )
            if kind is None:
                right = (
                    "NNNpx, NN% (1 to 100), full, qNN (1 to 100), sNN (10 to 99), NNkB (whole)"
                    " or dprN (1, 1.5, 2 or 3)"
                )
                raise self._wrong(
                    row, bandwidth, f"{word!r} is no word of a cell; right are {right}"
                )
            if kind in words:
                raise self._wrong(row, bandwidth, f"{word!r} and {words[kind]!r}: only one {kind}")
            words[kind] = word
        if "quality" not in words:
            raise self._wrong(row, bandwidth, "must say a quality, such as q75, or a score, s70")
        if row == SIZED and "width" in words:
            wrong = f"{words['width']!r}: here the request says how wide"
            raise self._wrong(row, bandwidth, wrong)
        if row != SIZED and "width" not in words:
            raise self._wrong(row, bandwidth, "must say a width: NNNpx, NN% or full")
        if row != SIZED and "density" in words:
            wrong = f"{words['density']!r}: density only counts in [{SIZED}]; here the row says how"
            raise self._wrong(row, bandwidth, f"{wrong} wide")
        return _cell(words)

    def _read_choice(
        self, section: str, key: str, names: list[str], otherwise: str | None = None
    ) -> str:
        """Return the name of a row that a key gives; without `otherwise` the key must be there."""
        name = self._ini[section].get(key, otherwise)
        if name is None:
            raise self._wrong(section, key, f"must be given: one of {', '.join(names)}")
        if name not in names:
            raise self._wrong(section, key, f"{name!r} is none of {', '.join(names)}")
        return name

    def _rows(self, section: str) -> list[tuple[str, str]]:
        """Return the names that a section defines, with their text; there must be some."""
        if section not in self._ini:
            raise ConfigurationError(f"{self._origin}: [{section}]: this section is missing")
        choices = (_DEFAULT, _MOBILE) if section == _SCREENS else (_DEFAULT,)
        rows = [(name, text) for name, text in self._ini[section].items() if name not in choices]
        if not rows:
            raise ConfigurationError(f"{self._origin}: [{section}]: names nothing")
        for name, _ in rows:
            # No underscore: it separates the fields of an imagekey.
            if not re.fullmatch(r"[a-z0-9-]{1,20}", name) or name in _RESERVED:
                wrong = f"must be 1 to 20 of a-z, 0-9 and -, and none of {', '.join(_RESERVED)}"
                raise self._wrong(section, name, wrong)
        return rows

    def _known_keys(self, row: str, bandwidths: list[str]) -> list[str]:
        """Return the bandwidths of a row's cells; all must be there, and no others."""
        if row not in self._ini:
            raise ConfigurationError(f"{self._origin}: [{row}]: this section is missing")
        for key in self._ini[row]:
            if key not in bandwidths:
                wrong = f"no such bandwidth; there are {', '.join(bandwidths)}"
                raise self._wrong(row, key, wrong)
        for bandwidth in bandwidths:
            if bandwidth not in self._ini[row]:
                raise self._wrong(row, bandwidth, "this cell is missing")
        return bandwidths

    def _refuse_unknown_sections(self, screens: list[str]) -> None:
        for section in self._ini.sections():
            if section not in (_BANDWIDTHS, _SCREENS, _FORMATS, ALLOWED, SIZED, *screens):
                known = ", ".join(screens)
                wrong = f"{self._origin}: [{section}]: no such screen; there are {known}"
                raise ConfigurationError(wrong)

    def _wrong(self, section: str, key: str, problem: str) -> ConfigurationError:
        where = self._line_of(section, key)
        line = "" if where is None else f"line {where}: "
        return ConfigurationError(f"{self._origin}: {line}[{section}] {key}: {problem}")

    def _line_of(self, section: str, key: str) -> int | None:
        """Return the line of a key, or of its section if that is all there is."""
        found = current = None
        for number, line in enumerate(self._lines, 1):
            header = re.match(r"\[([^\]]+)\]", line)
            if header:
                current = header[1]
                found = number if current == section else found
            elif current == section and re.match(rf"{re.escape(key)}\s*[=:]", line.lower()):
                return number
        return found


_CELL_WORDS = (
    ("width", r"[1-9][0-9]{0,4}px|[1-9][0-9]?%|100%|full"),
    ("quality", r"q([1-9][0-9]?|100)|s[1-9][0-9]"),
    ("budget", r"[1-9][0-9]{0,5}kB"),
    ("density", r"dpr(1|1\.5|2|3)"),
)


def _cell(words: dict[str, str]) -> Cell:
    width = words.get("width", "").replace("full", f"{FULL_PERCENT}%")
    kind, number = words["quality"][0], int(words["quality"][1:])
    budget = words.get("budget")
    return Cell(
        quality=number if kind == "q" else BEST_QUALITY,
        target_score=number if kind == "s" else None,
        budget_bytes=int(budget.removesuffix("kB")) * BYTES_A_KILOBYTE if budget else None,
        width_pixels=int(width.removesuffix("px")) if width.endswith("px") else None,
        width_percent=int(width.removesuffix("%")) if width.endswith("%") else None,
        max_density=Decimal(words.get("density", "dpr1").removeprefix("dpr")),
    )
