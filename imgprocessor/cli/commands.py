"""The group of all commands."""

import click

from imgprocessor.cli.edge import edge
from imgprocessor.cli.init import init
from imgprocessor.cli.policy.group import policy
from imgprocessor.cli.reload import reload
from imgprocessor.cli.render import render_file
from imgprocessor.cli.serving.previews import previews
from imgprocessor.cli.serving.serve import flower, serve, worker
from imgprocessor.cli.serving.warm import warm
from imgprocessor.cli.settings import settings
from imgprocessor.cli.sign import sign_link
from imgprocessor.cli.store.group import store
from imgprocessor.cli.store.purge import purge
from imgprocessor.cli.store.replicate import replicate
from imgprocessor.cli.uploads.group import uploads

COMMANDS = click.Group(
    "imgprocessor",
    [
        init,
        serve,
        render_file,
        policy,
        purge,
        edge,
        settings,
        reload,
        sign_link,
        uploads,
        store,
        replicate,
        worker,
        previews,
        warm,
        flower,
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="An adaptive image server for Apache, and what an operator needs beside it.",
)
