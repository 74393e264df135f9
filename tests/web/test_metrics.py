"""Counts over processes that come and go, and what Prometheus is told of them."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from conftest import ROOT
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client.mmap_dict import mmap_key
from prometheus_samples import Samples, parsed, total

from imgprocessor.app import make_web
from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.config.settings import MetricsSettings, Settings
from imgprocessor.jobs.memory import MemoryRecords
from imgprocessor.jobs.records import Wanted
from imgprocessor.policy.parse import parse_policy
from imgprocessor.policy.table import Policy
from imgprocessor.storage import counters
from imgprocessor.storage.counters import Counters
from imgprocessor.storage.uploads.replication.replication import Replication
from imgprocessor.web.metrics import (
    COUNTED,
    METRICS_PATH,
    Metrics,
    Watched,
    watched_jobs,
    watched_places,
    watched_replica,
)

COUNT = mmap_key("x", "x_total", ["a"], ["b"], "Help.")


def _never(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture
def metrics(tmp_path: Path, policy: Policy) -> Metrics:
    return Metrics(tmp_path / "metrics", policy, _never)


def _entry(**changes: object) -> dict[str, object]:
    entry: dict[str, object] = {
        "status": 200, "bytes": 1000, "bandwidth": "3g", "screen": "phone", "format": "avif",
        "source": "original", "ms": {"find": 0.5, "decode": 24.0}, "limited": "",
    }  # fmt: skip
    return entry | changes


def _read(metrics: Metrics) -> Samples:
    return parsed(metrics.text().decode())


@pytest.mark.parametrize(
    ("changes", "name", "labels", "value"),
    [
        ({}, "requests_total", {"status": "200", "cell": "phone 3g", "format": "avif"}, 1),
        ({"screen": None}, "requests_total", {"cell": "sized 3g"}, 1),
        ({"status": 304, "format": None}, "requests_total", {"status": "304", "format": "none"}, 1),
        ({"bandwidth": "\n5g"}, "requests_total", {"cell": "none"}, 1),
        ({}, "response_body_bytes_total", {"format": "avif"}, 1000),
        ({"error": "busy"}, "refusals_total", {"reason": "busy"}, 1),
        ({}, "refusals_total", {}, 0),
        ({"limited": "quality"}, "limited_total", {"what": "quality"}, 1),
        ({}, "limited_total", {}, 0),
        ({}, "store_misses_total", {"store": "masters"}, 1),
        ({}, "store_misses_total", {"store": "renditions"}, 1),
        ({"source": "master"}, "store_hits_total", {"store": "masters"}, 1),
        ({"source": "master"}, "store_misses_total", {"store": "renditions"}, 1),
        ({"source": "store"}, "store_hits_total", {"store": "renditions"}, 1),
        ({"source": "store"}, "store_misses_total", {}, 0),
        ({"source": None}, "store_misses_total", {}, 0),
        ({}, "request_seconds_sum", {"source": "original"}, 0.03),
        ({}, "request_seconds_count", {"source": "original"}, 1),
        ({}, "request_seconds_bucket", {"le": "0.02"}, 0),
        ({}, "request_seconds_bucket", {"le": "0.05"}, 1),
        ({}, "request_seconds_bucket", {"le": "+Inf"}, 1),
        ({}, "part_seconds_sum", {"part": "decode"}, 0.024),
        ({}, "part_seconds_count", {}, 2),
        ({}, "queue_seconds_sum", {}, 0.25),
    ],
)
def test_an_answer_is_counted(
    metrics: Metrics, changes: dict[str, object], name: str, labels: dict[str, str], value: float
) -> None:
    metrics.count(_entry(**changes), 0.03, 0.25)

    assert total(_read(metrics), f"imgprocessor_{name}", **labels) == pytest.approx(value)


def test_without_apache_nobody_knows_the_queue(metrics: Metrics) -> None:
    metrics.count(_entry(), 0.03, None)

    assert not [name for name, _ in _read(metrics) if "queue" in name]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_buckets_hold_what_took_no_longer(
    policy: Policy, tmp_path_factory: pytest.TempPathFactory, spent: list[float]
) -> None:
    metrics = Metrics(tmp_path_factory.mktemp("metrics"), policy, _never)
    for seconds in spent:
        metrics.count(_entry(ms={}), seconds, None)

    samples = _read(metrics)
    name = "imgprocessor_request_seconds"
    for (known, labels), value in samples.items():
        if known == f"{name}_bucket":
            assert value == sum(seconds <= float(dict(labels)["le"]) for seconds in spent)
    assert total(samples, f"{name}_sum") == pytest.approx(sum(spent))
    assert total(samples, f"{name}_count") == len(spent)


def test_other_cells_are_counted_anew_and_the_old_counts_go(
    tmp_path: Path, classic: Policy
) -> None:
    script = (
        "import sys; from pathlib import Path; from imgprocessor.web.metrics import Metrics;"
        "from imgprocessor.policy.parse import parse_policy;"
        f"policy = parse_policy(Path('{ROOT}/conf/policy.ini').read_text(), 'x');"
        f"metrics = Metrics(Path('{tmp_path}'), policy, print);"
        "metrics.count({'status': 200, 'bytes': 1}, 0.1, None); print(flush=True); input()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        Metrics(tmp_path, classic, _never)
        (old,) = [path for path in tmp_path.iterdir() if (path / "histogram_0.db").exists()]
        other.communicate("\n")

    metrics = Metrics(tmp_path, classic, _never)

    assert not old.exists()
    metrics.count(_entry(bandwidth="4g", screen="any"), 0.1, None)
    assert total(_read(metrics), "imgprocessor_requests_total") == 1


def test_numbers_of_the_moment_are_asked_for_when_prometheus_asks(metrics: Metrics) -> None:
    now: dict[tuple[str, ...], float] = {("waiting",): 3.0}

    def fail() -> dict[tuple[str, ...], float]:
        raise OSError(errno.EIO, "gone")

    metrics.watch(Watched("imgprocessor_renders", "Renders.", lambda: now, ("state",)))
    metrics.watch(Watched("imgprocessor_gone", "Gone.", fail))

    assert total(_read(metrics), "imgprocessor_renders", state="waiting") == 3
    now["waiting",] = 1.0
    samples = _read(metrics)
    assert total(samples, "imgprocessor_renders", state="waiting") == 1
    assert not [name for name, _ in samples if "gone" in name]


def test_places_are_shown_by_their_state(metrics: Metrics) -> None:
    metrics.watch(watched_places(lambda: 5, lambda: 2))
    samples = _read(metrics)

    assert total(samples, "imgprocessor_places", state="free") == 5
    assert total(samples, "imgprocessor_places", state="taken") == 2


def test_jobs_are_told_by_what_came_of_them(metrics: Metrics) -> None:
    records = MemoryRecords(JobsSettings())
    for watched in watched_jobs(records):
        metrics.watch(watched)
    name = "imgprocessor_jobs_over_total"
    assert total(_read(metrics), name, outcome="success") == 0
    for job in "ab":
        records.create(job, Wanted("name=a.jpg", "quick", "somebody"))
    records.cancel("a")
    records.claim("b", "one")
    records.succeed("b", "one", {})

    samples = _read(metrics)

    assert total(samples, name, outcome="success") == 1
    assert total(samples, name, outcome="cancelled") == 1
    assert total(samples, name) == 2
    assert total(samples, "imgprocessor_jobs_waiting", queue="quick") == 0


# --- Processes that come and go ------------------------------------------------------------------

CHILD = """
import os, sys, time
from pathlib import Path
from imgprocessor.storage.counters import Counters
from prometheus_client.mmap_dict import mmap_key
key = mmap_key("x", "x_total", ["a"], ["b"], "Help.")
counts = Counters(Path(sys.argv[1]), print)
counts.add([(key, 1)] * int(sys.argv[2]))
print("counted", flush=True)
while True:
    counts.add([(key, 1)])
    print("again", flush=True)
    time.sleep(0.001)
    if sys.argv[3] == "wait":
        time.sleep(60)
"""


def _counting(folder: Path, count: int, then: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), str(count), then]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert child.stdout is not None
    assert [child.stdout.readline() for _ in range(2)] == ["counted\n", "again\n"]
    return child


def _end(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


def _sum(counts: Counters) -> float:
    return sum(sample.value for metric in counts.collect() for sample in metric.samples)


def test_counts_of_living_and_of_killed_processes_add_up(tmp_path: Path) -> None:
    counts = Counters(tmp_path, _never)
    counts.add([(COUNT, 5)])
    children = [_counting(tmp_path, 10, "wait") for _ in range(3)]
    assert counts.processes() == 4
    for child in children:
        _end(child)

    assert (_sum(counts), counts.processes()) == (5 + 3 * 11, 1)


def test_who_comes_next_goes_on_in_the_file_of_who_died(tmp_path: Path) -> None:
    for _ in range(5):
        _end(_counting(tmp_path, 10, "wait"))

    assert _sum(Counters(tmp_path, _never)) == 5 * 11
    assert len(list(tmp_path.glob("histogram_*.db"))) == 1


def test_a_process_killed_at_any_moment_leaves_a_file_that_can_be_read(tmp_path: Path) -> None:
    counts, least = Counters(tmp_path, _never), 0.0
    for number in range(10):
        child = _counting(tmp_path, 100, "go on")
        time.sleep(0.001 * number)
        _end(child)
        least += 101
        assert _sum(counts) >= least
        least = _sum(counts)


def test_threads_of_one_process_lose_nothing(tmp_path: Path) -> None:
    counts = Counters(tmp_path, _never)

    def count() -> None:
        for _ in range(2000):
            counts.add([(COUNT, 1)])

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert _sum(counts) == 8000


def test_a_child_counts_for_itself(tmp_path: Path) -> None:
    counts = Counters(tmp_path, _never)
    counts.add([(COUNT, 1)])
    child = os.fork()
    if child == 0:
        counts.add([(COUNT, 10)])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    counts.add([(COUNT, 100)])

    assert _sum(counts) == 111
    assert len(list(tmp_path.glob("histogram_*.db"))) == 2


def test_a_folder_that_is_emptied_gets_its_counts_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "_LOOK_EVERY_SECONDS", 0.0)
    folder = tmp_path / "metrics"
    counts = Counters(folder, _never)
    counts.add([(COUNT, 5)])
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()

    counts.add([(COUNT, 1)])

    assert _sum(counts) == 6


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x10\0\0\0" + b"\xff" * 2000, b"ab"])
@pytest.mark.parametrize("at_work", [False, True])
def test_a_torn_file_costs_what_it_held_and_nothing_else(
    tmp_path: Path, content: bytes, *, at_work: bool
) -> None:
    said: list[str] = []
    counts = Counters(tmp_path, said.append)
    if at_work:
        counts.add([(COUNT, 5)])
    (tmp_path / "histogram_7.db").write_bytes(content)
    (tmp_path / "histogram_0.db").touch()
    if not at_work:
        (tmp_path / "histogram_0.db").write_bytes(content)
        counts.add([(COUNT, 5)])

    assert _sum(counts) == 5
    assert all("histogram_7.db is damaged" in text for text in said)


def test_where_nothing_can_be_written_nothing_fails(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "file").touch()
    counts = Counters(tmp_path / "file" / "metrics", said.append)
    counts.add([(COUNT, 1)])

    assert _sum(counts) == 0
    assert ["requests are not counted" in text for text in said] == [True]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk_costs_counts_and_no_process(tmp_path: Path) -> None:
    """Without room asked for in advance, the kernel would kill the process (SIGBUS)."""
    script = f"""
import sys; from pathlib import Path; from imgprocessor.storage.counters import Counters
from prometheus_client.mmap_dict import mmap_key
Path("{tmp_path}", "fill").write_bytes(bytes(900_000))
counts = Counters(Path("{tmp_path}", "metrics"), print)
for number in range(100):
    counts.add([(mmap_key("x", "x_total", ["a"], [str(number) * 50], "Help."), 1)])
print("alive")
"""
    shell = f'mount -t tmpfs -o size=1m none {tmp_path} && exec {sys.executable} -c "$0"'
    command = ["unshare", "-m", "sh", "-c", shell, script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr}")

    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stdout
    assert done.stdout.endswith("alive\n")


def test_a_policy_of_any_size_takes_no_more_than_its_files(tmp_path: Path) -> None:
    said: list[str] = []
    counts = Counters(tmp_path, said.append)
    counts.add(
        (mmap_key("x", "x_total", ["a"], [f"{number:060}"], "Help."), 1) for number in range(10_000)
    )

    assert (tmp_path / "histogram_0.db").stat().st_size == counters.FILE_BYTES
    assert 4000 < _sum(counts) < 10_000
    assert "too many metrics" in said[0]


def test_what_is_in_a_full_file_is_still_counted(tmp_path: Path) -> None:
    said: list[str] = []
    keys = [mmap_key("x", "x_total", ["a"], [f"{number:060}"], "Help.") for number in range(10_000)]
    before = Counters(tmp_path, said.append)
    before.add((key, 1) for key in keys)
    kept, left_out = _sum(before), len(said)
    del before
    Counters(tmp_path, said.append).add((key, 1) for key in keys)

    assert len(list(tmp_path.glob("*.db"))) == 1
    assert (_sum(Counters(tmp_path, _never)), len(said)) == (2 * kept, 2 * left_out)


# --- The application -----------------------------------------------------------------------------


def _asked(client: FlaskClient) -> Samples:
    answer = client.get(METRICS_PATH)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["Cache-Control"] == "no-store"
    return parsed(answer.text)


def test_what_the_application_answers_is_counted(client: FlaskClient) -> None:
    for _ in range(2):
        body_bytes = len(client.get("/images/?name=nasa.jpeg&bandwidth=3g&width=64").data)
    client.head("/images/?name=nasa.jpeg&bandwidth=3g&width=64")
    client.get("/images/?name=none.jpeg&screen=phone&bandwidth=2g")

    samples = _asked(client)

    name = "imgprocessor_requests_total"
    assert total(samples, name) == 4
    assert total(samples, name, status="200", cell="sized 3g", format="jpeg") == 3
    assert total(samples, name, status="404", cell="phone 2g", format="none") == 1
    assert total(samples, "imgprocessor_refusals_total", reason="not-found") == 1
    name = "imgprocessor_response_body_bytes_total"
    assert total(samples, name, format="jpeg") == 2 * body_bytes
    assert total(samples, "imgprocessor_store_hits_total", store="renditions") == 2
    assert total(samples, "imgprocessor_store_misses_total", store="renditions") == 1
    assert total(samples, "imgprocessor_part_seconds_count", part="encode") == 1
    assert total(samples, "imgprocessor_store_bytes", store="renditions") > body_bytes
    assert total(samples, "imgprocessor_store_max_bytes", store="masters") == 5_000_000_000
    assert total(samples, "imgprocessor_build_info") == 1
    assert total(samples, "imgprocessor_processes") == 1


def test_a_store_that_cannot_be_read_hides_no_other(settings: Settings, tmp_path: Path) -> None:
    remote = replace(settings.remote, hosts=("a.example",), folder=tmp_path / "elsewhere")
    client = make_web(replace(settings, remote=remote)).test_client()
    names = ("imgprocessor_store_bytes", "imgprocessor_damaged_entries_total")
    whole = _asked(client)
    for file in ("locks", "damages"):
        path = settings.disk_cache.folder / "masters" / file
        path.unlink(missing_ok=True)
        path.mkdir()
    broken = _asked(client)

    for name in names:
        assert _stores(whole, name) == {"renditions", "masters", "remote"}
        assert _stores(broken, name) == {"renditions", "remote"}


def _stores(samples: Samples, name: str) -> set[str]:
    return {dict(labels)["store"] for known, labels in samples if known == name}


def test_a_look_at_the_counts_is_no_picture(client: FlaskClient, settings: Settings) -> None:
    _asked(client)
    (started,) = settings.log.file.read_text().splitlines()

    assert total(_asked(client), "imgprocessor_requests_total") == 0
    assert "started" in json.loads(started)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_proxies_are_shown_nothing(client: FlaskClient, header: str) -> None:
    answer = client.get(METRICS_PATH, headers={header: "127.0.0.1"})

    assert (answer.status_code, answer.headers["image-error"]) == (404, "not-found")
    # A cache would tell it to those who may look.
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_picture_for_who_may_not_look_is_written_down_and_counted(
    client: FlaskClient, settings: Settings
) -> None:
    client.get(f"{METRICS_PATH}?width=77", headers={"Via": "1.1 x"})
    last = settings.log.file.read_text().splitlines()[-1]

    assert json.loads(last)["status"] == 404
    assert total(_asked(client), "imgprocessor_requests_total") == 1


def test_counting_can_be_switched_off(settings: Settings) -> None:
    client = make_web(replace(settings, metrics=MetricsSettings(enabled=False))).test_client()
    client.get("/images/?name=nasa.jpeg&width=64")

    assert client.get(METRICS_PATH).status_code == 404
    assert not (settings.disk_cache.folder / "metrics").exists()


@pytest.mark.slow
def test_a_thousand_hostile_requests_make_no_labels(client: FlaskClient) -> None:
    client.get("/images/?name=nasa.jpeg&width=64")
    for number in range(1000):
        odd = f"%22%0a{{x=%27{number}\xff"
        client.open(
            f"/images/{'' if number % 3 else odd}?name={odd}&bandwidth={odd}&screen={odd}"
            f"&{odd}={odd}&format={odd}&dpr={number}&width={number % 7 or ''}",
            method=("GET", "POST", f"M{number}")[number % 3],
            headers={"Accept": f"image/{number}", "ECT": f"{number}g", "RTT": str(number * 7)},
        )

    samples = _asked(client)

    assert total(samples, "imgprocessor_requests_total") == 1001
    labels = {pair for name, pairs in samples for pair in pairs if not name.endswith("_bucket")}
    assert not [value for _, value in labels if re.search(r"[\"{}'\n\xff]", value)]
    assert len([key for key in samples if key[0] == "imgprocessor_requests_total"]) < 40


def test_a_policy_word_cannot_break_the_format(tmp_path: Path) -> None:
    text = (ROOT / "conf/policy.ini").read_text()
    metrics = Metrics(tmp_path, parse_policy(text, "x"), _never)
    metrics.count(_entry(error='a"b\\c\nd'), 0.1, None)

    assert total(_read(metrics), "imgprocessor_refusals_total", reason='a"b\\c\nd') == 1


# --- The dashboard -------------------------------------------------------------------------------


JOBS = {one.name: {*one.labels} for one in watched_jobs(MemoryRecords(JobsSettings()))}
"""The labels of what is told only where Redis keeps jobs."""
REPLICA = {one.name: {*one.labels} for one in watched_replica(cast(Replication, None))}
"""As much of what is told only where there is a replica."""


def _expressions(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node[key] for key in ("expr", "definition") if isinstance(node.get(key), str)]
        return own + [found for value in node.values() for found in _expressions(value)]
    if isinstance(node, list):
        return [found for value in node for found in _expressions(value)]
    return []


def _known_samples(client: FlaskClient) -> dict[str, set[str]]:
    """Return the labels of each sample that can be asked for."""
    known = {sample: {*one.labels} for one in COUNTED for sample in one.samples}
    for one in COUNTED:
        if one.in_buckets:
            known[one.samples[0]] |= {"le"}
    for name, pairs in _asked(client):
        known.setdefault(name, set()).update(label for label, _ in pairs)
    return known


def test_the_dashboard_asks_only_for_what_there_is(client: FlaskClient) -> None:
    # Here renditions are made in this process, and nobody waits for a place.
    known = _known_samples(client) | {"imgprocessor_places": {"state"}} | JOBS | REPLICA
    expressions = _expressions(json.loads((ROOT / "docs/grafana.json").read_text()))

    assert len(expressions) >= 10
    for expression in expressions:
        names = re.findall(r"\bimgprocessor_\w+", expression)
        assert names, expression
        assert set(names) <= set(known), expression
        labels = {"instance", "job"}.union(*(known[name] for name in names))
        for grouped in re.findall(r"\bby ?\(([^)]*)\)", expression):
            assert {label.strip() for label in grouped.split(",")} <= labels, expression
        for selected in re.findall(r"\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)\s*(?:=|!)", selected)) <= labels, expression


def test_what_is_kept_of_uploads_is_told_with_its_bounds(
    settings: Settings, tmp_path: Path
) -> None:
    client = _with_uploads(settings, tmp_path)
    client.post("/upload", data={"file": (settings.originals.folders[0] / "nasa.jpeg").open("rb")})
    client.post("/upload", data={"file": (tmp_path / "requests.log").open("rb")})
    samples = _asked(client)

    assert total(samples, "imgprocessor_uploads_total", outcome="new") == 1
    assert total(samples, "imgprocessor_uploads_total", outcome="refused") == 1
    assert total(samples, "imgprocessor_uploads_kept") == 1
    assert total(samples, "imgprocessor_uploads_kept_bytes") > 4096
    assert total(samples, "imgprocessor_uploads_max_kept") == 7
    assert total(samples, "imgprocessor_uploads_max_kept_bytes") == 10**9


def _with_uploads(settings: Settings, tmp_path: Path) -> FlaskClient:
    uploads = replace(
        settings.uploads,
        enabled=True,
        folder=tmp_path / "uploads",
        max_uploads=7,
        max_kept_bytes=10**9,
        min_free_bytes=0,
    )
    return make_web(replace(settings, uploads=uploads)).test_client()


def test_every_metric_is_in_its_page(settings: Settings, tmp_path: Path) -> None:
    client = _with_uploads(settings, tmp_path)
    page = (ROOT / "docs/metrics.md").read_text()
    rows = set(re.findall(r"^\| `(imgprocessor_\w+)`", page, re.MULTILINE))
    watched = {
        name for name in _known_samples(client) if not any(name in one.samples for one in COUNTED)
    }

    # Here renditions are made in this process, and nobody waits for a place.
    assert rows == {one.name for one in COUNTED} | watched | {
        *JOBS,
        *REPLICA,
        "imgprocessor_places",
    }
