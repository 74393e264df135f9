"""Goldens: bytes change only with a number, the same for who compares and for who writes anew."""

from pathlib import Path

import goldens
import pytest

GOLDEN = {
    "libraries": "Pillow 1",
    "masters": "1",
    "pipeline": "2",
    "calibration": "abcd",
    "digest": "aa",
    "size": "3x2",
    "dhash": "00000000000000ff",
    "colour": "10 20 30",
}
OTHER_LIBRARIES = {"libraries": "Pillow 2", "digest": "bb"}


@pytest.mark.parametrize(
    ("change", "compared", "renewed"),
    [
        # The same libraries: bytes change with a number of ours only.
        ({}, "", ""),
        ({"digest": "bb"}, "raise", "raise"),
        ({"size": "3x3", "digest": "bb"}, "raise", "raise"),
        ({"digest": "bb", "pipeline": "3"}, "anew", ""),
        ({"digest": "bb", "masters": "2"}, "anew", ""),
        ({"digest": "bb", "calibration": "ef01"}, "anew", ""),
        ({"pipeline": "3"}, "anew", ""),
        ({"digest": "bb", "pipeline": "1"}, "may only be raised", "may only be raised"),
        ({"digest": "bb", "pipeline": "1", "masters": "2"}, "only be raised", "only be raised"),
        # Other libraries, which are in keys, too: alike is enough.
        (OTHER_LIBRARIES, "", ""),
        (OTHER_LIBRARIES | {"dhash": "00000000000000e0", "colour": "13 20 27"}, "", ""),
        (OTHER_LIBRARIES | {"dhash": "00000000000000c1"}, "", ""),
        (OTHER_LIBRARIES | {"dhash": "000000000000ff00"}, "raise", "raise"),
        (OTHER_LIBRARIES | {"colour": "14 20 30"}, "raise", "raise"),
        (OTHER_LIBRARIES | {"size": "3x3"}, "raise", "raise"),
        (OTHER_LIBRARIES | {"size": "3x3", "pipeline": "3"}, "anew", ""),
    ],
)
def test_bytes_change_only_with_a_number(
    change: dict[str, str],
    compared: str,
    renewed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, seen = tmp_path / "case.txt", GOLDEN | change
    for renew, expected in (("", compared), ("1", renewed)):
        file.write_text(before := _written(GOLDEN))
        monkeypatch.setenv(goldens.RENEW, renew)
        if expected:
            with pytest.raises(AssertionError, match=expected):
                goldens.check(file, seen)
        else:
            goldens.check(file, seen)

        is_written = bool(renew) and not expected
        assert file.read_text() == (_written(seen) if is_written else before)


def test_a_golden_that_is_missing_fails_until_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "case.txt"
    monkeypatch.delenv(goldens.RENEW, raising=False)
    with pytest.raises(AssertionError, match="missing"):
        goldens.check(file, GOLDEN)
    monkeypatch.setenv(goldens.RENEW, "1")
    goldens.check(file, GOLDEN)

    assert file.read_text() == _written(GOLDEN)


def _written(golden: dict[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in golden.items())
