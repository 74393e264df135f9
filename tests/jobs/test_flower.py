"""Flower's pages: to look at, with a password, and nothing else."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redises
from celery import Celery
from conftest import ROOT
from devtools import Device, opened
from flowers import PASSWORD, Pages, basic, flower
from servers import await_true

from imgprocessor.__main__ import main
from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.config.secrets import flower_password
from imgprocessor.errors import ConfigurationError
from imgprocessor.jobs.by_celery import make_celery

pytestmark = pytest.mark.slow

PAGES = (
    *("", "workers", "tasks", "broker", "metrics", "healthcheck", "api/tasks", "api/workers"),
    *("api/task/types", "logout", "static/js/flower.js", "static/js/theme.js"),
)
ENDS = (
    *("api/worker/shutdown/x", "api/worker/pool/shrink/x", "api/task/revoke/x"),
    *("api/task/send-task/imgprocessor.quick", "tasks/datatable"),
)
INLINE = re.compile(r"<script(?![^>]* src=)[^>]*>(.*?)</script>", re.DOTALL)
CODE = "from pathlib import Path\nPath('executed').touch()\n"


@dataclass
class Shown:
    """Flower, the settings of the jobs that it shows, and where it was started."""

    pages: Pages
    jobs: JobsSettings
    folder: Path


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    # Paths of sockets must be short.
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as name,
        redises.redis_server(Path(name)) as url,
    ):
        folder = Path(name)
        for file in ("flowerconfig.py", "celeryconfig.py"):
            (folder / file).write_text(CODE)
        (folder / "password").write_text(f"{PASSWORD}\n")
        (folder / "password").chmod(0o600)
        (folder / "originals").mkdir()
        conf = folder / "imgprocessor.ini"
        conf.write_text(
            f"[originals]\nroots = originals\n[policy]\nfile = {ROOT}/conf/policy.ini\n"
            f"[jobs]\nredis = {url}\nflower_password_file = password\n"
        )
        misled = {
            "FLOWER_ADDRESS": "0.0.0.0",  # noqa: S104 - it must not be listened to
            "FLOWER_BASIC_AUTH": "a:b",
            "FLOWER_UNAUTHENTICATED_API": "true",
            "FLOWER_READ_ONLY": "false",
        }
        with flower(conf, folder, **misled) as pages:
            shown = Shown(pages, JobsSettings(redis=url), folder)
            await_true(lambda: _hears(shown))
            yield shown


def _hears(shown: Shown) -> bool:
    """Whether it listens to workers already: what was told before, it does not know."""
    tell(make_celery(shown.jobs), 0)
    return b"worker@here" in shown.pages.ask("/flower/workers?json=1").body


def tell(app: Celery, count: int = 1) -> None:
    """Tell what a worker would tell of tasks."""
    with app.connection_for_write() as connection:
        with app.events.Dispatcher(connection, hostname="worker@here") as told:
            told.send("worker-heartbeat", freq=2, active=0, processed=1, loadavg=(0.1, 0.1, 0.1))
            for _ in range(count):
                task = str(uuid.uuid4())
                told.send("task-received", uuid=task, name="imgprocessor.quick", args="('a',)")
                told.send("task-started", uuid=task)
                told.send("task-succeeded", uuid=task, runtime=0.25, result="None")


def tasks(pages: Pages) -> dict[str, dict[str, object]]:
    """Return the tasks that are shown."""
    told = json.loads(pages.ask("/flower/api/tasks").body)
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize("page", [*PAGES, "login", "none"])
def test_without_the_password_nothing_is_shown(shown: Shown, page: str) -> None:
    wrong = [
        {},
        basic("wrong"),
        basic("b", "a"),
        basic("pässwort"),
        basic(user=""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic \x80"},
        {"Authorization": f"Bearer {PASSWORD}"},
    ]
    for headers in wrong:
        answer = shown.pages.ask(f"/flower/{page}", headers)
        assert answer.status == 401, headers
        assert answer.headers["www-authenticate"].startswith('Basic realm="Flower"')
        assert len(answer.body) < 100


@pytest.mark.parametrize("page", PAGES)
def test_with_it_pages_are_shown_and_not_kept(shown: Shown, page: str) -> None:
    answer = shown.pages.ask(f"/flower/{page}")
    head = shown.pages.ask(f"/flower/{page}", method="HEAD")

    assert (answer.status, head.status, head.body) == (200, 200, b"")
    kept = "private, max-age=86400" if page.startswith("static/") else "no-store"
    assert answer.headers["cache-control"] == kept
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers
    assert "Path=/flower/;" in answer.headers.get("set-cookie", "Path=/flower/;")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"])
def test_nothing_changes_anything(shown: Shown, method: str) -> None:
    for path in ENDS:
        answer = shown.pages.ask(f"/flower/{path}", method=method)
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD"


def test_only_what_lies_beside_the_pages_leads_to_them(shown: Shown) -> None:
    for path in ("/", "/flower"):
        answer = shown.pages.ask(path, {})
        assert (answer.status, answer.headers["location"]) == (301, "/flower/")
    for path in ("/metrics", "/api/tasks", "/flower/static/../metrics", "//flower/metrics"):
        assert shown.pages.ask(path, {}).status == 401
        assert shown.pages.ask(path).status in {400, 403, 404}


def test_nothing_of_the_current_folder_is_executed(shown: Shown) -> None:
    assert not (shown.folder / "executed").exists()
    listening = Path(f"/proc/{shown.pages.pid}/net/tcp").read_text()
    assert f" 0100007F:{shown.pages.port:04X} " in listening
    assert f" 00000000:{shown.pages.port:04X} " not in listening


def test_the_policy_allows_flowers_own_scripts_and_no_others(shown: Shown) -> None:
    answer = shown.pages.ask("/flower/")
    inline = INLINE.findall(answer.body.decode())

    assert len(inline) == 1
    word = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{word}';" in answer.headers["content-security-policy"]
    for page in ("tasks", "broker", "none"):
        text = shown.pages.ask(f"/flower/{page}").body.decode()
        assert not INLINE.findall(text)


def test_tasks_of_this_installation_are_shown_and_no_others(shown: Shown) -> None:
    before = len(tasks(shown.pages))
    tell(make_celery(replace(shown.jobs, instance="another")), 2)
    tell(make_celery(shown.jobs), 3)

    await_true(lambda: len(tasks(shown.pages)) >= before + 3)

    assert len(tasks(shown.pages)) == before + 3
    (name,) = {str(task["name"]) for task in tasks(shown.pages).values()}
    assert name == "imgprocessor.quick"


@pytest.mark.chromium
def test_the_list_of_tasks_in_a_browser(shown: Shown, tmp_path: Path) -> None:
    tell(make_celery(shown.jobs))
    await_true(lambda: tasks(shown.pages))
    host = f"127.0.0.1:{shown.pages.port}"

    with opened(Device(1440), tmp_path, f"http://flower:{PASSWORD}@{host}/flower/") as page:
        await_true(lambda: page.run("document.querySelector('a.worker-name-link') !== null"))
        assert page.run("autorefresh") == 1
        page.browser.call("Page.navigate", page.session, url=f"http://{host}/flower/tasks")
        await_true(lambda: page.run("document.querySelector('tbody a') !== null"))
        row = page.run("document.querySelector('tbody tr').innerText")

    assert row.startswith("imgprocessor.quick")
    assert "SUCCESS" in row
    assert "250.00 ms" in row


def test_the_latest_thousand_are_remembered(shown: Shown) -> None:
    tell(make_celery(shown.jobs), 1100)

    await_true(lambda: len(tasks(shown.pages)) >= 1000)

    assert len(tasks(shown.pages)) == 1000


@pytest.mark.parametrize(
    ("text", "mode", "wrong"),
    [
        (PASSWORD, 0o644, "is open to everybody"),
        ("short", 0o600, "must hold one word of 16 to 200 ASCII characters"),
        (f"{PASSWORD} and more", 0o600, "must hold one word"),
    ],
)
def test_a_password_that_will_not_do(tmp_path: Path, text: str, mode: int, wrong: str) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    file.chmod(mode)

    with pytest.raises(ConfigurationError, match=wrong) as raised:
        flower_password(JobsSettings(flower_password_file=file))

    assert text not in str(raised.value)


def test_without_a_password_there_is_no_flower(
    shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = shown.folder / "imgprocessor.ini"
    without = shown.folder / "without.ini"
    without.write_text(conf.read_text().replace("flower_password_file = password", ""))

    assert main(["flower", "--conf", str(without)]) == 1
    assert "flower_password_file must be set" in capsys.readouterr().err
    assert flower_password(JobsSettings()) is None


def test_a_port_that_is_taken_is_said(shown: Shown) -> None:
    command = [sys.executable, "-m", "imgprocessor", "flower", "--port", str(shown.pages.port)]
    told = subprocess.run(
        [*command, "--conf", shown.folder / "imgprocessor.ini"],
        check=False,
        capture_output=True,
        cwd=ROOT,
        text=True,
    )

    assert told.returncode == 1
    assert f"--port {shown.pages.port}: Address already in use" in told.stderr
