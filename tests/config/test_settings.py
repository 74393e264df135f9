"""Settings: strict, frozen, each written once."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.config.buckets import BucketUrl
from imgprocessor.config.settings import Settings
from imgprocessor.config.settings_file import describe_settings, parse_settings
from imgprocessor.config.store_settings import MemoryUrl, redis_server
from imgprocessor.errors import ConfigurationError

OTHER_VALUES: dict[type, Any] = {
    int: 17,
    float: 2.5,
    bool: True,
    type(Path()): Path("other"),
    tuple: ("127.0.0.1:80", "[::1]:81", "node.example:82"),
    type(None): Path("token"),
}
OTHER_WORDS = {
    "redis": "redis://127.0.0.1:6379/1",
    "instance": "other",
    "metadata": "all",
    "full": "yes",
    "allow_origin": "https://www.example.org",
    "kinds": ("svg", "video"),
    "hosts": ("a.example", "*.b"),
    "bucket": BucketUrl("s3", "pictures", "shop"),
    "url": BucketUrl("s3", "pictures", "copy"),
    "shared": MemoryUrl("memcached://127.0.0.1:11211"),
}
EVERY_SETTING = [
    (part.name, option.name)
    for part in fields(Settings)
    for option in fields(type(part.default))  # type: ignore[arg-type]
]


def _other_value(section: str, option: str) -> Any:
    default = getattr(getattr(Settings(), section), option)
    if isinstance(default, str) and default.startswith("#"):
        return "#102030"
    if isinstance(default, bool):
        return not default
    if option == "roots":
        return (Path("a b"), BucketUrl("s3", "pictures", "shop"), Path('it\'s "c"'))
    if option == "proxy_cache_folders":
        return (Path("a"), Path("b"))
    return OTHER_WORDS[option] if option in OTHER_WORDS else OTHER_VALUES[type(default)]


def test_bounds_themselves_are_allowed() -> None:
    settings = parse_settings("[pixels]\nmaster_margin = 1\n[freshness]\nmax_age_seconds = 0", "x")

    assert (settings.pixels.master_margin, settings.freshness.max_age_seconds) == (1.0, 0)


@pytest.mark.parametrize(
    ("text", "now"),
    [
        ("[store]\nmax_wait_seconds = 3", "max_wait_seconds: is now split by what it governs: "),
        ("[originals]\nroot = x", "[originals] root: is now [originals] roots"),
        ("[renderers]\nprocesses = 3", "[renderers] processes: is now [rendering] workers"),
        ("[originals]\nmax_pixels = 9", "max_pixels: is now [originals] max_decoded_bytes, which"),
        ("[purge]\ndisk_caches = x", "disk_caches: is now [purge] proxy_cache_folders"),
    ],
)
def test_a_setting_of_before_is_an_error_that_names_the_new_one(text: str, now: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse_settings(text, "x.ini")

    assert now in str(error.value)


def test_no_text_means_every_default() -> None:
    assert Settings() == parse_settings("", "x.ini")


@pytest.mark.parametrize(("section", "option"), EVERY_SETTING)
def test_each_setting_is_read_back_as_it_was_written(section: str, option: str) -> None:
    changed = replace(getattr(Settings(), section), **{option: _other_value(section, option)})
    settings = replace(Settings(), **{section: changed})

    read_back = parse_settings(describe_settings(settings), "x.ini")

    assert settings == read_back
    assert settings != Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[originals]\nmax_scans = -1", "[originals] max_scans = '-1': must be a whole number"),
        ("[originals]\nmax_scans = 0", "[originals] max_scans = '0': must be greater than 0"),
        ("[originals]\nroots =", "[originals] roots = '': must not be empty"),
        (
            "[originals]\nroots = s3://A/b",
            "[originals] roots = 's3://A/b': must be SCHEME://BUCKET",
        ),
        (
            "[originals]\nroots = http://a",
            "[originals] roots = 'http://a': must be SCHEME://BUCKET",
        ),
        ('[originals]\nroots = "a b', "[originals] roots = '\"a b': must have an even number of"),
        ("[pixels]\nmaster_margin = 0.5", "[pixels] master_margin = '0.5': must be a number of at"),
        ("[pixels]\nbackground = red", "[pixels] background = 'red': must be a colour such as"),
        ("[pixels]\nkeep_copyright = 1", "[pixels] keep_copyright = '1': must be yes or no"),
        ("[originals]\nfull = 1", "[originals] full = '1': must be yes, no or auto"),
        (
            "[http]\nallow_origin = ",
            "[http] allow_origin = '': must be *, none, or one origin such",
        ),
        ("[http]\nallow_origin = a.example", "[http] allow_origin = 'a.example': must be *, none"),
        ("[http]\nallow_origin = https://a/", "[http] allow_origin = 'https://a/': must be *, no"),
        ("[http]\nallow_origin = //a", "[http] allow_origin = '//a': must be *, none, or"),
        ("[pixels]\nbackgruond = #000000", "[pixels] backgruond: no such setting; there are max_"),
        ("[purge]\nnodes = one", "[purge] nodes = 'one': must be none, or HOST:PORT, several"),
        (
            "[remote]\nhosts = https://a",
            "[remote] hosts = 'https://a': must be none, or names such",
        ),
        ("[remote]\nhosts = *", "[remote] hosts = '*': must be none, or names such"),
        ("[remote]\nhosts = 10.0.0.1", "[remote] hosts = '10.0.0.1': must be none, or names such"),
        ("[remote]\nhosts = a 2130706433", "[remote] hosts = 'a 2130706433': must be none, or"),
        ("[remote]\nhosts = 0x7f.1", "[remote] hosts = '0x7f.1': must be none, or names such"),
        ("[remote]\nhosts = *.0x7f", "[remote] hosts = '*.0x7f': must be none, or names such"),
        ("[remote]\nhosts = a:80", "[remote] hosts = 'a:80': must be none, or names such"),
        ("[pixel]", "[pixel]: no such section; there are originals, remote"),
        ("[DEFAULT]\nroot = x", "[DEFAULT]: no such section"),
        ("[log]\nfile = a\nfile = b", "[log] file: given twice"),
        ("[log]\n[log]", "[log]: section given twice"),
        ("file = a", "line 1: a line before the first [section]"),
        ("[log]\nfile = a\0b", "line 2: must have no control characters; there is '\\x00'"),
        ("[lo\x85g]", "line 1: must have no control characters; there is '\\x85'"),
        ("[log]\nfile", "line 2: 'file' is not of the form 'key = value'"),
    ],
)
def test_a_wrong_setting_is_named_with_file_section_option_and_value(
    text: str, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(text, "conf/x.ini")

    assert str(caught.value).startswith(f"conf/x.ini: {message}")
    assert "\n" not in str(caught.value)


@given(st.text())
def test_no_text_whatever_raises_anything_else(text: str) -> None:
    try:
        parse_settings(text, "x.ini")
    except ConfigurationError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("redis://localhost:6379/0", "redis://127.0.0.1/1", True),
        ("redis://[::1]", "redis://LOCALHOST:6379", True),
        ("redis://10.0.0.5:6379", "redis://10.0.0.5:6380", False),
        ("redis://10.0.0.5", "redis://10.0.0.6", False),
        ("redis://[fe80::6379]:1/2", "redis://[FE80::6379]:1", True),
        ("unix:///run/redis.sock", "unix:///run/../run/redis.sock?db=1", True),
        ("unix:///run/redis.sock", "unix:///run/other.sock", False),
    ],
)
def test_a_redis_is_the_same_whatever_the_number(one: str, other: str, *, same: bool) -> None:
    assert (redis_server(one) == redis_server(other)) == same
