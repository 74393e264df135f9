"""Documents mutated by a script: some of those that `torture/test_mutated_documents.py` draws."""

import mutated_documents
import pytest
from mutated_documents import ALLOWED, SAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("kind", SAMPLES)
def test_mutants_are_drawn_or_refused(kind: str) -> None:
    # LibreOffice takes a second for each.
    counts, _, wrong = mutated_documents.draw_all(kind, 15 if kind == "office" else 40)

    assert set(counts) <= ALLOWED
    assert not wrong
    assert not mutated_documents.left_behind()


@pytest.mark.parametrize("kind", SAMPLES)
def test_mutants_are_the_same_each_time(kind: str) -> None:
    first, second = (list(mutated_documents.mutants(kind, 30)) for _ in range(2))

    assert first == second
    assert len(set(first)) > 25
