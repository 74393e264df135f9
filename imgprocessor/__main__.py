"""The command line: serve without Apache, render one file, look into the policy."""

import os
import sys
from collections.abc import Sequence

import click

from imgprocessor.cli.edge import edge
from imgprocessor.cli.policy.group import policy
from imgprocessor.cli.purge import purge
from imgprocessor.cli.reload import reload
from imgprocessor.cli.render import render_file
from imgprocessor.cli.serve import serve
from imgprocessor.cli.settings import settings
from imgprocessor.cli.sign import sign_link
from imgprocessor.errors import ConfigurationError, ImageError

_COMMANDS = click.Group(
    "imgprocessor",
    [serve, render_file, policy, purge, edge, settings, reload, sign_link],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=__doc__,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 not done, 2 misused."""
    try:
        status = _COMMANDS.main(arguments, "imgprocessor", standalone_mode=False)
        if sys.stdout is not None:  # as it is where it was closed before
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # Ctrl-C
        return 1
    except (ConfigurationError, ImageError) as error:
        print(f"imgprocessor: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Who reads has read enough, as `head` does; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
