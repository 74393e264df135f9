"""Runs of `fuzz_load.py` in a process of their own, with or without a fault to find."""

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

FUZZ_LOAD = ROOT / "tests" / "fuzz_load.py"

FAULTS = {
    "an exception": "raise ValueError",
    "a hang": "while True: pass",
    "memory": "kept.append(bytearray(b'x') * 100_000_000)",
    "a crash": "os.abort()",
}


def assert_that_a_fault_ends_the_run(folder: Path, fault: str) -> None:
    """Put a fault in the place of the load path."""
    script = (
        "import os, fuzz_load\n"
        "kept = []\n"
        "def load_one(file):\n"
        f"    {FAULTS[fault]}\n"
        "fuzz_load.load_one = load_one\n"
        "fuzz_load.inside(['-runs=20', '-timeout=1', '-rss_limit_mb=500', '-artifact_prefix=./'])\n"
        "print('all runs done')\n"
    )
    done = _python("-c", script, folder=folder)

    assert "Done 20 runs" not in done.stderr
    assert done.returncode != 0


def assert_that_files_are_rendered_or_refused(folder: Path, *options: str | Path) -> None:
    """Feed mutated files, as many as the options of `./run fuzz` say."""
    done = _python(FUZZ_LOAD, "--seed=1", *options, folder=folder)

    assert done.returncode == 0, done.stderr[-3000:]
    assert list((folder / "fuzz" / "findings").iterdir()) == []
    *_, told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    # Not a run that was refused everything.
    assert told["rendered"] > 100
    assert told["broken-original"] > 100


def _python(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=folder,
        env={"PYTHONPATH": os.pathsep.join([str(FUZZ_LOAD.parent), *sys.path])},
        timeout=120,
    )
