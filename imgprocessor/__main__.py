"""The command line: runs one command, and turns what went wrong into one line and a status."""

import os
import sys
from collections.abc import Sequence

import click

from imgprocessor.errors import ConfigurationError, ImageError
from imgprocessor.storage.shared.failures import BucketFailed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 not done, 2 misused."""
    try:
        from imgprocessor.cli.commands import COMMANDS  # noqa: PLC0415 - it fails without Pillow

        status = COMMANDS.main(arguments, "imgprocessor", standalone_mode=False)
        if sys.stdout is not None:  # as it is where it was closed before
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # Ctrl-C
        return 1
    except (ConfigurationError, ImageError, BucketFailed) as error:
        print(f"imgprocessor: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Who reads has read enough, as `head` does; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
