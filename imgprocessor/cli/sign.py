"""The command that signs links."""

import argparse
import re
import time
from pathlib import Path

from imgprocessor.config.secrets import signing_keys
from imgprocessor.config.settings import SigningSettings
from imgprocessor.errors import ConfigurationError
from imgprocessor.load import load_settings
from imgprocessor.request.signing import EXPIRES_PATTERN, sign


def add_sign(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments, but for those that name the settings."""
    parser.add_argument("url", metavar="URL", help="or its query string alone")
    expiry = parser.add_mutually_exclusive_group()
    expiry.add_argument("--expires", type=_seconds, metavar="UNIX", help="seconds since 1970")
    expiry.add_argument("--expires-in", type=_duration, metavar="SECONDS", help="from now on")
    parser.add_argument(
        "--keys-file", type=Path, help="instead of the settings' [signing] keys_file"
    )
    parser.set_defaults(run=_sign)


def _sign(options: argparse.Namespace) -> int:
    settings = load_settings(options.conf).signing
    if options.keys_file is not None:
        settings = SigningSettings(options.keys_file)
    keys = signing_keys(settings)
    if not keys:
        wrong = "[signing] keys_file is not set, and so nothing is signed; or give --keys-file"
        raise ConfigurationError(f"{options.conf}: {wrong}")
    after = options.expires_in
    expires = options.expires if after is None else int(time.time()) + after
    print(sign(options.url, keys[0], expires))
    return 0


def _seconds(text: str) -> int:
    if not re.fullmatch(EXPIRES_PATTERN, text):
        raise argparse.ArgumentTypeError("must be whole seconds, at least 1")
    return int(text)


def _duration(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,9}", text):  # so that the moment can be spelled
        raise argparse.ArgumentTypeError("must be whole seconds, from 1 to 9999999999")
    return int(text)
