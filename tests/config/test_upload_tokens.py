"""The file of tokens that may upload: strict, closed, and never repeated in a message."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.config.upload_tokens import (
    UPLOAD_RIGHTS,
    UploadToken,
    describe_token,
    token_hash,
    upload_tokens,
)
from imgprocessor.errors import ConfigurationError

PRIVATE = "QW5k-c2hvdWxk_bmV2ZXIgYmUgc2hvd24gdG8gYW55Ym9keQ"
HASH = token_hash(PRIVATE)
OTHER_HASH = token_hash("other")


@pytest.fixture
def settings(tmp_path: Path) -> UploadsSettings:
    return UploadsSettings(tokens_file=tmp_path / "tokens")


def _read(settings: UploadsSettings, text: str, mode: int = 0o640) -> tuple[UploadToken, ...]:
    file = settings.tokens_file
    assert file is not None
    file.write_text(text)
    file.chmod(mode)
    return upload_tokens(settings)


def _refused(settings: UploadsSettings, text: str, mode: int = 0o640) -> str:
    with pytest.raises(ConfigurationError) as refused:
        _read(settings, text, mode)
    message = str(refused.value)
    assert PRIVATE.lower() not in message.lower()
    assert "\n" not in message
    assert str(settings.tokens_file) in message
    return message


def test_without_a_file_there_are_none() -> None:
    assert upload_tokens(UploadsSettings()) == ()


def test_tokens_are_read_in_their_order(settings: UploadsSettings) -> None:
    text = (
        f"; the shop\n[shop-1]\nsha256 = {HASH}\nmay = upload  sizes\nmax_bytes_an_hour = 7\n"
        f"max_requests_an_hour = 8\n\n[b]\nsha256={OTHER_HASH}\nmay=delete\n"
    )

    assert _read(settings, text) == (
        UploadToken("shop-1", HASH, frozenset({"upload", "sizes"}), 7, 8),
        UploadToken("b", OTHER_HASH, frozenset({"delete"}), 2_000_000_000, 10_000),
    )


@given(
    name=st.from_regex("[a-z0-9-]{1,40}", fullmatch=True).filter("loopback".__ne__),
    may=st.sets(st.sampled_from(UPLOAD_RIGHTS), min_size=1),
    amounts=st.tuples(st.integers(1, 10**15 - 1), st.integers(1, 10**15 - 1)),
)
def test_what_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    may: set[str],
    amounts: tuple[int, int],
) -> None:
    token = UploadToken(name, HASH, frozenset(may), *amounts)  # type: ignore[arg-type]
    settings = UploadsSettings(tokens_file=tmp_path_factory.mktemp("tokens") / "tokens")

    assert _read(settings, describe_token(token)) == (token,)


GOOD = f"sha256 = {HASH}\nmay = upload\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no token: put a section there, as `imgprocessor uploads token NAME` prints it"),
        ("; nothing\n", "has no token"),
        (PRIVATE, "line 1: a line before the first [section]"),
        (f"[a]\n{PRIVATE}\n", "line 2: it is not of the form 'key = value'"),
        (f"[{PRIVATE}]\n{GOOD}", "the name of section 1 must have 1 to 40 of a-z, 0-9 and -"),
        (f"[A]\n{GOOD}", "the name of section 1 must have"),
        (f"[a b]\n{GOOD}", "the name of section 1 must have"),
        (f"[{'a' * 41}]\n{GOOD}", "the name of section 1 must have"),
        (f"[a]\n{GOOD}[\u0663]\n{GOOD}", "the name of section 2 must have"),
        (f"[../a]\n{GOOD}", "the name of section 1 must have"),
        (f"[loopback]\n{GOOD}", "the name of section 1 must have"),
        (f"[a]\n{GOOD}[a]\n{GOOD}", "[a]: section given twice"),
        (f"[a]\n{GOOD}[b]\n{GOOD}", "[b] sha256: is that of [a]"),
        (f"[a]\n{GOOD}{GOOD}", "[a] sha256: given twice"),
        ("[a]\nmay = upload\n", "[a] sha256: must be given"),
        (f"[a]\nsha256 = {HASH}\n", "[a] may: must be given"),
        (f"[a]\nsha256 = {PRIVATE}\nmay = upload\n", "[a] sha256: must be 64 hexadecimal digits"),
        (f"[a]\nsha256 = {HASH.upper()}\nmay = upload\n", "[a] sha256: must be 64 hexadecimal"),
        (f"[a]\nsha256 = {HASH[1:]}\nmay = upload\n", "[a] sha256: must be 64 hexadecimal"),
        (f"[a]\nsha256 = {HASH}\nmay =\n", "[a] may: must be one or more of upload sizes delete"),
        (f"[a]\nsha256 = {HASH}\nmay = all\n", "[a] may: must be one or more of"),
        (f"[a]\nsha256 = {HASH}\nmay = upload, sizes\n", "[a] may: must be one or more of"),
        (f"[a]\nsha256 = {HASH}\nmay = upload upload\n", "[a] may: must be one or more of"),
        (f"[a]\n{GOOD} {PRIVATE}\n", "[a] may: must be one or more of"),
        (f"[a]\n{GOOD}max_bytes_an_hour = 0\n", "[a] max_bytes_an_hour: must be greater than 0"),
        (f"[a]\n{GOOD}max_bytes_an_hour = 1e9\n", "[a] max_bytes_an_hour: must be a whole number"),
        (f"[a]\n{GOOD}max_requests_an_hour = -1\n", "[a] max_requests_an_hour: must be a whole"),
        (f"[a]\n{GOOD}{PRIVATE} = 1\n", "[a]: has an option that is not known; there are sha256,"),
        (f"[a]\n{GOOD}\0", "must have no control characters"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(settings: UploadsSettings, text: str, said: str) -> None:
    assert said in _refused(settings, text)


def test_a_file_that_is_open_is_refused(settings: UploadsSettings) -> None:
    for mode in (0o644, 0o641, 0o602):
        assert "is open to everybody: chmod o= " in _refused(settings, f"[a]\n{GOOD}", mode)


def test_a_file_that_is_not_there_is_refused(settings: UploadsSettings) -> None:
    with pytest.raises(ConfigurationError, match=r"tokens_file.*No such file.*uploads token NAME"):
        upload_tokens(settings)
