"""Fonts: which are there, what stands in for others, and scripts that they have letters for."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.images.previews.fonts import (
    FOLDERS,
    MONO,
    SANS,
    SERIF,
    STAND_INS,
    asked_for,
    faces,
    families,
    font_files,
    scripts_that_can_be_drawn,
    stand_ins,
)

LIBERATION = next(Path("/usr/share/fonts").rglob("LiberationSans-Regular.ttf")).parent


def test_families_are_those_that_fontconfig_knows() -> None:
    listed = subprocess.run(
        ["fc-list", "--format", "%{file}\t%{family[0]}\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    known = {
        line.split("\t")[1]
        for line in listed.splitlines()
        if any(Path(line.split("\t")[0]).is_relative_to(folder) for folder in FOLDERS)
    }

    assert known <= families()
    assert {SANS, SERIF, MONO} <= families()


@pytest.mark.parametrize(
    ("script", "language"),
    [
        *[("Latin", "de"), ("Greek", "el"), ("Cyrillic", "ru"), ("Hebrew", "he"), ("Arabic", "ar")],
        *[("Devanagari", "hi"), ("Thai", "th")],
    ],
)
def test_scripts_are_those_that_fontconfig_knows(script: str, language: str) -> None:
    listed = subprocess.run(
        ["fc-list", f":lang={language}"], capture_output=True, text=True, check=True
    ).stdout

    assert (script in scripts_that_can_be_drawn()) is bool(listed.strip())


def test_chinese_and_japanese_are_in_debians_small_font() -> None:
    """Fontconfig asks for rarer letters, too."""
    known = scripts_that_can_be_drawn()

    assert {"Chinese (simplified)", "Chinese (traditional)", "Japanese"} <= set(known)


def test_scripts_of_few_fonts_and_of_none(tmp_path: Path) -> None:
    assert scripts_that_can_be_drawn([LIBERATION]) == [
        *("Latin", "Vietnamese", "Greek", "Cyrillic"),
        "Hebrew",
    ]
    assert scripts_that_can_be_drawn([tmp_path]) == []
    assert families([tmp_path / "none"]) == frozenset()


def test_names_are_found_as_they_are_spelled() -> None:
    text = "font: 12px 'Times New Roman', ARIAL; Arial-Black courier NEW Timeserver noto sans cjk"

    assert asked_for(text) == {"Times New Roman", "ARIAL", "courier NEW", "noto sans"}


def test_a_stand_in_is_called_as_it_was_asked_for(tmp_path: Path) -> None:
    folder = stand_ins(["arial", "Courier New", SERIF, "Nobody"], tmp_path / "own")

    assert families([folder]) == {"arial", "Courier New"}
    assert len(font_files([folder])) == 8
    assert all(face.has("Ärger") for face in faces([folder]))
    if shutil.which("fc-scan"):
        scanned = subprocess.run(
            ["fc-scan", "--format", "%{family} %{style} %{weight}\n", folder],
            *(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert sorted(line.split(" ")[0] for line in scanned.splitlines()) == [
            *["Courier"] * 4,
            *["arial"] * 4,
        ]


def test_nothing_stands_in_for_what_is_there(tmp_path: Path) -> None:
    assert font_files([stand_ins([SANS, SERIF], tmp_path / "own")]) == []


def test_names_are_written_in_lower_case_once() -> None:
    names = [name for names in STAND_INS.values() for name in names]

    assert names == [name.lower() for name in names]
    assert len(names) == len(set(names))


def test_upright_fonts_come_first() -> None:
    names = [file.name for file in font_files([LIBERATION])]

    assert {name.split("-")[1] for name in names[:2]} == {"Regular.ttf"}


FONT = (LIBERATION / "LiberationMono-Regular.ttf").read_bytes()


@given(st.data())
def test_broken_fonts_are_passed_over(data: st.DataObject) -> None:
    folder = Path(data.draw(st.just("/tmp"), label="place")) / "imgprocessor-broken-fonts"  # noqa: S108
    folder.mkdir(exist_ok=True)
    broken = bytearray(FONT[: data.draw(st.sampled_from([0, 11, 200, 3000, 40_000, len(FONT)]))])
    for _ in range(data.draw(st.integers(0, 30))):
        if broken:
            at = data.draw(st.integers(0, min(3000, len(broken) - 1)))
            broken[at] = data.draw(st.integers(0, 255))
    (folder / "broken.ttf").write_bytes(broken)

    scripts_that_can_be_drawn([folder])
    stand_ins(["Courier"], folder / "own", [folder])
    shutil.rmtree(folder)
