"""`policy check`: settings and policy, as a start would check them."""

import click

from imgprocessor.cli.options import Files, with_files
from imgprocessor.load import load_policy
from imgprocessor.parts import make_delivery
from imgprocessor.policy.lint import lint_policy


@click.command(help="Check settings and policy, as a start would.")
@with_files()
def check(files: Files) -> None:
    """Print warnings, and whether they can be used."""
    settings = files.load()
    policy = load_policy(settings)
    for doubt in lint_policy(policy):
        print(f"{settings.policy.file}: warning: {doubt}")
    if not settings.placeholder.file.is_file():
        wrong = f"[placeholder] file: {settings.placeholder.file} is not there"
        print(f"{files.conf}: warning: {wrong}: failures will be answered with text")
    make_delivery(settings, policy=policy)
    size = f"{len(policy.screens)} screens, {len(policy.bandwidths)} bandwidths"
    print(f"{settings.policy.file}: can be used: {size}")
