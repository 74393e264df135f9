"""The page of `./run bench --gallery`: what it offers whom, and what is said of the network."""

import re
from pathlib import Path
from typing import Any

import edge_visitors
import images
import pytest
from bench_gallery import (
    LADDER,
    MEASURES,
    NETWORKS,
    PEERS_QUALITY,
    PHONE,
    AtPeersQuality,
    Delivered,
    Gallery,
    ways,
)
from peers import SYSTEMS
from results import OURS, STATIC_WEBP
from scores import PHONE_PIXELS
from servers import open_up

from imgprocessor.load import DEFAULT_CONF, Overrides, load_policy, load_settings
from imgprocessor.policy.negotiation import negotiate
from imgprocessor.request.hints import read_hints
from imgprocessor.request.query import parse_query


@pytest.fixture
def attributes(tmp_path: Path) -> dict[str, str]:
    """Return the attributes of a picture, by whose page it is on."""
    found = ways([system(tmp_path) for system in SYSTEMS], tmp_path)
    return {way.name: way.attributes("a.jpg") for way in found}


def test_ours_is_asked_for_in_two_ways_and_who_cannot_choose_formats_not_at_all(
    attributes: dict[str, str],
) -> None:
    same = f"{OURS}, q{PEERS_QUALITY}"

    assert list(attributes) == [OURS, same, "imgproxy", "thumbor", "ipx", STATIC_WEBP]
    assert attributes[OURS] == attributes[same] == 'src="/images/?name=a.jpg"'


def test_at_the_peers_quality_all_networks_get_the_same(tmp_path: Path) -> None:
    (tmp_path / "policy.ini").write_text(AtPeersQuality(tmp_path).policy())
    settings = load_settings(DEFAULT_CONF, Overrides(policy=tmp_path / "policy.ini"))
    cells = {str(cell) for (row, _), cell in load_policy(settings).cells.items() if row != "sized"}

    assert cells == {f"{PHONE_PIXELS}px q{PEERS_QUALITY}"}


@pytest.mark.parametrize("name", ["imgproxy", "thumbor", "ipx", STATIC_WEBP])
def test_peers_offer_a_ladder_with_the_phones_own_width(
    attributes: dict[str, str], name: str
) -> None:
    (offered,) = re.findall(r' srcset="([^"]+)" sizes="100vw"', attributes[name])
    candidates = [candidate.split(" ") for candidate in offered.split(", ")]

    assert [descriptor for _, descriptor in candidates] == [f"{width}w" for width in LADDER]
    assert [str(width) in url for width, (url, _) in zip(LADDER, candidates, strict=True)] == (
        [True] * len(LADDER)
    )
    assert PHONE_PIXELS == round(PHONE.css_pixels * PHONE.dpr)
    assert PHONE_PIXELS in LADDER


@pytest.mark.parametrize(
    ("network", "bandwidth"), [("slow 3G", "slow-3g"), ("3G", "3g"), ("4G", "slow-4g")]
)
def test_a_browser_that_has_measured_the_network_gets_its_class(
    tmp_path: Path, network: str, bandwidth: str
) -> None:
    (tmp_path / "policy.ini").write_text(Delivered(tmp_path).policy())
    overrides = Overrides(policy=tmp_path / "policy.ini")
    policy = load_policy(load_settings(DEFAULT_CONF, overrides))
    link = NETWORKS[network]
    hints = dict(edge_visitors.Network(link.rtt_ms, link.downlink_mbps).hints())
    hints |= {"Sec-CH-UA-Mobile": "?1", "Sec-CH-Viewport-Width": "980"}

    decision = negotiate(
        parse_query("name=a.jpg", 4096),
        read_hints({name.lower(): text for name, text in hints.items()}),
        policy,
    )

    assert decision.bandwidth == bandwidth
    assert decision.screen == "phone"


def test_each_network_has_originals_of_its_own_and_drawings_are_no_photographs(
    tmp_path: Path,
) -> None:
    names = ["analogpattern_by_A.jpg", *(f"{number}.jpg" for number in range(13))]
    for seed, name in enumerate(names):
        images.save(tmp_path / name, images.texture((LADDER[-1], 20), seed), "JPEG")
    (tmp_path / "run").mkdir()

    Gallery([], [tmp_path / name for name in names], ["3G", "4G"], tmp_path / "run")

    originals = sorted(path.name for path in (tmp_path / "run" / "originals").iterdir())
    assert originals == sorted(
        ["warm.jpg", *(f"{network}-{index}.jpg" for network in ("3G", "4G") for index in range(12))]
    )
    bodies = {(tmp_path / "run" / "originals" / name).read_bytes() for name in originals}
    assert bodies == {(tmp_path / name).read_bytes() for name in names[1:13]}
    static = {path.name for path in (tmp_path / "run" / "static").iterdir()}
    assert static == {f"{name}-{width}.webp" for name in originals for width in LADDER}


@pytest.mark.caches
@pytest.mark.chromium
def test_a_visit_has_all_figures_and_what_was_sent(tmp_path: Path) -> None:
    for index in range(12):
        images.save(tmp_path / f"{index}.jpg", images.texture((LADDER[-1], 30), index), "JPEG")
    (tmp_path / "run").mkdir()
    open_up(tmp_path / "run")
    photographs = [tmp_path / f"{index}.jpg" for index in range(12)]
    (static,) = ways([], tmp_path)
    gallery = Gallery([static], photographs, ["4G"], tmp_path / "run")

    gallery.measure_round(lambda _: None)

    assert gallery.notes == []
    files = [
        (tmp_path / "run" / "static" / f"4G-{index}.jpg-{PHONE_PIXELS}.webp").read_bytes()
        for index in range(12)
    ]
    (outcome,) = [one[STATIC_WEBP] for one in gallery.rounds]
    for visit in ("cold", "warm"):
        times = [outcome[f"4G_{visit}_{which}"] for which in ("first", "sixth", "all")]
        assert times == sorted(times)
        sent = [one for one in gallery.samples if one.measure == f"4G_{visit}"]
        assert [one.photograph for one in sent] == photographs
        assert [one.body for one in sent] == files
        assert outcome[f"4G_{visit}_kilobytes"] == sum(len(one.body) for one in sent) / 1000


def test_every_figure_of_a_visit_has_a_row() -> None:
    keys: Any = {measure.key for measure in MEASURES}

    assert len(keys) == len(MEASURES) == 30
    assert {"slow 3G_cold_first", "3G_warm_sixth", "4G_cold_all", "4G_warm_seen"} < keys
