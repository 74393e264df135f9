"""The best behind a quick answer: owed, made once, put in its place, and never lost for good."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import images
import pytest
from conftest import find

from imgprocessor.config.settings import Settings
from imgprocessor.errors import (
    Busy,
    DeadlyOriginal,
    ImageError,
    Internal,
    OriginalsUnavailable,
    OversizedOriginal,
)
from imgprocessor.load import load_policy
from imgprocessor.parts import direct_renderer, make_delivery
from imgprocessor.policy.table import Effort
from imgprocessor.rendering.check import Check, Checked
from imgprocessor.rendering.job import Job, Rendered, Renderer
from imgprocessor.rendering.renditions import Renditions
from imgprocessor.service.delivery import Answer
from imgprocessor.service.later import Owed, make_best, owed

PICTURE = "name=nasa.jpeg&width=300&bandwidth=4g&dpr=1&formats=avif%2Bwebp%2Bgif"


class _Later:
    """Notes what is owed."""

    def __init__(self) -> None:
        self.owed: list[Owed] = []

    def note(self, answer: Answer) -> None:
        self.owed.append(owed(answer))


class _Told:
    """Renders in this process, and notes the jobs; fails as it is told."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self.jobs: list[Job] = []
        self.failure: ImageError | None = None
        self.before: Callable[[], object] = lambda: None

    def require_place(self) -> None:
        pass

    def render(self, job: Job) -> Rendered:
        self.jobs.append(job)
        self.before()
        if self.failure is not None:
            raise self.failure
        return self._renderer.render(job)

    def check(self, job: Check) -> Checked:
        return self._renderer.check(job)

    @property
    def efforts(self) -> list[tuple[str | None, bool]]:
        return [(job.plan.effort, job.is_behind) for job in self.jobs]


class _Node:
    """A delivery as a daemon has it, and what it is made of."""

    def __init__(self, settings: Settings, effort: Effort = "behind") -> None:
        self.told, self.later = _Told(direct_renderer(settings)), _Later()
        policy = replace(load_policy(settings), effort=effort)
        self.delivery = make_delivery(settings, policy=policy, keeps=True, renderer=self.told)
        self.delivery.work_later(self.later.note)

    def ask(self, query: str = PICTURE) -> Answer:
        return self.delivery.answer(find(self.delivery, query))

    def work(self) -> None:
        for wanted in self.later.owed:
            make_best(self.delivery, wanted)
        self.later.owed.clear()


@pytest.fixture
def node(settings: Settings) -> _Node:
    return _Node(settings)


def test_the_first_is_quick_and_everybody_after_gets_the_best(node: _Node) -> None:
    first, repeat = node.ask(), node.ask()
    node.work()
    after = node.ask()

    assert [first.is_quick, repeat.is_quick, after.is_quick] == [True, True, False]
    assert first.rendition.body == repeat.rendition.body != after.rendition.body
    assert len(after.rendition.body) < len(first.rendition.body)
    assert (after.source, after.rendition.format) == ("store", "avif")
    assert first.rendition.format == "jpeg"
    assert node.told.efforts == [("at once", False), ("behind", True)]
    # No visitor is refused for the sake of the best.
    assert [job.takes_place for job in node.told.jobs] == [True, False]
    # One key, but validators of their own.
    assert first.found.planned.imagekey == after.found.planned.imagekey
    assert first.etag == repeat.etag == f"{after.etag}-quick"
    assert node.later.owed == []


def test_masters_are_made_with_the_best(node: _Node) -> None:
    """Nobody waits for them, and whoever wants another size does not either."""
    node.ask()
    node.work()
    node.delivery._masters.finish()  # noqa: SLF001

    assert node.ask(PICTURE.replace("300", "250")).source == "master"


def test_on_a_poor_network_the_quick_one_is_light(node: _Node) -> None:
    """Bytes take longer there than an encoder does."""
    query = PICTURE.replace("4g", "3g")
    first = node.ask(query)
    node.work()

    assert (first.rendition.format, first.is_quick) == ("avif", True)
    assert node.told.efforts == [("quick", False), ("behind", True)]
    assert len(node.ask(query).rendition.body) < len(first.rendition.body)


def test_it_is_owed_once_whoever_asks(node: _Node) -> None:
    headers = ({"downlink": "10"}, {"rtt": "50"})
    for hints in headers:
        node.delivery.answer(find(node.delivery, PICTURE.replace("&bandwidth=4g", ""), hints))

    assert len(node.later.owed) == 2
    assert len({*node.later.owed}) == 1


@pytest.mark.parametrize("effort", ["quick", "best"])
def test_a_policy_may_want_neither(settings: Settings, effort: Effort) -> None:
    node = _Node(settings, effort)
    answers = [node.ask(), node.ask()]

    assert not any(answer.is_quick for answer in answers)
    assert node.later.owed == []
    assert node.told.efforts == [(effort, False)]


@pytest.mark.parametrize(
    "query",
    [
        PICTURE.replace("avif%2B", ""),
        "name=nasa.jpeg&width=300&format=jpeg",
        "name=drawn.png",
        "name=nasa.jpeg&lqip=yes",
    ],
)
def test_what_no_time_makes_lighter_is_right_at_once(
    node: _Node, originals: Path, query: str
) -> None:
    images.save(originals / "drawn.png", images.four_colours((400, 300)), "PNG")

    assert not node.ask(query).is_quick
    assert node.later.owed == []


def test_after_a_restart_it_is_owed_again(settings: Settings, node: _Node) -> None:
    node.ask()
    restarted = _Node(settings)

    assert restarted.ask().is_quick
    assert restarted.told.jobs == []
    restarted.work()
    assert not restarted.ask().is_quick


def test_equals_are_made_once(settings: Settings, node: _Node) -> None:
    node.ask()
    others = [_Node(settings) for _ in range(2)]
    for other in others:
        make_best(other.delivery, node.later.owed[0])

    assert [len(other.told.jobs) for other in others] == [1, 0]


@pytest.mark.parametrize(
    ("failure", "is_settled"),
    [
        (Busy(), False),
        (OriginalsUnavailable("x"), False),
        (Internal("x"), False),
        (OversizedOriginal.for_want_of_memory(), False),
        (OversizedOriginal("x"), True),
        (DeadlyOriginal("x"), True),
    ],
    ids=str,
)
def test_a_failure_leaves_the_quick_one(
    node: _Node, failure: ImageError, *, is_settled: bool
) -> None:
    """What fails for good is not tried again and again: the quick one is the best then."""
    first = node.ask()
    node.told.failure = failure
    node.work()
    after = node.ask()

    assert after.rendition.body == first.rendition.body
    assert after.is_quick is not is_settled
    assert len(node.later.owed) == (not is_settled)
    node.told.failure = None
    node.work()
    assert not node.ask().is_quick


def test_nothing_is_made_of_what_has_gone(node: _Node, originals: Path) -> None:
    node.ask()
    (originals / "nasa.jpeg").rename(originals / "away.jpeg")
    make_best(node.delivery, node.later.owed[0])
    (originals / "away.jpeg").rename(originals / "nasa.jpeg")
    images.save(originals / "nasa.jpeg", images.texture((900, 600), seed=2), "JPEG")
    node.work()

    assert len(node.told.jobs) == 1


def test_what_cannot_be_kept_is_put_off(node: _Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.ask()
    monkeypatch.setattr(Renditions, "put", lambda *_: False)

    assert make_best(node.delivery, node.later.owed[0]) == "put_off"


def test_a_purge_wins(node: _Node) -> None:
    """What was begun before it is not kept after it."""
    node.ask()
    node.told.before = lambda: node.delivery.purge("nasa.jpeg")
    node.work()
    node.told.before = lambda: None
    sources = [answer.source for answer in (node.ask(), node.ask())]

    assert sources == ["original", "store"]
    assert node.told.efforts[-1] == ("at once", False)


def test_who_does_not_wait_gets_the_best_at_once(node: _Node) -> None:
    best = node.delivery.answer(find(node.delivery, PICTURE), at_best=True)

    assert not best.is_quick
    assert not node.ask().is_quick
    assert node.told.efforts == [("behind", False)]


def test_who_does_not_wait_gets_no_quick_one_that_is_kept(node: _Node) -> None:
    quick = node.ask()
    best = node.delivery.answer(find(node.delivery, PICTURE), at_best=True)

    assert len(best.rendition.body) < len(quick.rendition.body)
    assert node.ask().rendition == best.rendition


def test_where_nobody_works_later_the_best_is_made(settings: Settings) -> None:
    """As by commands."""
    delivery = make_delivery(settings, keeps=True)

    assert not delivery.answer(find(delivery, PICTURE)).is_quick


@pytest.mark.parametrize("off", ["setting", "nothing kept"])
def test_an_operator_can_switch_it_off(settings: Settings, off: str) -> None:
    kept = 0 if off == "nothing kept" else settings.disk_cache.max_renditions_bytes
    changed = replace(
        settings,
        rendering=replace(settings.rendering, best_behind=off != "setting"),
        disk_cache=replace(settings.disk_cache, max_renditions_bytes=kept),
    )

    assert load_policy(settings).effort == "behind"
    assert load_policy(changed).effort == "quick"
