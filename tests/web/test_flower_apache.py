"""Flower behind a real Apache: `./run serve --jobs` starts all of it, and ends it again."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import images
import pytest
import servers
from flowers import basic
from servers import Answer, Server, all_processes, ask, await_true, serving

pytestmark = pytest.mark.apache


@dataclass
class Behind:
    """Apache, and the password that was printed."""

    server: Server
    password: str

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask with the password."""
        return self.server.ask(path, basic(self.password) | headers, method)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    pictures = tmp_path_factory.mktemp("pictures")
    servers.open_up(pictures)
    images.save(pictures / "a.jpg", images.texture((900, 600)), "JPEG", quality=92)
    with serving(tmp_path_factory.mktemp("server"), pictures, "--jobs") as server:
        (password,) = re.findall(r"/flower/ user flower, password (\w+)", "\n".join(server.printed))
        # One that has just ended has no command any more.
        commands = [known for pid in server.children() if (known := all_processes().get(pid))]
        (state,) = set(re.findall(r"(\S+)/imgprocessor\.ini", "\n".join(commands)))
        assert len(commands) == 4
        yield Behind(server, password)
    assert not [command for command in all_processes().values() if state in command]


def test_workers_and_tasks_are_shown(behind: Behind) -> None:
    await_true(lambda: b"imgprocessor-quick-" in behind.ask("/flower/workers?json=1").body)
    body = b"name=a.jpg&width=100"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert ask(behind.server.port, "/convert", form, "POST", body).status == 202

    await_true(lambda: len(json.loads(behind.ask("/flower/api/tasks").body)) == 1)

    (task,) = json.loads(behind.ask("/flower/api/tasks").body).values()
    assert task["name"] == "imgprocessor.quick"


def test_only_with_the_password(behind: Behind) -> None:
    for path in (
        "/flower/",
        "/flower/metrics",
        "/flower/healthcheck",
        "/flower/static/js/theme.js",
    ):
        assert behind.server.ask(path).status == 401
        answer = behind.ask(path)
        assert answer.status == 200
        assert len(re.findall("default-src", answer.headers["content-security-policy"])) == 1
    assert behind.server.ask("/flower").headers["location"] == "/flower/"
    assert behind.server.ask("/flowers").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "X"])
def test_nothing_but_questions_gets_there(behind: Behind, method: str) -> None:
    for path in (
        "/flower/api/worker/shutdown/x",
        "/flower",
        "/flower/%2e%2e/flower/tasks/datatable",
    ):
        answer = behind.ask(path, method)
        assert (answer.status, "allow" in answer.headers) == (403, False)


def test_nor_does_a_body(behind: Behind) -> None:
    with_body = ask(behind.server.port, "/flower/", basic(behind.password), "GET", b"x")

    assert with_body.status == 403
