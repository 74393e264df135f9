"""`replicate`: the second copy of all uploads made whole, and as the first is."""

import heapq
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby, islice
from operator import itemgetter

import click

from imgprocessor.cli.options import Files, with_files
from imgprocessor.cli.uploads.place import complain_of, count_of, place_of, tracked
from imgprocessor.errors import ConfigurationError
from imgprocessor.parts import make_replication
from imgprocessor.storage.uploads.replication.replication import CopyResult, Replication
from imgprocessor.storage.uploads.store import Damaged

_AT_ONCE = 8
_PORTION = 256

_UNKNOWN = "; with --remove-unknown it is removed from the replica"


@click.command(help="Copy to the replica what it lacks of uploads; remove what is removed here.")
@with_files()
@click.option(
    "--remove-unknown",
    is_flag=True,
    help="Remove from the replica what the first place knows nothing of, too.",
)
def replicate(files: Files, *, remove_unknown: bool) -> int:
    """Walk through all uploads, while servers run. 1 where something could not be done."""
    settings, first = place_of(files)
    replication = make_replication(settings)
    if replication is None:
        raise ConfigurationError(f"{files.conf}: [replica] url must name the second place")
    told: Counter[CopyResult] = Counter()
    wrong: list[str] = []

    def left_out(key: str) -> None:
        wrong.append(key)
        complain_of(repr(key), "left out: no object may be called so")

    work = partial(_replicated, replication, remove_unknown=remove_unknown)
    try:
        # Both are listed in the order of idents: the second for what was removed.
        here = ((ident, True) for ident in first.idents(left_out))
        there = ((ident, False) for ident in replication.replica.idents(left_out))
        merged = groupby(heapq.merge(here, there), key=itemgetter(0))
        idents = ((ident, any(is_here for _, is_here in found)) for ident, found in merged)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            done = (one for some in _portions(idents) for one in pool.map(work, some))
            for result, complaint in tracked(done, "copying", count_of(first)):
                told[result] += 1
                if complaint:
                    wrong.append(complaint)
                    complain_of(*complaint.split(": ", 1))
    except OSError as error:
        complain_of("the rest is left out", error)
        wrong.append(str(error))
    print(
        f"{told['copied']} copied, {told['removed']} removed, {told['same']} were there already,"
        f" {told['failed'] + told['damaged']} left"
    )
    return int(bool(wrong))


def _portions(idents: Iterator[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    while some := list(islice(idents, _PORTION)):
        yield some


def _replicated(
    replication: Replication, one: tuple[str, bool], *, remove_unknown: bool
) -> tuple[CopyResult, str]:
    """Return what came of an upload, which may be in the first place, and what is wrong with it."""
    ident, is_here = one
    try:
        is_removed = not is_here and (remove_unknown or replication.is_noted_removed(ident))
        return replication.copier.copy(ident, is_removed=is_removed), ""
    except Damaged as error:
        return "damaged", f"{ident}: {error.strerror}" + ("" if is_here else _UNKNOWN)
    except OSError as error:
        return "failed", f"{ident}: {error}"
