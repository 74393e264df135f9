"""Whether daemons have threads enough: the arithmetic, and what a process knows of itself."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.config.rendering_settings import RenderingSettings
from imgprocessor.config.settings import RemoteSettings
from imgprocessor.daemons import Daemons, daemons, too_few

FETCHES = RemoteSettings().max_fetches
JOBS_A_CORE = 1 + RenderingSettings().max_waiting_per_worker


@pytest.mark.parametrize(
    ("group", "processes", "threads", "jobs", "wanted"),
    [
        ("imgprocessor", 2, 24, 18, None),  # 2 cores
        ("imgprocessor", 2, 24, 45, None),  # 5 cores
        ("imgprocessor", 2, 24, 54, 28),  # 6 cores
        ("imgprocessor", 2, 36, 54, None),
        ("imgprocessor", 2, 24, 47, None),
        ("imgprocessor", 2, 24, 48, 25),
        ("imgprocessor", 1, 1, 0, None),
        ("imgprocessor", 1, 1, 1, 2),
        ("imgprocessor", 3, 5, 17, 6),
        ("imgprocessor", 3, 5, 18, 7),
        ("imgremote", 1, 24, 54, None),
        ("imgremote", 1, 17, 54, None),
        ("imgremote", 1, 16, 1, 17),
        ("imguploads", 1, 64, 90, None),
    ],
)
def test_the_arithmetic(
    group: str, processes: int, threads: int, jobs: int, wanted: int | None
) -> None:
    said = too_few(Daemons(group, processes, threads), max_jobs=jobs, max_fetches=FETCHES)

    assert (said is None) == (wanted is None)
    if said is not None:
        assert f"{processes} x {threads} = {processes * threads} in the daemons {group}" in said
        assert said.endswith(f": Define IMG_THREADS {wanted} or more in the virtual host")
        assert "\n" not in said


@pytest.mark.parametrize("threads", [50, 51])
def test_daemons_that_render_fetch_from_buckets_too(threads: int) -> None:
    found = Daemons("imgprocessor", 1, threads)

    assert too_few(found, max_jobs=18, max_fetches=FETCHES) is None
    said = too_few(found, max_jobs=18, max_fetches=FETCHES, has_buckets=True)
    assert (said is None) == (threads == 51)
    if said is not None:
        assert "where 50 jobs may be rendered" in said
        assert "or fetch from buckets (twice [remote] max_fetches), and what is kept waits" in said
    remote = Daemons("imgremote", 1, 17)
    assert too_few(remote, max_jobs=18, max_fetches=FETCHES, has_buckets=True) is None


@pytest.mark.parametrize(("cores", "enough"), [(1, True), (2, True), (5, True), (6, False)])
def test_the_defaults_are_enough_for_as_many_cores_as_the_documents_say(
    cores: int,
    *,
    enough: bool,
) -> None:
    delivered, advised = Daemons("imgprocessor", 2, 24), Daemons("imgprocessor", 2, 6 * cores)
    jobs = JOBS_A_CORE * cores

    assert (too_few(delivered, max_jobs=jobs, max_fetches=FETCHES) is None) == enough
    assert too_few(advised, max_jobs=jobs, max_fetches=FETCHES) is None


@given(*[st.integers(1, 500)] * 3, st.sampled_from(["imgprocessor", "imgremote"]))
def test_what_is_named_will_do_and_is_the_least(
    processes: int, threads: int, most: int, group: str
) -> None:
    said = too_few(Daemons(group, processes, threads), max_jobs=most, max_fetches=most)
    if said is None:
        return
    (wanted,) = map(int, re.findall(r"IMG_THREADS (\d+)", said))

    assert wanted > threads
    assert too_few(Daemons(group, processes, wanted), max_jobs=most, max_fetches=most) is None
    assert too_few(Daemons(group, processes, wanted - 1), max_jobs=most, max_fetches=most)


def test_outside_of_apache_there_are_no_daemons() -> None:
    assert daemons() is None
