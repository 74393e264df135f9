"""What most tests need: a folder of originals, a service over it, and a web client."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import hypothesis
import images
import pytest
from flask.testing import FlaskClient

from imgprocessor import reporting
from imgprocessor.app import make_web
from imgprocessor.config.settings import LogSettings, OriginalsSettings, Settings
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.parts import make_delivery
from imgprocessor.policy.parse import parse_policy
from imgprocessor.policy.table import Policy
from imgprocessor.service.delivery import Delivery, Found
from imgprocessor.service.understanding import Incoming

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("imgprocessor", deadline=None)
hypothesis.settings.load_profile("imgprocessor")

pytest_plugins = ["measures", "slow_network", "visitors", "weed_places", "scripted_s3"]

ROOT = Path(__file__).resolve().parent.parent

CORPUS = Path(os.environ.get("IMGPROCESSOR_CORPUS", ROOT.parent / "shared" / "corpus"))
"""Third-party pictures, good and malformed. Not part of the project; tests that use them are
skipped where they are not there."""

WALLPAPERS = Path("/usr/share/backgrounds")
"""Photographs of Debian's lomiri-wallpapers-16.04 and -20.04, which ./run test installs."""

EXAMPLES = int(os.environ.get("IMGPROCESSOR_FUZZ_EXAMPLES", "60"))
"""Of each kind of made-up request and configuration; `./run fuzz` sets more."""

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no pictures in {CORPUS}")


@pytest.fixture(autouse=True)
def _complaints() -> None:
    """Each test may complain of the same."""
    reporting._ONCE.forget()  # noqa: SLF001 - of a process


@pytest.fixture(scope="session")
def policy() -> Policy:
    """The policy that is delivered."""
    return parse_policy((ROOT / "conf/policy.ini").read_text(), "conf/policy.ini")


@pytest.fixture(scope="session")
def classic() -> Policy:
    """The ancestor's figures."""
    return parse_policy((ROOT / "conf/classic.ini").read_text(), "conf/classic.ini")


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    """A folder with one good picture in it."""
    folder = tmp_path / "originals"
    folder.mkdir()
    images.save(folder / "nasa.jpeg", images.texture((1534, 1022)), "JPEG", quality=92)
    return folder


@pytest.fixture
def settings(originals: Path, tmp_path: Path) -> Settings:
    """The settings that are delivered, but for the folder of originals and the log; what is kept
    does not depend on how full the disk of this machine is.
    """
    delivered = load_settings(DEFAULT_CONF, Overrides(originals=originals))
    return replace(
        delivered,
        log=LogSettings(tmp_path / "requests.log"),
        disk_cache=replace(delivered.disk_cache, folder=tmp_path / "cache", min_free_percent=0),
        remote=replace(delivered.remote, folder=tmp_path / "remote"),
    )


@pytest.fixture
def delivery(settings: Settings) -> Delivery:
    """The core, without the web."""
    return make_delivery(settings, keeps=True)


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    """A client of the whole application, in this process."""
    return make_web(settings).test_client()


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A JPEG of 600 x 400 pixels."""
    file = tmp_path_factory.mktemp("photograph") / "a.jpg"
    images.save(file, images.texture((600, 400)), "JPEG", quality=90)
    return file.read_bytes()


@pytest.fixture
def limits() -> OriginalsSettings:
    """The limits that are delivered."""
    return OriginalsSettings()


def find(
    delivery: Delivery, query_string: str | Incoming, headers: Mapping[str, str] = {}
) -> Found:
    """Find what a request asks for, without its pixels."""
    if isinstance(query_string, str):
        query_string = Incoming(query_string, headers)
    return delivery.find(delivery.understand(query_string))


LONGEST = [
    "web/test_apache.py", "web/test_bodies.py", "edge/test_edge_signing.py",
    "rendering/test_pool.py",
    "edge/test_varnishtest.py", "images/test_hostile.py", "rendering/test_masters.py",
    "edge/test_writers.py", "cli/test_reload.py", "originals/test_fetch.py",
    "images/test_compress.py", "storage/test_disk_cache.py", "edge/test_apache_cache.py",
    "edge/test_cluster.py", "service/test_purge.py", "storage/test_failing_disk.py",
    "edge/test_every_script.py", "web/test_chromium.py", "web/test_hardening.py",
    "web/test_metrics_apache.py", "web/test_slow_network.py", "cli/test_policy_commands.py",
    "edge/test_spelling.py", "images/test_fuzz_load.py", "images/test_clean.py",
]  # fmt: skip
"""Files that take longest, to begin with: none of them is to run alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the longest files first, all others in their order."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
