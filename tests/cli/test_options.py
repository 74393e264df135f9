"""What commands take, as click reads it: several values, files that cannot be read."""

import os
from pathlib import Path

import click
import pytest

from imgprocessor.__main__ import main
from imgprocessor.cli.options import ManyValues


@pytest.mark.parametrize(
    ("arguments", "names", "keys"),
    [
        ("a --key 1 2 3", ["a"], ["1", "2", "3"]),
        ("a --key 1 --key 2 3", ["a"], ["1", "2", "3"]),
        ("a --key=1 b", ["a", "b"], ["1"]),
        ("--key 1 --all b", ["b"], ["1"]),
        ("--key 1 --conf x b", ["b"], ["1"]),
        ("--key 1 -- b --key c", ["b", "--key", "c"], ["1"]),
        ("--key 1 1 1", [], ["1", "1", "1"]),
    ],
)
def test_an_option_takes_the_values_that_follow_it(
    arguments: str, names: list[str], keys: list[str]
) -> None:
    command = ManyValues(
        "x",
        params=[
            click.Argument(["name"], nargs=-1),
            click.Option(["--key"], multiple=True),
            click.Option(["--conf"]),
            click.Option(["--all"], is_flag=True),
        ],
    )

    taken = command.make_context("x", arguments.split()).params

    assert (list(taken["name"]), list(taken["key"])) == (names, keys)


def test_several_backends_are_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for backends in (["a:1", "b:2"], ["a:1", "--backend", "b:2"]):
        assert main(["edge", "varnish", "--backend", *backends]) == 0
        told.append(capsys.readouterr().out)

    assert told[0] == told[1]
    assert '.host = "b"' in told[0]


def test_files_are_opened_before_they_are_said_to_be_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An output need not be readable; what cannot be read is one line, and no misuse."""
    (output := tmp_path / "edge.vcl").touch()
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may read anything

    assert main(["edge", "varnish", "-o", str(output)]) == 0
    assert output.read_text()
    assert main(["settings", "--conf", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"imgprocessor: {tmp_path}: Is a directory\n"
