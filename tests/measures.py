"""What was measured beside a pass: rows of docs/reliability.md, printed at the end of a run."""

from collections.abc import Callable

import pytest

Measured = Callable[[str, str], None]

_ROWS = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> Measured:
    """Write down a row's letter and what was measured."""
    rows = pytestconfig.stash.setdefault(_ROWS, [])
    return lambda row, text: rows.append((row, text))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the rows."""
    rows = config.stash.get(_ROWS, [])
    if rows:
        terminalreporter.section("measured")
    for row, text in rows:
        terminalreporter.write_line(f"{row}: {text}")
