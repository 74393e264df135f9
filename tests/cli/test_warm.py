"""`imgprocessor warm`: what visitors will ask for is there already, made here or by workers."""

import subprocess
import sys
from pathlib import Path

import images
import pytest
import redises
from conftest import ROOT, find
from servers import await_true
from weeds import needs_weed

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.load import load_policy, load_settings
from imgprocessor.parts import make_delivery
from imgprocessor.policy.warming import warming_queries
from imgprocessor.service.understanding import Incoming
from imgprocessor.storage.shared.bucket import Bucket

CHROMIUM = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
PLAIN = "image/jpeg,image/png"

pytestmark = pytest.mark.slow


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Settings, and originals in a folder and one in it."""
    for name in ("a.jpg", "inner/b c.png", "inner/.hidden.jpg"):
        path = tmp_path / "originals" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.save(path, images.texture((640, 480)), "PNG" if name.endswith("png") else "JPEG")
    (tmp_path / "originals" / "text.txt").write_text("no picture")
    conf = tmp_path / "imgprocessor.ini"
    conf.write_text(
        f"[originals]\nroots = originals\n[policy]\nfile = {ROOT}/conf/policy.ini\n"
        f"[placeholder]\nfile = {ROOT}/static/404image.png\n"
        "[disk_cache]\nfolder = cache\nmin_free_percent = 0\n"
    )
    return conf


def warm(conf: Path, *words: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imgprocessor", "warm", "--conf", str(conf), *words],
        cwd=ROOT,
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        input=lines,
    )


@pytest.mark.parametrize("accept", [CHROMIUM, PLAIN])
def test_visitors_find_what_was_warmed(conf: Path, accept: str) -> None:
    done = warm(conf, str(conf.parent / "originals"), "--screen", "phone", "--bandwidth", "3g")
    delivery = make_delivery(load_settings(conf), keeps=True)
    headers = {"accept": accept, "ect": "3g", "sec-ch-viewport-width": "360"}

    for name in ("a.jpg", "inner/b%20c.png"):
        assert delivery.kept(find(delivery, Incoming(f"name={name}", headers))) is not None
    desktop = headers | {"sec-ch-viewport-width": "1440"}
    assert delivery.kept(find(delivery, Incoming("name=a.jpg", desktop))) is None
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "4 of 4 renditions of 2 originals made\n"


def test_each_cell_is_asked_for_twice() -> None:
    """By those who take what the policy offers, and those who take JPEG and PNG alone."""
    policy = load_policy(load_settings(ROOT / "conf" / "imgprocessor.ini"))
    rows = [screen.name for screen in policy.screens]
    columns = [bandwidth.name for bandwidth in policy.bandwidths]
    queries = list(warming_queries(policy, "a.jpg", rows, columns))

    assert len(set(queries)) == len(queries) == 2 * len(rows) * len(columns)


@pytest.mark.parametrize(
    ("words", "lines", "wrong"),
    [
        (["/etc"], "", "/etc: must be {root}, or a folder in it"),
        (["nowhere"], "", "nowhere: No such file or directory"),
        (["-"], "\n", "-: there are no pictures in it"),
        (["-", "--screen", "watch"], "a.jpg", "--screen watch: must be one of phone, "),
        (["-", "--bandwidth", "9g"], "a.jpg", "--bandwidth 9g: must be one of "),
        (["-", "--jobs"], "a.jpg", "[jobs] enabled must be yes, and redis say where jobs are"),
        (["-"], "none.jpg", "name=none.jpg&bandwidth=slow-3g&screen=phone&formats=avif+webp+gif"),
        (["-"], "../a.jpg", "'../a.jpg': no original may be called so"),
        (["-"], "a\udcff.jpg", ""),  # as the machine's locale has it
    ],
)
def test_what_is_wrong_is_said(conf: Path, words: list[str], lines: str, wrong: str) -> None:
    done = warm(conf, *words, lines=lines)

    assert wrong.format(root=conf.parent / "originals") in done.stderr
    assert done.returncode
    assert "Traceback" not in done.stderr


@needs_weed
def test_a_folder_in_a_bucket_is_warmed(
    conf: Path, place: tuple[BucketUrl, BucketsSettings], bucket: Bucket
) -> None:
    url, access = place
    for name in ("inner/b.png", "inner/deep/c.jpg", "inner/.hidden.jpg", "d.jpg"):
        kind = "PNG" if name.endswith("png") else "JPEG"
        images.save(conf.parent / "one", images.texture((640, 480)), kind)
        bucket.put(name, (conf.parent / "one").read_bytes())
    conf.write_text(
        conf.read_text().replace("roots = originals", f"roots = originals {url}")
        + f"[buckets]\nfile = {access.file}\n[remote]\nfolder = copies\n"
    )

    done = warm(conf, f"{url}/inner", "--screen", "phone", "--bandwidth", "3g")

    assert (done.stdout, done.stderr) == ("4 of 4 renditions of 2 originals made\n", "")
    delivery = make_delivery(load_settings(conf), keeps=True)
    headers = {"accept": CHROMIUM, "ect": "3g", "sec-ch-viewport-width": "360"}
    for name in ("inner/b.png", "inner/deep/c.jpg"):
        assert delivery.kept(find(delivery, Incoming(f"name={name}", headers))) is not None
    for wrong in (f"{url}-other", "s3://other", f"{url}/none"):
        done = warm(conf, wrong)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert f"imgprocessor: {wrong}: " in done.stderr


def test_workers_do_it_too(conf: Path) -> None:
    with redises.redis_server(conf.parent) as url:
        conf.write_text(
            conf.read_text()
            + "[uploads]\nenabled = yes\nfolder = uploads\nmin_free_bytes = 0\n"
            + f"[jobs]\nenabled = yes\nredis = {url}\n"
        )
        command = [sys.executable, "-m", "imgprocessor", "worker", "--conf", str(conf)]
        worker = subprocess.Popen([*command, "--queue", "bulk"], cwd=ROOT)
        try:
            done = warm(conf, "-", "--jobs", "--screen", "phone", lines="a.jpg\nnone.jpg\n")
        finally:
            worker.terminate()
            worker.wait(30)

    made = done.stdout.split()
    assert made[:3:2] == [str(int(made[2]) // 2), made[2]]
    assert done.returncode == 1
    delivery = make_delivery(load_settings(conf), keeps=True)
    headers = {"accept": CHROMIUM, "ect": "3g", "sec-ch-viewport-width": "360"}
    found = find(delivery, Incoming("name=a.jpg", headers))
    await_true(lambda: delivery.kept(found) is not None)
