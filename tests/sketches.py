"""Documents of a kind that is made up: what comes of drawing one is up to each test."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import images

from imgprocessor.geometry import Page
from imgprocessor.images.previews.kind import Drawn, Ended, Ends, Run, SandboxStep
from imgprocessor.jobs.previews.ability import Abilities
from imgprocessor.jobs.previews.sandbox import Sandbox
from imgprocessor.jobs.previews.steps import ConfinedRun
from imgprocessor.jobs.previews.ways import Landlock
from imgprocessor.rendering.job import DirectRenderer, Job, Rendered
from imgprocessor.rendering.masters import Masters

SKETCH = b"sketch of a page"
RESULT = "page.png"
PAGES = 3

GOOD = images.encoded(images.four_colours((40, 30)), "PNG")


class Sketch:
    """A kind of document. `document_kind` knows it where `KINDS` is replaced by it."""

    name = "sketch"
    title = "Sketch"
    suffixes: Sequence[str] = (".sketch",)

    def __init__(self) -> None:
        self.lacking: str | None = None

    def is_one(self, ends: Ends) -> bool:
        """Whether it begins so."""
        return ends.head.startswith(b"sketch")

    def lacks(self) -> str | None:
        """Say what is missing."""
        return self.lacking

    def draw(self, run: Run, page: Page, side_pixels: int) -> Drawn:
        """Draw a page in one step."""
        run(SandboxStep(["/usr/bin/sketch", str(page), str(side_pixels)]))
        return Drawn(run.folder / RESULT, PAGES)


class Hand:
    """Draws in place of programs: what a test says."""

    def __init__(self) -> None:
        self.draws: list[tuple[str, bytes]] = []
        """The pages, and the documents' bytes."""
        self.does: Callable[[ConfinedRun], object] = leaves(GOOD)

    def draw(self, run: ConfinedRun, step: SandboxStep) -> Ended:
        """Note what is drawn, and do it."""
        self.draws.append((step.command[1], run.document.read_bytes()))
        self.does(run)
        return Ended(0, "")


def leaves(body: bytes) -> Callable[[ConfinedRun], object]:
    """Return what leaves such a result."""
    return lambda run: (run.folder / RESULT).write_bytes(body)


def raises(error: Exception) -> Callable[[ConfinedRun], object]:
    """Return what fails."""

    def fail(_: ConfinedRun) -> None:
        raise error

    return fail


@dataclass(frozen=True)
class HandSandbox(Sandbox):
    """Confines nothing: no program is run in it."""

    hand: Hand

    def running(
        self,
        document: Path,
        folder: Path,
        seconds: float,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> ConfinedRun:
        """Return what draws by hand."""
        deadline = time.monotonic() + seconds
        return _HandRun(
            self.way, lambda _: [], document, folder, deadline, is_wanted, hand=self.hand
        )


@dataclass(frozen=True)
class _HandRun(ConfinedRun):
    hand: Hand

    def __call__(self, step: SandboxStep) -> Ended:
        return self.hand.draw(self, step)


def abilities_of(hand: Hand) -> Abilities:
    """Return a worker's abilities, by hand; `KINDS` is replaced already."""
    return Abilities([Sketch.name], lambda: HandSandbox(Landlock(), [], hand))


class SettledRenderer(DirectRenderer):
    """One that has kept its masters when it answers."""

    def __init__(self, masters: Masters) -> None:
        super().__init__(masters)
        self._kept = masters
        self.first: Callable[[], object] = lambda: None
        """Is done before anything is rendered."""
        self.then: Callable[[], object] = lambda: None
        """Is done when it is, and kept."""

    def render(self, job: Job) -> Rendered:
        """Make a rendition."""
        self.first()
        rendered = super().render(job)
        self._kept.finish()
        self.then()
        return rendered
