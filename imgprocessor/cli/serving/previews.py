"""`previews`: which documents this machine can draw, and what it would take to draw the rest."""

import tempfile
from pathlib import Path

import click

from imgprocessor.cli.options import Files, with_files
from imgprocessor.images.previews.drawing import module_lacks
from imgprocessor.images.previews.fonts import scripts_that_can_be_drawn
from imgprocessor.images.previews.registry import KINDS
from imgprocessor.job_parts import make_abilities
from imgprocessor.parts import require_workers_for_documents
from imgprocessor.service.readiness import OK


@click.command(
    help="Say which documents this machine can draw, what the others need, and which scripts its"
    " fonts have. The sandbox is tried, as the user and where this is run: run it as"
    " `imgprocessor worker` runs."
)
@with_files()
def previews(files: Files) -> int:
    """List the kinds that the settings name. 1 where one of them is not drawn."""
    settings = files.load()
    if settings.previews.enabled:
        require_workers_for_documents(settings)
    # A folder of its own: the daemons' must not become this user's.
    with tempfile.TemporaryDirectory(prefix="imgprocessor-") as folder:
        abilities = make_abilities(settings, Path(folder))
    ability = abilities.ability
    if not settings.previews.enabled:
        print("[previews] enabled is no: none is shown")
    print(f"sandbox: {ability.sandbox or f'none, so nothing is drawn: {abilities.no_sandbox}'}")
    titles = {kind.name: kind.title for kind in KINDS}
    for name, state in ability.kinds.items():
        print(f"{name} ({titles[name]}): {state}")
    unknown = module_lacks("fontTools", "previews")
    scripts = unknown or ", ".join(scripts_that_can_be_drawn()) or "none: there are no fonts"
    print(f"scripts: {scripts}")
    return int(set(ability.kinds.values()) != {OK})
