"""Whether Apache's daemons have threads enough: some must be free while all others wait."""

import importlib
from typing import NamedTuple

_REMOTE_GROUP = "imgremote"
"""The daemons for `url=`: see apache/imgprocessor.conf."""
_UPLOADS_GROUP = "imguploads"
"""The daemon for what has a body: its threads wait for clients, and nobody's picture for them."""

WAITRESS_THREADS = 4
"""Of `imgprocessor serve`, which is one process."""


class Daemons(NamedTuple):
    """The daemons that this process is one of."""

    group: str
    processes: int
    threads: int
    """Of each process."""


def daemons() -> Daemons | None:
    """Return what mod_wsgi says of this process; None outside of its daemons."""
    try:
        # The server's own module: the package of this name, outside of it, knows nothing of these.
        server = importlib.import_module("mod_wsgi")
        found = Daemons(server.process_group, server.maximum_processes, server.threads_per_process)
    except (ImportError, AttributeError):
        return None
    return found if found.group else None


def threads_here() -> int:
    """Return how many requests this process answers at once."""
    found = daemons()
    return WAITRESS_THREADS if found is None else found.threads


def too_few(
    found: Daemons, *, max_jobs: int, max_fetches: int, has_buckets: bool = False
) -> str | None:
    """Return what is wrong with the daemons' threads, in one line; None where they are enough.

    Args:
        found: the daemons of one group.
        max_jobs: so many are rendered or wait for that, at most, over all daemons.
        max_fetches: so many originals are fetched at once, at most. Daemons of a group of their
            own do that, where the next request must find a thread to be refused by.
        has_buckets: whether originals are in buckets: the daemons that render fetch those, too, and
            as many as fetch at once wait for that.
    """
    if found.group == _UPLOADS_GROUP:
        return None
    if found.group == _REMOTE_GROUP:
        most = max_fetches
        why = "originals may be fetched at once ([remote] max_fetches), and whoever is next waits"
    else:
        most = max_jobs + (2 * max_fetches if has_buckets else 0)
        fetch = ", or fetch from buckets (twice [remote] max_fetches)" if has_buckets else ""
        why = f"jobs may be rendered or wait for that ([rendering]){fetch}, and what is kept waits"
    threads = found.processes * found.threads
    if threads > most:
        return None
    wanted = most // found.processes + 1
    return (
        f"too few threads: {found.processes} x {found.threads} = {threads} in the daemons"
        f" {found.group}, where {most} {why} behind them; more than {most} are needed:"
        f" Define IMG_THREADS {wanted} or more in the virtual host"
    )
