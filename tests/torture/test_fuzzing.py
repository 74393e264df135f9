"""The load path under fire for some seconds, and that whatever it may find ends the run."""

from pathlib import Path

import fuzz_runs
import pytest
from conftest import CORPUS

pytest.importorskip("atheris", reason="atheris is there for x86-64 alone")

SECONDS = 10


@pytest.mark.parametrize("fault", fuzz_runs.FAULTS)
def test_a_fault_of_the_load_path_ends_the_run(tmp_path: Path, fault: str) -> None:
    fuzz_runs.assert_that_a_fault_ends_the_run(tmp_path, fault)


def test_mutated_files_are_rendered_or_refused(tmp_path: Path) -> None:
    more: list[str | Path] = ["--seeds", CORPUS / "malformed"] if CORPUS.is_dir() else []
    fuzz_runs.assert_that_files_are_rendered_or_refused(tmp_path, f"--seconds={SECONDS}", *more)
