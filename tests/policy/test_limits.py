"""The ladder: what requests may name where the policy has one."""

from dataclasses import replace
from pathlib import Path

import images
import pytest
from conftest import ROOT
from flask.testing import FlaskClient

from imgprocessor.__main__ import main
from imgprocessor.app import make_web
from imgprocessor.config.settings import PolicySettings, Settings
from imgprocessor.errors import ConfigurationError
from imgprocessor.load import answers_digest, load_policy
from imgprocessor.policy import negotiation
from imgprocessor.policy.limits import Allowed
from imgprocessor.policy.negotiation import permit
from imgprocessor.policy.parse import parse_policy
from imgprocessor.policy.table import Policy
from imgprocessor.request.parameters import PARAMETERS, Ladder
from imgprocessor.request.query import parse_query

SHIPPED = (ROOT / "conf" / "policy.ini").read_text()
LADDER = "[allowed]\nsizes = 640 160 320\nqualities = 40 60\nbudgets = 20kB 50kB\n"
ALLOWED = {"sizes": (160, 320, 640), "qualities": (40, 60), "budgets": (20_000, 50_000)}


def parsed(section: str) -> Policy:
    """Return the delivered policy with a section more."""
    return parse_policy(f"{SHIPPED}\n{section}", "policy.ini")


def test_the_section_is_read() -> None:
    assert parsed(LADDER).allowed == Allowed(ALLOWED)
    assert parsed("").allowed == Allowed()
    assert parsed("[allowed]\nsizes = 160").allowed == Allowed({"sizes": (160,)})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "[allowed]\n",
            "[allowed] allowed: names nothing; there are page, crop, sizes, max_height, fit",
        ),
        (
            "[allowed]\nwidths = 160",
            "[allowed] widths: no such key; there are page, crop, sizes, max_height, fit",
        ),
        ("[allowed]\nsizes =", "[allowed] sizes: must have 1 to 50 words, such as 640"),
        ("[allowed]\nsizes = 160 160", "[allowed] sizes: '160': named twice"),
        ("[allowed]\nsizes = 160px", "[allowed] sizes: '160px' must be a whole number, at least 1"),
        ("[allowed]\nsizes = 0", "[allowed] sizes: '0' must be spelled such as 640"),
        ("[allowed]\nsizes = 0160", "[allowed] sizes: '0160' must be spelled such as 640"),
        ("[allowed]\nqualities = 101", "[allowed] qualities: '101' must be a whole number from 1"),
        ("[allowed]\nqualities = q40", "[allowed] qualities: 'q40' must be a whole number from 1"),
        ("[allowed]\nbudgets = 20000", "[allowed] budgets: '20000' must be spelled such as 1000kB"),
        (
            "[allowed]\nbudgets = 0kB",
            "[allowed] budgets: '0kB' must be a whole number of bytes, at",
        ),
        (
            "[allowed]\nfit = cover stretch",
            "[allowed] fit: 'stretch' must be inside, force or cover",
        ),
        (f"[allowed]\nsizes = {' '.join(map(str, range(1, 52)))}", "[allowed] sizes: must have 1"),
    ],
)
def test_a_section_that_is_wrong_stops_the_start(section: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parsed(section)

    said = str(raised.value)
    assert said.startswith("policy.ini: line ")
    assert message in said


def test_a_screen_cannot_be_called_so() -> None:
    with pytest.raises(ConfigurationError, match="none of"):
        parse_policy(SHIPPED.replace("phone", "allowed"), "policy.ini")


@pytest.mark.parametrize(
    ("rest", "wrong"),
    [
        ("width=160", []),
        ("width=0160&height=640&fit=cover", []),
        ("width=0&height=", []),
        ("quality=60&max_bytes=20000", []),
        ("dpr=2.2&bandwidth=3g&screen=333", []),
        ("width=161", ["width=161: the policy allows 160, 320, 640"]),
        ("height=1", ["height=1: the policy allows 160, 320, 640"]),
        ("quality=41", ["quality=41: the policy allows 40, 60"]),
        ("max_bytes=20001", ["max_bytes=20001: the policy allows 20000, 50000"]),
        ("fit=force&format=png", []),
    ],
)
def test_what_is_not_on_the_ladder_is_refused(rest: str, wrong: list[str]) -> None:
    query = parse_query(f"name=a.jpg&{rest}", 4096)
    policy = parsed(LADDER)

    permitted, problems = permit(query, policy)

    assert problems == wrong
    assert permit(query, parsed("")) == (query, [])
    assert permit(permitted, policy) == (permitted, [])
    if not wrong:
        assert permitted == query


def test_a_row_that_the_section_names_takes_what_it_lists() -> None:
    policy = parsed("[allowed]\nfit = cover\nformat = webp\n")
    query = parse_query("name=a&width=5&fit=force&format=png", 4096)

    assert permit(query, policy)[1] == [
        "fit=force: the policy allows cover",
        "format=png: the policy allows webp",
    ]
    for rest in ("", "&fit=inside", "&fit=cover&format=webp&width=77", "&format=auto"):
        assert permit(parse_query(f"name=a{rest}", 4096), policy)[1] == []


def test_a_row_that_no_section_names_takes_its_default_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As every row that comes later does."""
    later = replace(PARAMETERS["fit"], ladder=Ladder())
    monkeypatch.setattr(negotiation, "AUTHORS", (later,))
    query = parse_query("name=a&fit=force", 4096)

    assert permit(query, parsed(""))[1] == []
    assert permit(query, parsed(LADDER))[1] == ["fit=force: the policy allows inside alone"]


def test_only_what_is_wrong_is_left_out() -> None:
    query = parse_query("name=a.jpg&width=161&height=320&fit=force&quality=60&max_bytes=9999", 4096)
    left = parse_query("name=a.jpg&height=320&fit=force&quality=60", 4096)

    assert permit(query, parsed(LADDER))[0] == left
    none, _ = permit(parse_query("name=a.jpg&width=161&height=321", 4096), parsed(LADDER))
    assert none.box is None


@pytest.fixture
def ladder_settings(settings: Settings, tmp_path: Path) -> Settings:
    """The delivered policy with a ladder."""
    file = tmp_path / "policy.ini"
    file.write_text(f"{SHIPPED}\n{LADDER}")
    return replace(settings, policy=PolicySettings(file))


@pytest.fixture
def ladder(ladder_settings: Settings) -> FlaskClient:
    """A client of an application whose policy has a ladder."""
    return make_web(ladder_settings).test_client()


def test_a_picture_on_the_ladder_is_as_it_was(ladder: FlaskClient, client: FlaskClient) -> None:
    for rest in ("", "&width=160&height=160&fit=force", "&width=320&quality=40&max_bytes=20000"):
        one, other = (web.get(f"/images/?name=nasa.jpeg{rest}") for web in (ladder, client))
        assert one.status_code == 200
        assert one.headers["imagekey"] == other.headers["imagekey"]
        assert one.data == other.data


def test_what_is_refused_says_all_that_is_allowed(ladder: FlaskClient) -> None:
    answer = ladder.get("/images/?name=nasa.jpeg&width=161&quality=41")

    assert (answer.status_code, answer.headers["image-error"]) == (400, "bad-query")
    assert answer.headers["image-error-detail"] == (
        "width=161: the policy allows 160, 320, 640; quality=41: the policy allows 40, 60"
    )
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "rest",
    [
        "name=nasa.jpeg&width=161&height=99&fit=force&quality=41&max_bytes=1234",
        "name=../x&width=161&fit=force",
        "width=161&height=oops",
    ],
)
def test_the_placeholder_keeps_to_the_ladder(ladder: FlaskClient, rest: str) -> None:
    answer = ladder.get(f"/images/?{rest}&screen=phone&bandwidth=2g")

    assert answer.status_code == 400
    assert answer.headers["imagekey"].startswith("404image.png_-_-_-_-_2g_phone_jpeg_-_")
    assert images.decoded(answer.data).size == (640, 480)


def test_the_digest_changes_only_with_the_ladder(
    settings: Settings, ladder_settings: Settings
) -> None:
    policy = ladder_settings.policy.file
    with_ladder = _digest(ladder_settings)
    policy.write_text(f"{SHIPPED}\n{LADDER.replace('640', '641')}")
    other = _digest(ladder_settings)
    policy.write_text(SHIPPED)

    assert len({with_ladder, other, _digest(ladder_settings)}) == 3
    assert _digest(ladder_settings) == _digest(settings)


def test_the_commands_tell_the_ladder(
    originals: Path, ladder_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--originals", str(originals), "--policy", str(ladder_settings.policy.file)]
    assert main(["policy", "check", *files]) == 0
    assert "can be used" in capsys.readouterr().out
    assert main(["policy", "show", *files]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "allowed: sizes 160 320 640, qualities 40 60, budgets 20kB 50kB" in told
    assert main(["policy", "explain", "name=nasa.jpeg&width=161", *files]) == 0
    assert "400 bad-query: width=161: the policy allows 160, 320" in capsys.readouterr().out


def _digest(settings: Settings) -> str:
    return answers_digest(settings, load_policy(settings))
