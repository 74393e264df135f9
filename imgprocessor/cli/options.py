"""What several commands take: settings, policy, originals, request headers."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from imgprocessor.config.settings import Settings
from imgprocessor.load import Overrides, default_conf, load_settings

Command = Callable[..., Any]

# The code that opens a file says what is wrong with it; one that is written need not be readable.
FILE = click.Path(readable=False, path_type=Path)


class Reader(click.ParamType[Any]):
    """Reads an argument by a function that raises ValueError, whose message says what is right."""

    name = "text"

    def __init__(self, read: Callable[[str], Any]) -> None:
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text of an argument; defaults are read already."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ManyValues(click.Command):
    """A command whose repeatable options take several values at once, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `--backend A B` as `--backend A --backend B`."""
        options = (option for option in self.params if isinstance(option, click.Option))
        names = {name for option in options if option.multiple for name in option.opts}
        words, end = [], args.index("--") if "--" in args else len(args)
        option = before = ""
        for word in args[:end]:
            if word.startswith("-"):
                option = word if word in names else ""
            elif option and before != option:
                words.append(option)
            words.append(before := word)
        return super().parse_args(ctx, words + args[end:])


@dataclass(frozen=True)
class Files:
    """What a command was told of its settings, policy and originals."""

    conf: Path
    overrides: Overrides

    def load(self) -> Settings:
        """Read the settings.

        Raises:
            ConfigurationError: as `load_settings` does.
        """
        return load_settings(self.conf, self.overrides)


def with_files(*, originals: bool = True) -> Callable[[Command], Command]:
    """Let a command be told its files; it gets them first."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(
            *, conf: Path, policy: Path | None, originals: Path | None = None, **rest: Any
        ) -> Any:
            return command(Files(conf, Overrides(originals, policy)), **rest)

        options = [
            click.option(
                "--conf",
                type=FILE,
                default=default_conf,
                help="The settings file.",
                metavar="FILE",
            ),
            click.option(
                "--policy", type=FILE, help="The policy, instead of the settings'.", metavar="FILE"
            ),
        ]
        if originals:
            options.append(
                click.option("--originals", type=FILE, help="The originals' folder.", metavar="DIR")
            )
        return functools.reduce(lambda known, option: option(known), reversed(options), run)

    return decorate


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("must be of the form 'Name: value'")
    return name.strip().lower(), value.strip()


with_headers = click.option(
    "-H", "--header", "headers", multiple=True, type=Reader(_header), help="Such as 'ECT: 3g'."
)
"""Lets a command be told request headers: names in lower case, and values."""
