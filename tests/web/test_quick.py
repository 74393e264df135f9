"""Over HTTP: what a quick answer says of itself, and how the best takes its place."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_samples import parsed, total
from servers import await_true
from werkzeug.test import TestResponse

from imgprocessor import app
from imgprocessor.app import make_web
from imgprocessor.config.settings import Settings, SigningSettings
from imgprocessor.request.signing import sign
from imgprocessor.service import later
from imgprocessor.service.later import InProcess
from imgprocessor.web.metrics import METRICS_PATH

PICTURE = "name=nasa.jpeg&width=300&bandwidth=4g&dpr=1"
URL = f"/images/?{PICTURE}"
AVIF = {"Accept": "image/avif,image/webp,*/*"}
QUICK = "public, max-age=30, s-maxage=30, stale-while-revalidate=30, stale-if-error=604800"
FULL = "public, max-age=86400, s-maxage=600, stale-while-revalidate=3600, stale-if-error=604800"
KEY = "k" * 32


@dataclass
class Site:
    """The application, in which work behind answers is done when the test says so."""

    client: FlaskClient
    gates: list[list[bool]]

    def get(self, method: str = "GET", **headers: str) -> TestResponse:
        """Ask for the picture."""
        sent = AVIF | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.open(URL, method=method, headers=sent)

    def work(self) -> TestResponse:
        """Let the best be made; return the first answer that has it."""
        for gate in self.gates:
            gate.append(True)
        while "effort=quick" in (answer := self.get()).headers["image-decision"]:
            pass
        return answer


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[bool]]]:
    """What keeps each `InProcess` from its work, until something is put in."""
    gates: list[list[bool]] = []

    def gated(work: Any, *, may_begin: Any, locks: Any) -> InProcess[Any]:
        gate = list[bool]()
        gates.append(gate)
        return InProcess(work, may_begin=lambda: bool(gate) and may_begin(), locks=locks)

    monkeypatch.setattr(app, "InProcess", gated)
    yield gates
    for gate in gates:
        gate.append(True)  # nothing ends such a thread: it is to have nothing to do


@pytest.fixture
def site(settings: Settings, gates: list[list[bool]]) -> Site:
    return Site(make_web(settings).test_client(), gates)


def test_a_quick_answer_says_so_and_is_soon_asked_for_again(site: Site) -> None:
    quick, best = site.get(), site.work()

    assert quick.headers["image-decision"].endswith("format=jpeg; quality=78; effort=quick")
    assert best.headers["image-decision"].endswith("format=avif; quality=78")
    assert quick.headers["Cache-Control"] == QUICK
    assert best.headers["Cache-Control"] == FULL
    assert quick.headers["imagekey"] == best.headers["imagekey"]
    assert quick.headers["Vary"] == best.headers["Vary"]
    assert quick.headers["xkey"] == best.headers["xkey"]
    assert quick.headers["ETag"] == best.headers["ETag"].removesuffix('"') + '-quick"'
    assert len(best.data) < len(quick.data)
    # The best has the same date, by which no client may take its quick one for that.
    assert "Last-Modified" not in quick.headers
    assert "Last-Modified" in best.headers


def test_who_has_the_quick_one_gets_the_best_once_it_is_there(site: Site) -> None:
    quick = site.get()
    tag = quick.headers["ETag"]
    still = site.get(If_None_Match=tag)
    best = site.work()
    after = site.get(If_None_Match=tag)
    again = site.get(If_None_Match=best.headers["ETag"])

    assert (still.status_code, still.data) == (304, b"")
    for name in ("ETag", "Cache-Control", "imagekey", "Vary"):
        assert still.headers[name] == quick.headers[name]
    assert (after.status_code, after.data) == (200, best.data)
    assert after.headers["ETag"] == best.headers["ETag"]
    assert again.status_code == 304
    assert again.headers["Cache-Control"] == FULL


def test_a_weak_comparison_is_enough(site: Site) -> None:
    """Caches make a validator weak where they compress, and others leave the mark out."""
    tag = site.get().headers["ETag"].removeprefix("W/")

    for sent in (tag, f"W/{tag}", f'"other", {tag}'):
        assert site.get(If_None_Match=sent).status_code == 304
    assert site.get(If_None_Match='"other"').status_code == 200


def counted(client: FlaskClient, outcome: str) -> float:
    samples = parsed(client.get(METRICS_PATH).get_data(as_text=True))
    return total(samples, "imgprocessor_best_total", outcome=outcome)


def test_what_came_of_the_best_is_counted(
    settings: Settings, gates: list[list[bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(later, "_MAX_WAITING", 1)
    site = Site(make_web(settings).test_client(), gates)
    site.get()
    for width in (301, 302, 303):  # one is waited with, another waits
        site.client.get(URL.replace("300", str(width)), headers=AVIF)
    dropped = counted(site.client, "dropped")
    for gate in gates:  # not `work`: whoever asks meanwhile has more made
        gate.append(True)

    assert 1 <= dropped <= 2
    await_true(lambda: counted(site.client, "made") == 4 - dropped)
    assert counted(site.client, "dropped") == dropped


def test_head_tells_the_same_as_get_of_what_is_kept(site: Site) -> None:
    for get in (site.get, site.work):
        got, head = get(), site.get("HEAD")
        told = {name: value for name, value in got.headers.items() if name != "Server-Timing"}
        assert {name: head.headers.get(name) for name in told} == told
        assert head.data == b""


def test_a_head_makes_nothing_be_made(site: Site) -> None:
    site.get("HEAD")

    assert site.get().headers["ETag"].endswith('-quick"')


@pytest.mark.parametrize(
    ("freshness", "rest", "expected"),
    [
        ({"quick_max_age_seconds": 5}, "", "public, max-age=5, s-maxage=5,"),
        ({"quick_max_age_seconds": 0}, "", "public, max-age=0, s-maxage=0,"),
        ({"shared_max_age_seconds": 7}, "", "public, max-age=30, s-maxage=7,"),
        ({"quick_max_age_seconds": 9999}, "", "public, max-age=9999, s-maxage=600,"),
        ({}, "&ct=4", "public, max-age=4, s-maxage=30,"),
        (
            {"stale_while_revalidate_seconds": 0, "stale_if_error_seconds": 0},
            "",
            "public, max-age=30, s-maxage=30, must-revalidate",
        ),
    ],
)
def test_how_long_it_is_kept(
    settings: Settings,
    gates: list[list[bool]],
    freshness: dict[str, Any],
    rest: str,
    expected: str,
) -> None:
    changed = replace(settings, freshness=replace(settings.freshness, **freshness))
    client = make_web(changed).test_client()

    assert client.get(URL + rest, headers=AVIF).headers["Cache-Control"].startswith(expected)
    assert len(gates) == 1


def test_no_quick_copy_outlives_its_link(
    settings: Settings, gates: list[list[bool]], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    keys.chmod(0o600)
    client = make_web(replace(settings, signing=SigningSettings(keys))).test_client()
    monkeypatch.setattr("time.time", lambda: 1000.0)

    link = sign(f"{PICTURE}&format=avif", KEY, 1020)
    answer = client.get(f"/images/?{link}")

    assert answer.headers["Cache-Control"] == "public, max-age=10, s-maxage=10, must-revalidate"
    assert "effort=quick" in answer.headers["image-decision"]
    assert gates


def test_the_log_says_which_are_quick(site: Site, settings: Settings) -> None:
    site.get()
    site.work()
    lines = settings.log.file.read_text().splitlines()

    assert '"effort":"quick"' in lines[1]
    assert '"effort"' not in lines[-1]
