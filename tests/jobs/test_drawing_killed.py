"""Workers killed while they draw: nothing of theirs is left, and the page is another's to make."""

import os
import signal
import time
from pathlib import Path

import pytest
from job_workers import Workers, working
from servers import all_processes, await_true

pytestmark = pytest.mark.slow

NOISE = '<feTurbulence baseFrequency="0.9" numOctaves="10"/>' * 3000
ENDLESS = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="2400" height="2400">'
    f'<filter id="a" x="0" y="0" width="1" height="1">{NOISE}</filter>'
    '<rect width="2400" height="2400" filter="url(#a)"/></svg>'
)
"""It takes minutes."""


def drawing(workers: Workers) -> list[int]:
    """Return the processes that have to do with a document of these workers."""
    scratch = f"{workers.folder}/uploads/jobs/"
    return [
        pid
        for pid, command in all_processes().items()
        if scratch in command and "/scratch-" in command  # not one that tries the sandbox
    ]


@pytest.mark.parametrize("way", ["bubblewrap", "landlock"])
def test_a_killed_worker_leaves_nothing(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if way == "landlock":
        (tmp_path / "bwrap").symlink_to("/bin/false")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with working("[previews]\nenabled = yes\ndocument_seconds = 4\n") as workers:
        slow = workers.folder / "originals" / "slow.svg"
        slow.write_text(ENDLESS)
        url = "/images/?name=slow.svg&width=100"
        assert workers.client.get(url).headers["image-error"] == "page-being-made"
        await_true(lambda: drawing(workers))
        known = all_processes()
        is_wrapped = any("bwrap" in known.get(pid, "") for pid in drawing(workers))
        assert is_wrapped == (way == "bubblewrap")
        (worker,) = workers.running
        workers.send(worker, signal.SIGKILL)
        worker.wait()
        workers.running.clear()

        await_true(lambda: not drawing(workers), 10)
        workers.start()
        deadline = time.monotonic() + 60
        while workers.client.get(url).headers["image-error"] == "page-being-made":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        told = workers.client.get(url).headers["image-error-detail"]
        assert told == "The document takes too long to draw."
        await_true(lambda: not drawing(workers), 10)
        jobs = workers.folder / "uploads" / "jobs"
        await_true(lambda: not [*jobs.glob("*/scratch-*")])
