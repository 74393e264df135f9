"""Signed links: only what a key signed is answered, and as long as it is said to be."""

import hmac
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import images
import pytest
import strategies
from flask.testing import FlaskClient
from hypothesis import assume, given
from hypothesis import strategies as st

from imgprocessor.__main__ import main
from imgprocessor.app import make_web
from imgprocessor.config.settings import FreshnessSettings, Settings, SigningSettings
from imgprocessor.errors import BadQuery, BadSignature, ConfigurationError
from imgprocessor.request.parameters import PARAMETERS, ImageQuery
from imgprocessor.request.query import parse, parse_query
from imgprocessor.request.signing import Signing, canonical, sign
from imgprocessor.service.delivery import Answer, Delivery, Found
from imgprocessor.web.caching import until

KEY, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2
SIGNING = Signing((KEY,))
NOW = 1_800_000_000
LINK = "name=cats/tom.png&width=340&height=400&fit=cover&quality=60&max_bytes=20000&format=webp"


def accepted(query_string: str, now: float = NOW, signing: Signing = SIGNING) -> bool:
    """Whether a link is answered."""
    try:
        signing.require(parse(query_string, 4096), now)
    except (BadSignature, BadQuery):
        return False
    return True


def test_what_scripts_write_is_free_and_all_else_is_signed() -> None:
    free = {name for name, row in PARAMETERS.items() if not row.is_signed}

    assert free == {"bandwidth", "screen", "dpr", "formats"}


@pytest.mark.parametrize(
    ("query_string", "expected"),
    [
        ("name=a.jpg", "name=a.jpg"),
        ("width=0300&name=a.jpg", "name=a.jpg&width=300"),
        ("name=a.jpg&width=0&height=&quality=00&format=auto&fit=inside", "name=a.jpg"),
        ("name=%61%2Fb+c%20d.jpg", "name=a/b%20c%20d.jpg"),
        ("name=\xc3\xbc%26%3D.jpg", "name=%C3%BC%26%3D.jpg"),
        ("name=a!'()*~.jpg", "name=a%21%27%28%29%2A~.jpg"),
        ("name=a.jpg&fsize=1&width=5", "fit=force&name=a.jpg&width=5"),
        ("name=a.jpg&bandwidth=2g&screen=phone&dpr=2&utm_source=x", "name=a.jpg"),
        (
            "name=b/c&width=3&height=4&fit=cover&quality=6&max_bytes=2000&format=webp",
            "fit=cover&format=webp&height=4&max_bytes=2000&name=b/c&quality=6&width=3",
        ),
    ],
)
def test_the_canonical_form(query_string: str, expected: str) -> None:
    assert canonical(parse_query(query_string, 4096)) == expected


def test_the_signature_is_what_is_documented() -> None:
    """Worked out anew from the words of `docs/signing.md`: other programs sign, too."""
    signed = sign("/images/?width=300&name=a.jpg#top", KEY, NOW)
    message = f"imgprocessor link 1\nexpires={NOW}&name=a.jpg&width=300"
    digest = hmac.digest(KEY.encode(), message.encode(), "sha256")

    start, _, fragment = signed.partition("#")
    assert fragment == "top"
    assert start.startswith(f"/images/?width=300&name=a.jpg&expires={NOW}&signature=")
    assert urlsafe_b64decode(start.rpartition("=")[2] + "=") == digest


def test_the_signature_of_an_original_is_what_is_documented() -> None:
    signed = sign("https://x.example/full/b%2e/%C3%A9.jpg?download=yes", KEY, NOW)
    message = f"imgprocessor full 1\n/b./%C3%A9.jpg?download=yes&expires={NOW}"
    digest = hmac.digest(KEY.encode(), message.encode(), "sha256")

    assert urlsafe_b64decode(signed.rpartition("signature=")[2] + "=") == digest


def test_signing_anew_replaces_what_was_there() -> None:
    once = sign("http://h/images/?name=a.jpg", KEY, NOW)

    assert sign(once, KEY, NOW) == once
    assert sign(once, KEY) == sign("http://h/images/?name=a.jpg", KEY)
    assert sign("name=a.jpg", KEY) == urlsplit(sign("/images/?name=a.jpg", KEY)).query


@pytest.mark.parametrize("expires", [0, -1, 10**12])
def test_what_is_no_moment_is_not_signed(expires: int) -> None:
    with pytest.raises(ValueError, match="seconds since 1970"):
        sign("name=a.jpg", KEY, expires)


@pytest.mark.parametrize("wrong", ["width=1", "name=../a", "name=a&width=x", "name=a&name=b"])
def test_what_makes_no_sense_is_not_signed(wrong: str) -> None:
    with pytest.raises(BadQuery):
        sign(wrong, KEY)


# What is accepted, and what is not: C4.


@pytest.mark.parametrize("expires", [None, NOW + 1])
def test_no_bit_of_a_signature_may_differ(expires: int | None) -> None:
    head, mark, signature = sign(LINK, KEY, expires).rpartition("signature=")
    assert accepted(f"{head}{mark}{signature}")

    for place, letter in enumerate(signature):
        for bit in range(8):
            flipped = chr(ord(letter) ^ (1 << bit))
            other = f"{signature[:place]}{flipped}{signature[place + 1 :]}"
            assert not accepted(f"{head}{mark}{other}"), other


def test_no_bit_of_what_is_signed_may_differ() -> None:
    signed = sign(LINK, KEY, NOW + 1)
    end = signed.index("&signature=")
    asked = parse_query(signed, 4096)
    same = 0
    for place in range(end):
        for bit in range(8):
            other = f"{signed[:place]}{chr(ord(signed[place]) ^ (1 << bit))}{signed[place + 1 :]}"
            if accepted(other):
                # Nothing but another spelling of the same.
                assert parse_query(other, 4096) == asked, other
                same += 1
    assert same < 5


@pytest.mark.parametrize(
    "change",
    [
        lambda link: link.rpartition("&signature=")[0],
        lambda link: link[:-1],
        lambda link: f"{link}A",
        lambda link: f"{link}=",
        lambda link: f"{link}%3D",
        lambda link: link.replace("signature=", "Signature="),
        lambda link: link.replace("signature=", "%73ignature="),
        lambda link: f"{link}&{link.rpartition('&')[2]}",
        lambda link: f"{link}&signature=",
        lambda link: f"signature&{link}",
        lambda link: f"{link}&expires={NOW + 9}",
        lambda link: f"{link}&expires",
        lambda link: link.replace(f"expires={NOW + 9}", ""),
        lambda link: link.replace(f"expires={NOW + 9}", "expires="),
        lambda link: link.replace(f"expires={NOW + 9}", f"expires=0{NOW + 9}"),
        lambda link: link.replace(f"expires={NOW + 9}", f"expires={NOW + 10}"),
        lambda link: link.replace(f"expires={NOW + 9}", f"expires=+{NOW + 9}"),
        lambda link: link.replace("width=340", "width=341"),
        lambda link: link.replace("&width=340", ""),
        lambda link: link.replace("tom", "tim"),
        lambda link: f"{link}&name=cats/tom.png",
        lambda link: f"{link}&width=340",
        lambda link: f"{link}&fsize=1",
        lambda link: link.replace("&format=webp", "&format=auto"),
        lambda link: link.rpartition("=")[0] + "=" + "A" * 43,
        lambda link: sign(link, OTHER, NOW + 9),
        lambda link: sign(link.replace("tom", "tim"), KEY).rpartition("&")[2] + "&" + link,
    ],
)
def test_what_nobody_signed_is_not_accepted(change: Callable[[str], str]) -> None:
    link = sign(LINK, KEY, NOW + 9)
    assert accepted(link)

    assert not accepted(change(link))


@pytest.mark.parametrize(
    "change",
    [
        lambda link: "&".join(reversed(link.split("&"))),
        lambda link: f"{link}&screen=412&dpr=2.625&bandwidth=3g",
        lambda link: f"utm_source=x&{link}",
        lambda link: link.replace("width=340", "width=0340"),
        lambda link: link.replace("cats/tom", "cats%2Ftom"),
    ],
)
def test_another_spelling_of_what_was_signed_is(change: Callable[[str], str]) -> None:
    assert accepted(change(sign(LINK, KEY, NOW + 9)))


def test_a_link_ends_when_it_says() -> None:
    link = sign(LINK, KEY, NOW)

    assert SIGNING.require(parse(link, 4096), NOW - 0.001) == NOW
    for now in (NOW, NOW + 0.5, NOW + 10**9):
        with pytest.raises(BadSignature, match="expired"):
            SIGNING.require(parse(link, 4096), now)
    # Who has no key does not learn what has expired.
    with pytest.raises(BadSignature, match="no key signs"):
        SIGNING.require(parse(sign(LINK, OTHER, NOW), 4096), NOW + 1)


def test_keys_can_be_rotated() -> None:
    old, new = sign(LINK, KEY), sign(LINK, OTHER)
    both, later = Signing((OTHER, KEY)), Signing((OTHER,))

    assert [accepted(link, signing=both) for link in (old, new)] == [True, True]
    assert [accepted(link, signing=later) for link in (old, new)] == [False, True]


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = hmac.compare_digest

    def counted(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    assert accepted(sign(LINK, KEY), signing=Signing((KEY, OTHER, "x" * 32)))
    assert compared == [(43, 43)] * 3


def test_keys_are_in_no_message() -> None:
    assert KEY not in repr(SIGNING)
    with pytest.raises(BadSignature) as raised:
        SIGNING.require(parse(sign(LINK, OTHER), 4096), NOW)
    assert KEY not in str(raised.value)


@given(strategies.parameters, strategies.parameters)
def test_who_means_something_else_has_another_form(
    one: dict[str, str], other: dict[str, str]
) -> None:
    forms = []
    for values in (one, other):
        try:
            asked = parse_query(strategies.query_string(values), 4096)
        except BadQuery:
            assume(False)
        meant = replace(asked, bandwidth=None, screen=None, dpr=None, formats=None)
        forms.append((meant, canonical(asked)))

    assert (forms[0][0] == forms[1][0]) == (forms[0][1] == forms[1][1])


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(
    lambda name: not set(name) & set(map(chr, [*range(32), 127])) and "\\" not in name
)


@given(NAMES, NAMES, st.integers(1, 99), st.integers(1, 99))
def test_no_name_imitates_other_parameters(one: str, other: str, width: int, high: int) -> None:
    """As if a name could hold `&width=9`, decoded."""
    forms = {
        (name, quality): canonical(ImageQuery(name, quality=quality))
        for name in (one, other, f"{one}&quality={width}", f"{other}&quality={high}")
        for quality in (None, width, high)
    }
    assert len(set(forms.values())) == len(forms)


@given(strategies.parameters, st.none() | st.integers(NOW + 1, 10**12 - 1), st.randoms())
def test_what_is_signed_is_accepted_in_any_order(
    values: dict[str, str], expires: int | None, chance: object
) -> None:
    query_string = strategies.query_string(values)
    try:
        parse_query(query_string, 4096)
    except BadQuery:
        return
    parts = sign(query_string, KEY, expires).split("&")
    chance.shuffle(parts)  # type: ignore[attr-defined]

    assert SIGNING.require(parse("&".join(parts), 4096), NOW) == expires


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_nothing_is_kept_beyond_the_end(own: int, poor: int, shared: int, left: int) -> None:
    """Also where a cache hands on its copy on the last second, and says nothing of its age."""
    found = until(FreshnessSettings(own, poor, shared), left)

    assert max(found.max_age_seconds, found.degraded_max_age_seconds) <= max(own, poor)
    assert found.shared_max_age_seconds <= shared
    assert found.shared_max_age_seconds + found.max_age_seconds <= left
    assert found.shared_max_age_seconds + found.degraded_max_age_seconds <= left
    assert found.not_found_max_age_seconds * 2 <= left
    assert found.stale_if_error_seconds == found.stale_while_revalidate_seconds == 0


# The whole application.


@pytest.fixture
def signed_settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with two keys."""
    file = tmp_path / "keys"
    file.write_text(f"# the new one\n{KEY}\n\n  {OTHER}  \n")
    file.chmod(0o600)
    return replace(settings, signing=SigningSettings(file))


@pytest.fixture
def signed(signed_settings: Settings) -> FlaskClient:
    """A client of an application that has links signed."""
    return make_web(signed_settings).test_client()


def url(rest: str, key: str = KEY, expires: int | None = None) -> str:
    return sign(f"/images/?{rest}", key, expires)


def test_without_keys_nobody_knows_signatures(client: FlaskClient) -> None:
    plain = client.get("/images/?name=nasa.jpeg&width=64")
    odd = client.get("/images/?name=nasa.jpeg&width=64&signature=x&signature=y&expires=1")

    assert odd.status_code == plain.status_code == 200
    assert odd.headers["imagekey"] == plain.headers["imagekey"]


def test_the_signature_is_no_part_of_the_imagekey(signed: FlaskClient, client: FlaskClient) -> None:
    plain = client.get("/images/?name=nasa.jpeg&width=64")
    for link in (
        url("name=nasa.jpeg&width=64"),
        url("name=nasa.jpeg&width=64", OTHER),
        url("name=nasa.jpeg&width=64", KEY, int(time.time()) + 9999),
    ):
        answer = signed.get(link)
        assert answer.status_code == 200
        for header in ("imagekey", "ETag", "Vary", "xkey"):
            assert answer.headers[header] == plain.headers[header]
        assert (
            signed.get(link, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
        )


@pytest.mark.parametrize(
    "rest",
    [
        "name=nasa.jpeg&width=64",
        "name=none.jpeg&width=64",
        f"name=nasa.jpeg&width=64&signature={'A' * 43}",
        sign("name=nasa.jpeg&width=65", KEY).replace("65", "64"),
        sign("name=nasa.jpeg&width=64", "another key, of those that nobody has"),
    ],
)
def test_what_is_not_signed_tells_nothing(signed: FlaskClient, rest: str) -> None:
    """Neither whether there is such a picture, nor what was wrong with the signature."""
    told = []
    for method in (signed.get, signed.head):
        answer = method(f"/images/?{rest}")
        assert answer.status_code == 403
        assert answer.headers["image-error"] == "bad-signature"
        assert answer.headers["image-error-detail"] == "This link is not signed as it must be."
        assert answer.headers["Cache-Control"] == "no-store"
        told.append(dict(answer.headers))
    problem = signed.get(f"/images/?{rest}", headers={"Accept": "application/json"})
    assert problem.get_json()["status"] == 403
    first = signed.get("/images/?name=nasa.jpeg")
    assert told[0]["imagekey"] == first.headers["imagekey"]


def test_a_link_that_has_expired_says_so(signed: FlaskClient) -> None:
    answer = signed.get(url("name=nasa.jpeg&width=64", KEY, int(time.time())))

    assert (answer.status_code, answer.headers["Cache-Control"]) == (403, "no-store")
    assert answer.headers["image-error-detail"] == "This link has expired."


def test_an_expiry_is_not_remembered(signed: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    link = url("name=nasa.jpeg&width=64", KEY, NOW)
    for now, status in ((NOW - 1, 200), (NOW - 1, 200), (NOW, 403), (NOW - 1, 200)):
        monkeypatch.setattr(time, "time", lambda now=now: float(now))
        assert signed.get(link).status_code == status


@pytest.mark.parametrize("bad", ["", "&fit=wrong", "&width=100", "&signature=x"])
def test_a_refusal_makes_no_sizes(signed: FlaskClient, bad: str) -> None:
    """The placeholder is the visitor's, whatever was asked for, if nobody signed that."""
    asked = "name=nasa.jpeg&width=317&height=211&fit=force&quality=7&max_bytes=4321&format=png"
    plain = signed.get("/images/?name=x&screen=phone&bandwidth=2g")
    answer = signed.get(f"/images/?{asked}{bad}&screen=phone&bandwidth=2g")

    assert answer.status_code in {400, 403}
    assert answer.headers["imagekey"] == plain.headers["imagekey"]
    assert answer.headers["imagekey"].startswith("404image.png_-_-_-_-_2g_phone_jpeg_-_")
    assert images.decoded(answer.data).size == (640, 480)


@pytest.mark.parametrize("path", ["/images/else?name=a&width=317", "/images/-/x?width=317"])
def test_other_paths_make_no_sizes_either(signed: FlaskClient, path: str) -> None:
    assert "_317x" not in signed.get(path).headers["imagekey"]
    assert "_317x" not in signed.post("/images/?name=a&width=317").headers["imagekey"]


def test_a_missing_picture_is_told_to_who_has_a_link(signed: FlaskClient) -> None:
    answer = signed.get(url("name=none.jpg&width=64"))

    assert answer.status_code == 404
    assert images.decoded(answer.data).size == (64, 48)
    assert answer.headers["Cache-Control"] == "public, max-age=30"
    soon = signed.get(url("name=none.jpg&width=64", KEY, int(time.time()) + 21))
    assert soon.headers["Cache-Control"] in {"public, max-age=10", "public, max-age=9"}


def test_no_copy_outlives_its_link(signed: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))

    def said(left: int, rest: str = "") -> str:
        link = url(f"name=nasa.jpeg&width=64&bandwidth=4g{rest}", KEY, NOW + left)
        return str(signed.get(link).headers["Cache-Control"])

    assert said(1) == "public, max-age=1, s-maxage=0, must-revalidate"
    assert said(100) == "public, max-age=50, s-maxage=50, must-revalidate"
    assert said(4000) == "public, max-age=3400, s-maxage=600, must-revalidate"
    assert said(10**6) == "public, max-age=86400, s-maxage=600, must-revalidate"


def test_what_took_long_is_kept_for_a_shorter_time(
    signed: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is counted when the answer is sent."""
    clock = [float(NOW)]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    answer = Delivery.answer

    def slowly(delivery: Delivery, found: Found) -> Answer:
        clock[0] += 9
        return answer(delivery, found)

    monkeypatch.setattr(Delivery, "answer", slowly)
    for left, said in ((29, "max-age=10, s-maxage=10"), (5, "max-age=0, s-maxage=0")):
        response = signed.get(url("name=nasa.jpeg&bandwidth=4g", KEY, int(clock[0]) + left))
        assert response.headers["Cache-Control"] == f"public, {said}, must-revalidate"


def test_the_log_says_why(signed: FlaskClient, signed_settings: Settings) -> None:
    signed.get("/images/?name=nasa.jpeg&width=64")
    signed.get(url("name=nasa.jpeg&width=64", "x" * 32))
    lines = signed_settings.log.file.read_text().splitlines()
    details = [json.loads(line)["detail"] for line in lines[1:]]

    assert details == [
        "no signature, or it is not spelled as one",
        "no key signs 'name=nasa.jpeg&width=64' like that",
    ]
    assert KEY not in "".join(lines)


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("", 0o600, "has no key"),
        ("# none\n\n", 0o600, "has no key"),
        (f"{KEY}\nshort\n", 0o600, "line 2 must hold one word of 32 to 200 ASCII characters"),
        (f"two words {KEY}\n", 0o600, "line 1 must hold one word"),
        ("\u00fc" * 40, 0o600, "line 1 must hold one word"),
        ("x" * 201, 0o600, "line 1 must hold one word"),
        (KEY, 0o604, "is open to everybody: chmod o= "),
        (None, 0, "No such file or directory; make it: (umask 077; openssl rand -hex 32 > "),
    ],
)
def test_keys_that_are_wrong_stop_the_start(
    settings: Settings, tmp_path: Path, text: str | None, mode: int, message: str
) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    with pytest.raises(ConfigurationError) as raised:
        make_web(replace(settings, signing=SigningSettings(file)))

    said = str(raised.value)
    assert message in said
    assert f"[signing] keys_file: {file}" in said
    assert "\n" not in said
    assert text is None or not text or text.split()[0] not in said.replace("#", "")


# The command.


def test_the_command_signs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys, conf = tmp_path / "keys", tmp_path / "imgprocessor.ini"
    keys.write_text(f"{KEY}\n{OTHER}\n")
    keys.chmod(0o600)
    conf.write_text("[signing]\nkeys_file = keys\n")
    asked = "http://host/images/?name=a.jpg&width=300"

    def printed(*arguments: str) -> str:
        assert main(["sign", asked, *arguments]) == 0
        return capsys.readouterr().out.strip()

    assert printed("--conf", str(conf)) == sign(asked, KEY)
    assert printed("--keys-file", str(keys)) == sign(asked, KEY)
    assert printed("--conf", str(conf), "--expires", str(NOW)) == sign(asked, KEY, NOW)
    before = int(time.time())
    signed_url = printed("--conf", str(conf), "--expires-in", "60")
    assert signed_url in {sign(asked, KEY, moment + 60) for moment in range(before, before + 5)}


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "imgprocessor.ini"
    conf.write_text("")
    assert main(["sign", "name=a.jpg", "--conf", str(conf)]) == 1
    assert "keys_file is not set" in capsys.readouterr().err
    for option, value in (("--expires", "0"), ("--expires-in", "-1"), ("--expires-in", "x")):
        assert main(["sign", "name=a.jpg", option, value]) == 2
    both = ["--expires", "9", "--expires-in", "9"]
    assert main(["sign", "name=a.jpg", *both]) == 2
