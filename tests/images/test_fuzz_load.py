"""The load path under fire for some seconds, and that whatever it may find ends the run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CORPUS, ROOT

pytest.importorskip("atheris", reason="atheris is there for x86-64 alone")

SECONDS = 10
FUZZ_LOAD = ROOT / "tests" / "fuzz_load.py"

FAULTS = {
    "an exception": "raise ValueError",
    "a hang": "while True: pass",
    "memory": "kept.append(bytearray(b'x') * 100_000_000)",
    "a crash": "os.abort()",
}


def _python(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=folder,
        env={"PYTHONPATH": ":".join([str(FUZZ_LOAD.parent), *sys.path])},
        timeout=120,
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_load_path_ends_the_run(tmp_path: Path, fault: str) -> None:
    script = (
        "import os, fuzz_load\n"
        "kept = []\n"
        "def load_one(file):\n"
        f"    {FAULTS[fault]}\n"
        "fuzz_load.load_one = load_one\n"
        "fuzz_load.inside(['-runs=20', '-timeout=1', '-rss_limit_mb=500', '-artifact_prefix=./'])\n"
        "print('all runs done')\n"
    )
    done = _python("-c", script, folder=tmp_path)

    assert "Done 20 runs" not in done.stderr
    assert done.returncode != 0


def test_mutated_files_are_rendered_or_refused(tmp_path: Path) -> None:
    more = ["--seeds", str(CORPUS / "malformed")] if CORPUS.is_dir() else []
    done = _python(FUZZ_LOAD, f"--seconds={SECONDS}", "--seed=1", *more, folder=tmp_path)

    assert done.returncode == 0, done.stderr[-3000:]
    assert list((tmp_path / "fuzz" / "findings").iterdir()) == []
    *_, told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    # Not a run that was refused everything.
    assert told["rendered"] > 100
    assert told["broken-original"] > 100
