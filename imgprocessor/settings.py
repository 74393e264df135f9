"""What an operator may decide about the server: one field a setting, frozen, strict.

A setting is written once, here: the INI reader, `conf/imgprocessor.ini`, the README's table and
their tests are all made from these fields. The policy (who gets what) is a file of its own.
"""

import configparser
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from imgprocessor.errors import ConfigurationError

_BEST_QUALITY = 100
_WHOLE_PERCENT = 100
_LONGEST_WEBP_SIDE_PIXELS = 16_383


MAX_PORT = 65_535

_LABEL = "[A-Za-z0-9-]{1,63}"
"""Of a host's name, between its dots."""

_UNREADABLE = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029]")
"""What no path has, and what would end a message's line or move a terminal's cursor."""


def _text(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _positive(value: str) -> int:
    number = _not_negative(value)
    if number == 0:
        raise ValueError("must be greater than 0")
    return number


def _not_negative(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise ValueError("must be a whole number, such as 300")
    return int(value)


def _factor(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", value) or float(value) < 1:
        raise ValueError("must be a number of at least 1, such as 1.5")
    return float(value)


def _quality(value: str) -> int:
    number = _positive(value)
    if number > _BEST_QUALITY:
        raise ValueError(f"must be a whole number from 1 to {_BEST_QUALITY}")
    return number


def _percent(value: str) -> int:
    number = _not_negative(value)
    if number > _WHOLE_PERCENT:
        raise ValueError(f"must be a whole number from 0 to {_WHOLE_PERCENT}")
    return number


def _output_side(value: str) -> int:
    number = _positive(value)
    if number > _LONGEST_WEBP_SIDE_PIXELS:
        raise ValueError(
            f"must be at most {_LONGEST_WEBP_SIDE_PIXELS}, the longest side that WebP can have"
        )
    return number


def _switch(value: str) -> bool:
    if value not in {"yes", "no"}:
        raise ValueError("must be yes or no")
    return value == "yes"


def _colour(value: str) -> str:
    if not re.fullmatch(r"#[0-9a-f]{6}", value):
        raise ValueError("must be a colour such as #ffffff")
    return value


def _path_or_none(value: str) -> str | None:
    return None if value == "none" else _text(value)


def _paths(value: str) -> tuple[str, ...]:
    return () if value == "none" else tuple(value.split())


def _addresses(value: str) -> tuple[str, ...]:
    found = () if value == "none" else tuple(value.split())
    try:
        for address in found:
            read_address(address)
    except ValueError as error:
        wrong = "must be none, or HOST:PORT, several with blanks between them"
        raise ValueError(wrong) from error
    return found


def read_address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`; the host is a name, an IPv4 address, or an IPv6 address in brackets.

    Raises:
        ValueError: it is something else; the message says what would be right.
    """
    host, _, port = text.rpartition(":")
    known = re.fullmatch(rf"{_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:.]+\]", host)
    if not known or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) <= MAX_PORT:
        raise ValueError(f"must be HOST:PORT, the port from 1 to {MAX_PORT}")
    return host, int(port)


def setting(default: object, read: Callable[[str], Any], help_text: str) -> Any:
    """Declare a setting: its default, how its text is read, and what it is for."""
    return field(default=default, metadata={"read": read, "help": help_text})


@dataclass(frozen=True)
class OriginalsSettings:
    """Where originals live, and which are refused."""

    root: str = setting("../originals", _text, "Folder of the originals.")
    max_bytes: int = setting(52_428_800, _positive, "Refuse files with more bytes (50 MiB).")
    max_pixels: int = setting(
        50_000_000, _positive, "Refuse originals with more pixels: 50 megapixels decode to 200 MB."
    )
    max_side_pixels: int = setting(16_384, _positive, "Refuse originals with a longer side.")
    max_decoded_bytes: int = setting(
        536_870_912,
        _positive,
        "Refuse originals that may take more memory (512 MiB). A pixel takes 4 bytes of a JPEG, 3"
        " to 8 more of a progressive one, 5 or 8 of a PNG, 5 of a GIF, 18 of a WebP (29 MP).",
    )
    max_scans: int = setting(
        100, _positive, "Refuse JPEGs with more scans, each through all pixels. Real ones have ten."
    )
    max_megapixel_scans: int = setting(
        1000, _positive, "Refuse JPEGs with more scans times megapixels: each takes 0.2 ms or more."
    )
    max_metadata_bytes: int = setting(
        16_777_216, _positive, "Refuse more metadata (16 MiB). Phones keep whole pictures in it."
    )
    max_metadata_parts: int = setting(
        1000, _positive, "Refuse more segments, chunks or extensions that are not pixels."
    )
    max_icc_bytes: int = setting(
        1_048_576, _positive, "Ignore larger colour profiles (1 MiB): they would only cost time."
    )
    max_exif_bytes: int = setting(
        1_048_576, _positive, "Ignore larger EXIF data (1 MiB). Cameras write 64 kB at most."
    )


@dataclass(frozen=True)
class PixelsSettings:
    """What shapes the pixels of every rendition. All of it is in the imagekey's digest."""

    max_output_side_pixels: int = setting(
        4096,
        _output_side,
        "No side of a rendition is longer; width= and height= over it are a 400.",
    )
    master_margin: float = setting(
        1.5,
        _factor,
        "Renditions are made from a reduced copy of the original, halved as long as it is at least"
        " so many times the size wanted; the rest is resized with Lanczos. Lower is faster, higher"
        " is sharper.",
    )
    background: str = setting(
        "#ffffff", _colour, "Colour behind transparent originals, where the format has no alpha."
    )
    min_quality: int = setting(
        40,
        _quality,
        "Searching for a budget or a score goes no lower: beyond it the picture is made smaller.",
    )
    max_modern_pixels: int = setting(
        4_000_000,
        _positive,
        "Renditions with more pixels are sent in the plainest format that would do: of sixteen"
        " megapixels one AVIF takes a second, and a budget takes several.",
    )
    keep_copyright: bool = setting(
        False, _switch, "Keep the original's EXIF copyright and artist; all else is always removed."
    )


@dataclass(frozen=True)
class StoreSettings:
    """What is kept on disk, so that it is made only once."""

    folder: str = setting(
        "../cache", _text, "Where renditions and masters are kept; may be emptied at any time."
    )
    max_renditions_bytes: int = setting(
        5_000_000_000,
        _not_negative,
        "Renditions take no more than this; the least recently used go first. 0 keeps none.",
    )
    max_masters_bytes: int = setting(
        5_000_000_000,
        _not_negative,
        "Masters, reduced copies of originals, take no more than this: some 12 MB an original.",
    )
    min_free_percent: int = setting(
        5,
        _percent,
        "Where less of the disk would stay free, nothing more is kept, and the least recently used"
        " make room.",
    )
    max_wait_seconds: int = setting(
        10,
        _positive,
        "Of equal requests one renders, the others wait for it: no longer than this, then 503.",
    )


@dataclass(frozen=True)
class RenderersSettings:
    """The processes that render, and what happens when there is too much to do."""

    processes: int = setting(
        0, _not_negative, "So many pictures are rendered at once; 0: as many as there are cores."
    )
    max_waiting_per_process: int = setting(
        8,
        _not_negative,
        "So many requests for each of them wait for their turn; more are a 503 at once, so that"
        " those who wait get an answer in time. The daemons need more threads than that in all.",
    )
    max_render_seconds: int = setting(
        20,
        _positive,
        "A renderer that takes more of a processor's time over one picture is stuck, and ends.",
    )
    max_memory_bytes: int = setting(
        1_610_612_736,
        _positive,
        "A renderer has no more memory than this (1.5 GiB): an original that wants more is a 422.",
    )
    quarantine_seconds: int = setting(
        600,
        _not_negative,
        "An original over which two renderers died is a 422 for so long, without being opened; and"
        " so is one that was found broken.",
    )
    cheaper_when_overloaded: bool = setting(
        False,
        _switch,
        "Who would get a 503 gets the picture of a worse bandwidth instead, where one is kept; no"
        " cache keeps it.",
    )
    run_folder: str = setting(
        "/dev/shm",  # noqa: S108 - in it there is a folder of this user's alone
        _text,
        "Where the daemons' sockets and locks are; in memory, so that no disk can stop them.",
    )


@dataclass(frozen=True)
class PolicySettings:
    """Who gets what."""

    file: str = setting("policy.ini", _text, "The policy: rows are screens, columns bandwidths.")


@dataclass(frozen=True)
class PlaceholderSettings:
    """The picture sent instead, when something went wrong."""

    file: str = setting("../static/404image.png", _text, "The placeholder, rendered as asked.")


@dataclass(frozen=True)
class FreshnessSettings:
    """How long answers may be kept, in seconds."""

    max_age_seconds: int = setting(86_400, _not_negative, "Browsers keep a full picture.")
    degraded_max_age_seconds: int = setting(
        600,
        _not_negative,
        "Browsers keep a picture of a bandwidth worse than the default: a visitor who is back on"
        " a good network gets the good picture soon.",
    )
    shared_max_age_seconds: int = setting(
        600,
        _not_negative,
        "Caches keep pictures, Apache's own too, before they ask whether those are still good,"
        " which costs no rendering. No longer than browsers keep any, unless the cache drops Age:"
        " browsers take off how old a cache's copy is.",
    )
    stale_while_revalidate_seconds: int = setting(
        3600, _not_negative, "A cache may send an old picture while it asks for the new one."
    )
    stale_if_error_seconds: int = setting(
        604_800, _not_negative, "A cache may send an old picture while this server is down."
    )
    not_found_max_age_seconds: int = setting(
        30, _not_negative, "Everybody keeps the placeholder of a missing original."
    )


@dataclass(frozen=True)
class PurgeSettings:
    """Who may purge by HTTP, and who else must forget what is purged here."""

    token_file: str | None = setting(
        None,
        _path_or_none,
        "A file with the token that POST /images/-/purge asks for; readable for the daemons' user,"
        " not for everybody. Without, nobody purges by HTTP.",
    )
    nodes: tuple[str, ...] = setting(
        (),
        _addresses,
        "The other application nodes, HOST:PORT with blanks between; they have the same token.",
    )
    disk_caches: tuple[str, ...] = setting(
        (),
        _paths,
        "Folders on this node, with blanks between, where Apache (CacheRoot, IMG_CACHE in the"
        " virtual host) and nginx (proxy_cache_path) keep answers; the daemons' user must be able"
        " to write there.",
    )
    varnish: tuple[str, ...] = setting(
        (),
        _addresses,
        "The Varnish caches in front, HOST:PORT with blanks between; all nodes must be among"
        " their purgers.",
    )


@dataclass(frozen=True)
class SigningSettings:
    """Whether links must be signed."""

    keys_file: str | None = setting(
        None,
        _path_or_none,
        "A file with the keys that links are signed with, one a line: the first signs, all are"
        " taken; readable for the daemons' user, not for everybody. Without, no link need be"
        " signed.",
    )


@dataclass(frozen=True)
class MetricsSettings:
    """What Prometheus may know."""

    enabled: bool = setting(
        True,
        _switch,
        "Count answers, in [store] folder, and show the counts at /images/-/metrics to whom the"
        " virtual host lets in: this machine, but for what comes by way of a proxy.",
    )


@dataclass(frozen=True)
class LogSettings:
    """What is written down."""

    file: str = setting("../logs/requests.log", _text, "One JSON line a request.")


@dataclass(frozen=True)
class Settings:
    """All settings. A part of the server receives its own section, never the whole."""

    originals: OriginalsSettings = OriginalsSettings()
    pixels: PixelsSettings = PixelsSettings()
    store: StoreSettings = StoreSettings()
    renderers: RenderersSettings = RenderersSettings()
    policy: PolicySettings = PolicySettings()
    placeholder: PlaceholderSettings = PlaceholderSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    purge: PurgeSettings = PurgeSettings()
    signing: SigningSettings = SigningSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()


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


def read_ini(text: str, origin: str) -> configparser.ConfigParser:
    """Split INI text into sections, the same way for settings and policy.

    `;` and `#` begin a comment, except that inside a line `#` does not: it begins colours.
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
        wrong = f"{origin}: line {line_number}: {line} is not of the form 'key = value'"
        raise ConfigurationError(wrong) from error
    return ini


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
