"""What is done once: a request is parsed once, whatever becomes of it; the policy is read once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from flask.testing import FlaskClient

from imgprocessor import load
from imgprocessor.app import make_web
from imgprocessor.config.settings import Settings, SigningSettings
from imgprocessor.request import query
from imgprocessor.request.signing import sign

KEY = "k" * 32


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The query strings that were parsed."""
    parsed: list[str] = []
    split = query._split  # noqa: SLF001 - what every parse goes through

    def told(query_string: str) -> Any:
        parsed.append(query_string)
        return split(query_string)

    monkeypatch.setattr(query, "_split", told)
    return parsed


@pytest.mark.parametrize(
    ("query_string", "status"),
    [
        ("name=nasa.jpeg&width=100", 200),
        ("name=none.jpeg&width=100", 404),
        ("name=nasa.jpeg&width=x", 400),
        ("name=nasa.jpeg&format=jxl", 400),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"If-None-Match": '"x"'}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_request_is_parsed_once(
    client: FlaskClient,
    parsed: list[str],
    query_string: str,
    status: int,
    headers: dict[str, str],
    method: str,
) -> None:
    answer = client.open(f"/images/?{query_string}", method=method, headers=headers)

    assert answer.status_code == status
    assert parsed == [query_string]


@pytest.mark.parametrize("status", [200, 403])
def test_a_link_is_parsed_once(
    settings: Settings, tmp_path: Path, parsed: list[str], status: int
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    keys.chmod(0o600)
    client = make_web(replace(settings, signing=SigningSettings(keys))).test_client()
    query_string = "name=nasa.jpeg&width=100"
    link = sign(query_string, KEY) if status == 200 else query_string
    parsed.clear()

    answer = client.get(f"/images/?{link}")

    assert answer.status_code == status
    assert parsed == [link]


def test_the_policy_is_read_once_a_process(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def told(file: Path) -> str:
        read.append(file)
        return file.read_text()

    monkeypatch.setattr(load, "read_text", told)
    make_web(settings)

    assert read == [ROOT / "conf/policy.ini"]
