"""The load path under fire for a moment; `torture/test_fuzzing.py` has the long cases."""

from pathlib import Path

import fuzz_runs
import pytest

pytest.importorskip("atheris", reason="atheris is there for x86-64 alone")
pytestmark = pytest.mark.slow


def test_a_fault_of_the_load_path_ends_the_run(tmp_path: Path) -> None:
    fuzz_runs.assert_that_a_fault_ends_the_run(tmp_path, "an exception")


def test_mutated_files_are_rendered_or_refused(tmp_path: Path) -> None:
    fuzz_runs.assert_that_files_are_rendered_or_refused(tmp_path, "--files=1000")
