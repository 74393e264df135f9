"""`warm`: what a policy's cells send is made before anybody asks for it."""

import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import click

from imgprocessor.cli.options import Files, with_files
from imgprocessor.cli.uploads.place import complain_of, require_owner, tracked
from imgprocessor.config.buckets import BucketUrl
from imgprocessor.config.settings import Settings
from imgprocessor.errors import BadQuery, ConfigurationError, ImageError, JobOver, JobsUnavailable
from imgprocessor.images.inspection import SUFFIXES
from imgprocessor.job_parts import make_conversions_on_node, make_dispatch, require_redis
from imgprocessor.jobs.conversions import Conversions
from imgprocessor.jobs.in_process import InProcessJobs
from imgprocessor.jobs.records import Wanted
from imgprocessor.load import load_policy
from imgprocessor.originals.configured import make_roots
from imgprocessor.originals.source import FolderSource
from imgprocessor.parts import processes
from imgprocessor.policy.warming import warming_queries
from imgprocessor.request.names import is_name

_MAX_AT_ONCE = 100
"""So many wait to be made: enough for some workers, and other bulk jobs are not far behind them."""

_LOOK_AGAIN_SECONDS = 0.2


@click.command(
    "warm",
    help="Make what the policy's cells send of pictures, before anybody asks for it. WHAT is a"
    " folder of originals, or one in a bucket such as s3://pictures/shop, a file that has a name of"
    " an original in each line, or - for such lines on standard input.",
)
@with_files()
@click.argument("what", metavar="WHAT")
@click.option("--screen", "screens", multiple=True, help="Only for this row; can be given again.")
@click.option(
    "--bandwidth", "bandwidths", multiple=True, help="Only for this column; can be given again."
)
@click.option(
    "--jobs", "by_jobs", is_flag=True, help="Have `imgprocessor worker` do it, on any machine."
)
def warm(
    files: Files, what: str, screens: Collection[str], bandwidths: Collection[str], *, by_jobs: bool
) -> int:
    """Make it while no visitor waits; return 1 where some of it cannot be made."""
    settings = files.load()
    policy = load_policy(settings)
    listed = _names(what, settings)
    names = [name for name in listed if is_name(name)]
    for name in sorted({*listed} - {*names}):
        complain_of(ascii(name), "no original may be called so")
    rows = _chosen("--screen", screens, [known.name for known in policy.screens])
    columns = _chosen("--bandwidth", bandwidths, [known.name for known in policy.bandwidths])
    queries = [query for name in names for query in warming_queries(policy, name, rows, columns)]
    failed = 0
    conversions = _conversions(settings, by_jobs=by_jobs)
    for query, wrong in tracked(_made(conversions, queries), "warming", len(queries)):
        if wrong:
            failed += 1
            complain_of(query, wrong)
    print(f"{len(queries) - failed} of {len(queries)} renditions of {len(names)} originals made")
    return int(failed > 0 or len(names) < len(listed))


def _conversions(settings: Settings, *, by_jobs: bool) -> Conversions:
    """Return the part that has it done: by workers anywhere, or by this node's."""
    if by_jobs:
        require_redis(settings.jobs)
        return make_conversions_on_node(settings, make_dispatch(settings.jobs))
    require_owner(settings.disk_cache.folder)
    here = InProcessJobs(max(1, processes(settings) // 2))
    settings = replace(
        settings,
        jobs=replace(settings.jobs, redis=None),
        previews=replace(settings.previews, enabled=False),  # those are drawn by workers
    )
    conversions = make_conversions_on_node(settings, here.dispatch, starts_workers=True)
    here.start(conversions.do)
    return conversions


def _made(conversions: Conversions, queries: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Have all made; yield each with what is wrong with it, empty where nothing is, in order.

    Raises:
        JobsUnavailable: nothing is taken, from the start.
    """
    waiting: deque[tuple[str, str]] = deque()
    for query in queries:
        try:
            while not _begun(conversions, query, waiting):
                yield _first_over(conversions, waiting)
        except BadQuery as error:
            yield query, str(error)
    while waiting:
        yield _first_over(conversions, waiting)


def _begun(conversions: Conversions, query: str, waiting: deque[tuple[str, str]]) -> bool:
    if len(waiting) >= _MAX_AT_ONCE:
        return False
    try:
        record = conversions.begin(Wanted(query, "bulk", "", kind="warm"), None)
    except JobsUnavailable:
        if not waiting:
            raise
        return False
    waiting.append((query, record.job))
    return True


def _first_over(conversions: Conversions, waiting: deque[tuple[str, str]]) -> tuple[str, str]:
    """Wait until the one that waits the longest is over; return what is wrong with it."""
    query, job = waiting.popleft()
    while True:
        try:
            record = conversions.find(job)
        except JobOver:  # all is well, and so it is forgotten
            return query, ""
        except JobsUnavailable as error:
            complain_of("waits", error)
        else:
            if record.is_over:
                return query, record.failure.public if record.failure else ""
        time.sleep(_LOOK_AGAIN_SECONDS)


def _chosen(option: str, chosen: Collection[str], known: list[str]) -> Collection[str]:
    odd = [name for name in chosen if name not in known]
    if odd:
        raise ConfigurationError(f"{option} {odd[0]}: must be one of {', '.join(known)}")
    return chosen or known


def _names(what: str, settings: Settings) -> list[str]:
    """Return the names of originals that an argument stands for.

    Raises:
        ConfigurationError: there are none.
    """
    try:
        if what == "-":
            names = [line.rstrip("\n") for line in sys.stdin]
        elif "://" in what or Path(what).is_dir():
            names = _names_below(what, settings)
        else:
            names = Path(what).read_text().splitlines()
    except (OSError, UnicodeError, ImageError) as error:
        raise ConfigurationError(f"{what}: {getattr(error, 'strerror', None) or error}") from error
    names = [name for name in names if name.strip()]
    if not names:
        raise ConfigurationError(f"{what}: there are no pictures in it")
    return names


def _names_below(what: str, settings: Settings) -> list[str]:
    roots = settings.originals.roots
    for place, root in zip(make_roots(settings, keeps=False), roots, strict=True):
        inner = _inside(what, root)
        if inner is not None:
            return [*_pictures_below(place, inner)]
    raise ConfigurationError(f"{what}: must be {' or '.join(map(str, roots))}, or a folder in it")


def _inside(what: str, root: Path | BucketUrl) -> str | None:
    """Return which folder of a root is meant; None where that is in another one."""
    if isinstance(root, BucketUrl):
        inner = what.rstrip("/").removeprefix(str(root))
        return inner.strip("/") if not inner or (inner != what and inner[0] == "/") else None
    whole, base = Path(what).resolve(), root.resolve()
    if "://" in what or not whole.is_relative_to(base):
        return None
    return str(whole.relative_to(base)).removeprefix(".")


def _pictures_below(place: FolderSource, folder: str) -> Iterator[str]:
    listed = place.listed(folder)
    base = f"{folder}/" if folder else ""
    for name in sorted((*listed.files, *listed.links)):
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
            yield base + name
    for name in sorted(listed.folders):
        if not name.startswith("."):
            yield from _pictures_below(place, base + name)
