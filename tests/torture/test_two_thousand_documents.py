"""Two thousand mutated documents of each kind: drawn in the sandbox or refused, nothing left."""

import mutated_documents
import pytest
from mutated_documents import ALLOWED, SAMPLES


@pytest.mark.parametrize("kind", SAMPLES)
def test_two_thousand_mutants(kind: str) -> None:
    counts, _, wrong = mutated_documents.draw_all(kind, 2000)

    assert set(counts) <= ALLOWED
    assert not wrong
    assert not mutated_documents.left_behind()
