"""What workers can draw, and what is said where none can."""

import json
from collections.abc import Sequence

import pytest
from sketches import Hand, HandSandbox, Sketch

from imgprocessor.config.jobs_settings import DOCUMENT_KINDS
from imgprocessor.images.previews.registry import KINDS
from imgprocessor.jobs.previews.ability import Abilities, Ability, readiness_of
from imgprocessor.jobs.previews.sandbox import NoSandbox, Sandbox
from imgprocessor.jobs.previews.ways import Landlock
from imgprocessor.service.readiness import OK


class Machine:
    """Where a sandbox is found, or not."""

    def __init__(self) -> None:
        self.lacking: NoSandbox | None = None
        self.looks = 0
        self.sandbox = HandSandbox(Landlock(), [], Hand())

    def find(self) -> Sandbox:
        """Find one."""
        self.looks += 1
        if self.lacking is not None:
            raise self.lacking
        return self.sandbox


@pytest.fixture
def sketch(monkeypatch: pytest.MonkeyPatch) -> Sketch:
    """The only kind of document."""
    kind = Sketch()
    monkeypatch.setattr("imgprocessor.jobs.previews.ability.KINDS", [kind])
    return kind


def test_settings_name_the_kinds_that_there_are() -> None:
    assert tuple(sorted(kind.name for kind in KINDS)) == tuple(sorted(DOCUMENT_KINDS))


def test_a_worker_draws_what_lacks_nothing(sketch: Sketch) -> None:
    abilities = Abilities(["sketch"], Machine().find)

    assert abilities.ability == Ability("landlock", {"sketch": OK})
    sketch.lacking = "Pencil is not installed (Debian: pencil)"
    assert abilities.look() == Ability("landlock", {"sketch": sketch.lacking})
    sketch.lacking = None
    assert abilities.look().kinds == {"sketch": OK}


def test_a_worker_says_nothing_of_kinds_that_are_not_wanted(sketch: Sketch) -> None:
    del sketch
    assert Abilities(["pdf"], Machine().find).ability.kinds == {}


@pytest.mark.usefixtures("sketch")
def test_without_a_sandbox_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """The operator is told where, once; others are not."""
    machine = Machine()
    machine.lacking = NoSandbox("the folder of jobs cannot be written", "/secret: Read-only")
    abilities = Abilities(["sketch"], machine.find)
    abilities.look()

    state = "there is no sandbox: the folder of jobs cannot be written"
    assert abilities.ability == Ability("", {"sketch": state})
    assert abilities.no_sandbox == "/secret: Read-only"
    assert capsys.readouterr().err.count("/secret: Read-only") == 1
    machine.lacking = None
    assert abilities.look() == Ability("landlock", {"sketch": OK})
    assert abilities.sandbox is machine.sandbox


@pytest.mark.usefixtures("sketch")
def test_a_sandbox_is_looked_for_until_it_is_found_and_once_it_failed() -> None:
    machine = Machine()
    abilities = Abilities(["sketch"], machine.find)
    abilities.look()
    assert machine.looks == 1

    abilities.sandbox_failed()
    assert abilities.sandbox is None
    machine.lacking = NoSandbox("bubblewrap is not installed", "it has gone")
    assert abilities.look().sandbox == ""
    machine.lacking = None
    assert abilities.look() == Ability("landlock", {"sketch": OK})
    abilities.look()
    assert machine.looks == 3


def _announced(*workers: dict[str, str], wanted: Sequence[str] | None = None) -> str:
    """Say what is drawn of the kinds that are wanted: by default of those that the first has."""
    texts = [Ability("landlock", kinds).to_text() for kinds in workers]
    return readiness_of(texts, [*workers[0]] if wanted is None else wanted)


def test_what_a_worker_announces_can_be_read() -> None:
    assert json.loads(Ability("landlock", {"pdf": OK}).to_text()) == {
        "sandbox": "landlock",
        "kinds": {"pdf": OK},
    }


def test_what_one_worker_draws_is_drawn() -> None:
    here = {"pdf": OK, "raw": "rawpy is missing", "svg": OK}
    there = {"pdf": "pypdfium2 is missing", "raw": OK, "svg": OK}

    assert _announced(here, there) == OK
    assert _announced(there, here) == OK
    assert _announced(here, here, there) == OK


def test_what_no_worker_draws_is_said_and_why() -> None:
    one = {"pdf": OK, "raw": "no rawpy", "office": "no LibreOffice", "video": "no LibreOffice"}
    two = {"pdf": "no sandbox", "raw": "no rawpy", "office": "no LibreOffice", "video": OK}

    assert _announced(one) == "raw: no rawpy; office, video: no LibreOffice"
    assert _announced(one, two) == "raw: no rawpy; office: no LibreOffice"
    assert _announced(two, one) == "raw: no rawpy; office: no LibreOffice"


def test_without_workers_nothing_is_drawn() -> None:
    assert readiness_of([], ["pdf"]) == "there is no worker"


def test_what_is_shown_and_no_worker_knows_is_said() -> None:
    """Its settings are others; what only they name does not count."""
    worker = {"pdf": OK, "raw": "no rawpy"}

    assert _announced(worker, wanted=["pdf"]) == OK
    told = "video: not among [previews] kinds of the workers"
    assert _announced(worker, wanted=["pdf", "video"]) == told
