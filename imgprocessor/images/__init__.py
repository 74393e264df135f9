"""Pixels: the only package that knows Pillow, from an original's bytes to a rendition's."""

from importlib.util import find_spec

from imgprocessor.errors import ConfigurationError

if find_spec("PIL") is None:
    raise ConfigurationError(
        "there is no Pillow: install imgprocessor[simd], or imgprocessor[pillow] where Pillow-SIMD"
        " cannot be built"
    )
