"""What several commands take: settings, policy, originals, request headers."""

import argparse
from pathlib import Path

from imgprocessor.load import DEFAULT_CONF, Overrides


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Let a command be told its settings, policy and originals."""
    add_files(parser)
    parser.add_argument("--originals", type=Path, help="folder of originals, instead of the file's")


def add_files(parser: argparse.ArgumentParser) -> None:
    """Let a command be told its settings and policy."""
    parser.add_argument("--conf", type=Path, default=DEFAULT_CONF, help="the settings file")
    parser.add_argument("--policy", type=Path, help="the policy, instead of the file's")


def add_headers(parser: argparse.ArgumentParser) -> None:
    """Let a command be told request headers: names in lower case, and values."""
    parser.add_argument(
        "-H", "--header", action="append", default=[], type=_header, help="such as 'ECT: 3g'"
    )


def overrides(options: argparse.Namespace) -> Overrides:
    """Return what was said by `add_configuration`."""
    return Overrides(originals=options.originals, policy=options.policy)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError("must be of the form 'Name: value'")
    return name.strip().lower(), value.strip()
