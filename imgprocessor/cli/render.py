"""`render`: one file, as a request for it would be rendered."""

import functools
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

import click

from imgprocessor.cli.options import FILE, Files, with_files, with_headers
from imgprocessor.errors import ConfigurationError
from imgprocessor.load import Overrides, load_settings
from imgprocessor.parts import make_delivery
from imgprocessor.request.parameters import NAMES, PARAMETERS
from imgprocessor.service.understanding import Incoming

_OPTIONS = [
    click.option(f"--{name}", name, help=row.help)
    for name, row in PARAMETERS.items()
    if name not in NAMES
]


@click.command("render", help="Render one file, as a request for it would.")
@with_files(originals=False)
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, help="Where to; its name has no say in the format.")
@with_headers
@(lambda command: functools.reduce(lambda known, option: option(known), _OPTIONS[::-1], command))
def render_file(
    files: Files,
    file: Path,
    output: Path | None,
    headers: tuple[tuple[str, str], ...],
    **asked: str | None,
) -> None:
    """Write the rendition to the output, and what was decided to stderr."""
    file = file.resolve()
    settings = load_settings(files.conf, Overrides(file.parent, files.overrides.policy))
    given = {name: value for name, value in asked.items() if value is not None}
    query_string = urlencode({"name": file.name, **given}, quote_via=quote)
    delivery = make_delivery(settings)
    request = delivery.understand(Incoming(query_string, dict(headers)))
    answer = delivery.render(delivery.find(request))
    rendition = answer.rendition
    if output is None:
        sys.stdout.buffer.write(rendition.body)
    else:
        try:
            output.write_bytes(rendition.body)
        except OSError as error:
            raise ConfigurationError(f"{output}: {error.strerror}") from error
    limited = f", the budget took {rendition.limited}" if rendition.limited else ""
    quality = f"quality {rendition.quality}"
    made = "the original itself" if rendition.is_original else quality
    told = f"{rendition.format}, {rendition.size}, {made}, {len(rendition.body)} bytes{limited}"
    print(f"{answer.found.planned.imagekey}: {told}", file=sys.stderr)
