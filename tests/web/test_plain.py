"""Plain GETs are answered before Flask, and as Flask's way would answer them."""

import gc
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import images
import pytest
from flask import Flask
from flask.testing import FlaskClient
from generated import made_up
from prometheus_samples import parsed, total
from werkzeug.test import TestResponse

from imgprocessor.app import make_web
from imgprocessor.config.settings import HttpSettings, LogSettings, Settings, SigningSettings
from imgprocessor.errors import Overloaded
from imgprocessor.load import load_policy
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.source import Original
from imgprocessor.rendering.job import DirectRenderer
from imgprocessor.rendering.renditions import Renditions
from imgprocessor.request.signing import sign
from imgprocessor.service.delivery import Delivery
from imgprocessor.web import responses
from imgprocessor.web.metrics import METRICS_PATH

KEY = "k" * 32
NASA = "/images/?name=nasa.jpeg&width=100"
REQUESTS = (
    NASA,
    "/images/nasa.jpeg?width=90&format=jpeg",
    "/image/nasa.jpeg?height=50",
    "/media/100/nasa.jpeg",
    "/images/?name=sub%2F%C3%BC%20b.png",
    "/image/sub/%C3%BC%20b.png?ct=5",
    "/images/?name=cut.jpeg&width=80",
)
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"ECT": "3g", "Sec-CH-Viewport-Width": "360", "Accept": "image/webp,*/*"},
    {"image-asked": "name=nasa.jpeg&width=100&x=1", "Save-Data": "on"},
)
ELSEWHERE: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("HEAD", NASA, {}),
    ("GET", NASA, {"If-None-Match": '"x"'}),
    ("GET", NASA, {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}),
    ("GET", NASA, {"Host": "a b"}),
    ("GET", f"{NASA}&download=yes", {}),
    ("GET", "/images/?name=none.jpeg", {}),
    ("GET", "/images/-/health", {}),
    ("GET", "/image/sub%2F%C3%BC%20b.png", {}),
    ("POST", NASA, {}),
)
NO_SOCKETS = {"Connection": "Upgrade", "Upgrade": "websocket"}


class Watched:
    """An application, and how many requests its Flask was asked."""

    def __init__(self, settings: Settings) -> None:
        self.web = make_web(settings)
        self.log = settings.log.file
        self.asked = 0
        self.web.before_request(self._count)
        self.client = self.web.test_client()
        self.behind = make_behind(self.web)

    def _count(self) -> None:
        self.asked += 1

    def entries(self) -> list[dict[str, Any]]:
        """Return what the log has of requests."""
        lines = map(json.loads, self.log.read_text().splitlines())
        return [line for line in lines if "status" in line]


def make_behind(web: Flask) -> FlaskClient:
    """Ask Flask itself, past what stands before it."""
    behind = Flask("behind")
    behind.wsgi_app = web.wsgi_app._web  # type: ignore[method-assign,attr-defined]  # noqa: SLF001
    return behind.test_client()


@pytest.fixture(autouse=True)
def _files(originals: Path) -> None:
    (originals / "sub").mkdir()
    images.save(originals / "sub/ü b.png", images.texture((200, 300)), "PNG")
    whole = (originals / "nasa.jpeg").read_bytes()
    (originals / "cut.jpeg").write_bytes(whole[: len(whole) // 2])


@pytest.fixture
def watched(settings: Settings) -> Watched:
    return Watched(replace(settings, http=HttpSettings(allow_origin="https://a.example")))


def told(answer: TestResponse) -> tuple[int, dict[str, str], bytes]:
    headers = dict(answer.headers)
    assert len(headers) == len(answer.headers)
    timing = headers.pop("Server-Timing", "")
    return answer.status_code, {**headers, "parts": re.sub(r"[\d.]+", "", timing)}, answer.data


def lasting(entry: Mapping[str, Any]) -> list[tuple[str, Any]]:
    passing = {"time", "trace_id", "total_ms", "ms"}
    return [(key, value) for key, value in entry.items() if key not in passing]


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("target", REQUESTS)
def test_a_repeat_is_answered_as_by_flask(
    watched: Watched, target: str, headers: dict[str, str]
) -> None:
    assert watched.client.get(target, headers=headers).status_code == 200
    behind = watched.behind.get(target, headers=headers)
    asked = watched.asked
    before = watched.client.get(target, headers=headers)

    assert watched.asked == asked == 1
    assert told(before) == told(behind)
    _, by_flask, without = watched.entries()
    assert lasting(without) == lasting(by_flask)
    assert list(without) == list(by_flask)
    assert list(without["ms"]) == list(by_flask["ms"]) == ["find", "store"]
    assert re.fullmatch("[0-9a-f]{32}", without["trace_id"])


@pytest.mark.parametrize("target", REQUESTS)
def test_what_is_made_is_answered_as_by_flask(
    settings: Settings, tmp_path: Path, target: str
) -> None:
    """Each of two applications with nothing kept makes it."""
    other = replace(settings.disk_cache, folder=tmp_path / "other")
    plain = Watched(settings)
    by_flask = Watched(replace(settings, disk_cache=other, log=LogSettings(tmp_path / "other.log")))

    assert told(plain.client.get(target)) == told(by_flask.behind.get(target))
    assert (plain.asked, by_flask.asked) == (0, 1)
    (without,), (with_flask,) = plain.entries(), by_flask.entries()
    assert lasting(without) == lasting(with_flask)
    assert without["source"] == "original"
    assert list(without["ms"]) == list(with_flask["ms"])


def test_what_fails_is_told_once_and_shown_by_flask(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed: list[bool] = []
    render = DirectRenderer.render

    def fail(*arguments: Any) -> Any:
        if not failed:
            failed.append(True)
            raise ZeroDivisionError
        return render(*arguments)

    monkeypatch.setattr(DirectRenderer, "render", fail)
    answer = watched.client.get(NASA)

    assert (answer.status_code, answer.headers["image-error"]) == (500, "internal")
    assert watched.asked == 1
    (entry,) = watched.entries()
    assert entry["error"] == "internal"
    assert capsys.readouterr().err.count("Traceback") == 1


def refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """An application that has no place for jobs any more, and something kept."""
    watched = Watched(settings)
    assert watched.client.get(f"{NASA}&bandwidth=2g").status_code == 200
    assert watched.client.get("/images/?name=none.jpeg").status_code == 404  # makes the placeholder

    def refuse(*_: object) -> None:
        raise Overloaded("all 3 places are taken")

    monkeypatch.setattr(DirectRenderer, "require_place", refuse)
    monkeypatch.setattr(responses, "_MAX_RETRY_SECONDS", 1)
    return watched


def test_a_refusal_is_as_by_flask(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = refused(
        replace(settings, http=HttpSettings(allow_origin="https://a.example")), monkeypatch
    )
    asked = watched.asked
    answer = watched.client.get(NASA)

    assert watched.asked == asked
    assert (answer.status_code, answer.headers["image-error"]) == (503, "overloaded")
    assert told(answer) == told(watched.behind.get(NASA))
    without, by_flask = watched.entries()[-2:]
    assert lasting(without) == lasting(by_flask)
    assert without["detail"] == "all 3 places are taken"


@pytest.mark.parametrize(
    "accept", ["application/json", "image/avif, application/problem+json;q=0.1"]
)
def test_a_refusal_in_words_is_flasks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    watched = refused(settings, monkeypatch)
    asked = watched.asked
    answer = watched.client.get(NASA, headers={"Accept": accept})

    assert watched.asked == asked + 1
    assert told(answer) == told(watched.behind.get(NASA, headers={"Accept": accept}))


def test_where_something_cheaper_is_kept_flask_sends_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheaper = replace(settings.rendering, cheaper_when_overloaded=True)
    watched = refused(replace(settings, rendering=cheaper), monkeypatch)
    answer = watched.client.get(f"{NASA}&bandwidth=4g")

    assert answer.status_code == 200
    assert "cheaper=overloaded" in answer.headers["image-decision"]


@pytest.mark.parametrize(("method", "target", "headers"), ELSEWHERE)
def test_all_else_is_flasks(
    watched: Watched, method: str, target: str, headers: dict[str, str]
) -> None:
    watched.client.get(NASA)
    watched.client.get(f"{NASA}&download=yes")
    asked = watched.asked

    answer = watched.client.open(target, method=method, headers=headers)

    assert watched.asked == asked + 1
    assert told(answer) == told(watched.behind.open(target, method=method, headers=headers))


@pytest.mark.parametrize(
    ("target", "status"),
    [(NASA, 200), (f"{NASA}&download=yes", 200), ("/images/?name=none.jpeg", 404), ("/none", 404)],
)
def test_no_websocket_is_to_be_had(watched: Watched, target: str, status: int) -> None:
    assert watched.client.get(target, headers=NO_SOCKETS).status_code == status


def test_made_up_requests_are_answered_as_by_flask(watched: Watched, settings: Settings) -> None:
    statuses = set()
    for query_string, headers in made_up(load_policy(settings), 4096, 300):
        target = f"/images/?{query_string}"
        behind = told(watched.behind.get(target, headers=headers))
        again = told(watched.client.get(target, headers=headers))
        if behind[0] == 200:
            behind = told(watched.behind.get(target, headers=headers))
        assert again == behind, (target, headers)
        statuses.add(again[0])
    assert statuses >= {200, 400, 404}


@pytest.fixture
def looked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were looked for."""
    found: list[str] = []
    find = Folder.find

    def followed(folder: Folder, name: str) -> Original:
        found.append(name)
        return find(folder, name)

    monkeypatch.setattr(Folder, "find", followed)
    return found


def test_an_original_is_looked_for_once(watched: Watched, looked_for: list[str]) -> None:
    for _ in range(2):
        assert watched.client.get(NASA).status_code == 200

    assert watched.client.get(f"{NASA}&download=yes").status_code == 200
    assert looked_for == ["nasa.jpeg"] * 3
    assert watched.asked == 1


def test_what_is_not_there_is_looked_for_once(watched: Watched, looked_for: list[str]) -> None:
    assert watched.client.get("/images/?name=none.jpeg").status_code == 404
    assert looked_for.count("none.jpeg") == 1


def test_a_refusal_leaves_nothing_to_be_collected(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where refusals come in floods, what they leave must go at once."""
    watched = refused(settings, monkeypatch)
    watched.client.get(NASA)
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            watched.client.get(NASA)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [one for one in gc.garbage if isinstance(one, Overloaded)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert left == []


@pytest.mark.parametrize(("expires", "asked"), [(4_000_000_000, 0), (1, 1)])
def test_a_signed_link_is_checked(
    settings: Settings, tmp_path: Path, expires: int, asked: int
) -> None:
    (tmp_path / "keys").write_text(f"{KEY}\n")
    (tmp_path / "keys").chmod(0o600)
    watched = Watched(replace(settings, signing=SigningSettings(keys_file=tmp_path / "keys")))
    with_pixels = watched.client.get(sign(NASA, KEY))
    target = sign(NASA, KEY, expires)
    answer = watched.client.get(target)

    assert with_pixels.status_code == 200
    assert watched.asked == asked
    assert told(answer) == told(watched.behind.get(target))
    assert watched.client.get(NASA).status_code == 403


def test_what_is_purged_meanwhile_is_flasks(
    watched: Watched, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watched.client.get(NASA).status_code == 200
    kept = Renditions.get
    purged: list[int] = []

    def purge_after(*arguments: Any) -> Any:
        rendition = kept(*arguments)
        if not purged:
            purged.append(delivery.purge("nasa.jpeg"))
        return rendition

    monkeypatch.setattr(Renditions, "get", purge_after)
    assert watched.client.get(NASA).status_code == 200

    assert purged in ([1], [2])  # that it was made may not have been noted yet
    assert watched.asked == 1
    assert [entry["source"] for entry in watched.entries()] == ["original"] * 2


def test_what_is_sent_is_counted(watched: Watched) -> None:
    for client in (watched.client, watched.client, watched.behind):
        client.get(NASA)
    text = watched.client.get(METRICS_PATH).get_data(as_text=True)

    samples = parsed(text)
    bytes_sent = sum(entry["bytes"] for entry in watched.entries())
    assert total(samples, "imgprocessor_requests_total", status="200") == 3
    assert total(samples, "imgprocessor_response_body_bytes_total") == bytes_sent
    assert total(samples, "imgprocessor_store_hits_total", store="renditions") == 2
    assert total(samples, "imgprocessor_request_seconds_count", source="store") == 2
