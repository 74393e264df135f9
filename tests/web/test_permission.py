"""Who may change something: tokens, programs on this machine, and pages of this very site."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from flask import Flask, g, request

from imgprocessor.config.upload_tokens import UploadRight, UploadToken, token_hash
from imgprocessor.errors import (
    Forbidden,
    ImageError,
    NotAuthorized,
    TooLarge,
    TooManyRequests,
    UploadsUnavailable,
)
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.uploads.allowance import Allowance
from imgprocessor.web.log import Entry
from imgprocessor.web.problems import in_words
from imgprocessor.web.uploads.permission import Permission

SHOP, EDITOR, POOR = "shop-token-of-many-letters", "editor-token-_", "poor-token"

TOKENS = (
    UploadToken("shop", token_hash(SHOP), frozenset({"upload", "sizes"})),
    UploadToken("editor", token_hash(EDITOR), frozenset({"delete"})),
    UploadToken("poor", token_hash(POOR), frozenset({"upload"}), 100, 3),
)

ELSEWHERE = {"REMOTE_ADDR": "192.0.2.1"}


@pytest.fixture
def allowance(tmp_path: Path) -> Allowance:
    return Allowance(tmp_path / "allowance", Locks(tmp_path / "locks"))


@pytest.fixture
def open_here(allowance: Allowance) -> Permission:
    """Without tokens."""
    return Permission((), allowance)


@pytest.fixture
def by_token(allowance: Allowance) -> Permission:
    return Permission(TOKENS, allowance)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _required(
    permission: Permission,
    headers: Mapping[str, str] = {},
    right: UploadRight = "upload",
    size_bytes: int = 0,
    environ: Mapping[str, str] = ELSEWHERE,
) -> tuple[str | ImageError, Entry]:
    """Return who did it, or what was wrong; and the log's line."""
    web = Flask("permission")
    with web.test_request_context(
        "/upload",
        method="POST",
        headers=dict(headers),
        environ_overrides=dict(environ),
    ):
        g.entry = {}
        try:
            return permission.require(request, right, size_bytes), g.entry
        except ImageError as error:
            return error, g.entry


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:127.9.9.9", True),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("10.0.0.1", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - nothing is bound
        ("::", False),
        ("fe80::1", False),
        ("", False),
        ("localhost", False),
        ("127.0.0.1, 192.0.2.1", False),
        ("2130706433", False),
        ("unix:", False),
    ],
)
def test_without_tokens_only_this_machine_may(
    open_here: Permission, address: str, *, may: bool
) -> None:
    done, entry = _required(open_here, environ={"REMOTE_ADDR": address})

    if may:
        assert (done, entry) == ("loopback", {"by": "loopback"})
    else:
        assert isinstance(done, Forbidden)
        assert "only programs on this machine" in done.public
        assert entry == {}


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
@pytest.mark.parametrize("value", ["127.0.0.1", "", "for=127.0.0.1", "1.1 varnish"])
def test_without_tokens_no_proxy_may(open_here: Permission, header: str, value: str) -> None:
    done, _ = _required(open_here, {header: value}, environ={"REMOTE_ADDR": "127.0.0.1"})

    assert isinstance(done, Forbidden)


@pytest.mark.parametrize("right", ["upload", "sizes", "delete"])
def test_with_tokens_this_machine_needs_one_too(by_token: Permission, right: UploadRight) -> None:
    done, _ = _required(by_token, right=right, environ={"REMOTE_ADDR": "127.0.0.1"})

    assert isinstance(done, NotAuthorized)


@pytest.mark.parametrize(
    ("token", "right", "name"),
    [
        (SHOP, "upload", "shop"),
        (SHOP, "sizes", "shop"),
        (SHOP, "delete", None),
        (EDITOR, "delete", "editor"),
        (EDITOR, "upload", None),
        (EDITOR, "sizes", None),
        (POOR, "upload", "poor"),
        (POOR, "sizes", None),
    ],
)
def test_a_token_may_what_its_section_says(
    by_token: Permission, token: str, right: UploadRight, name: str | None
) -> None:
    done, entry = _required(by_token, _bearer(token), right)

    if name is None:
        assert isinstance(done, Forbidden)
        assert f"may not do that ({right}), but: " in done.public
    else:
        assert done == name
    known = {token_hash(SHOP): "shop", token_hash(EDITOR): "editor", token_hash(POOR): "poor"}
    assert entry == {"by": known[token_hash(token)]}


@pytest.mark.parametrize(
    ("header", "may"),
    [
        (f"Bearer {SHOP}", True),
        (f"bearer {SHOP}", True),
        (f"BEARER  {SHOP} ", True),
        (SHOP, False),
        (f"Token {SHOP}", False),
        (f"Basic {SHOP}", False),
        ("Basic YTpiCg==", False),
        ("Basic \xff", False),
        ("Digest a=b", False),
        ("Bearer", False),
        ("Bearer ", False),
        ("", False),
        (f"Bearer {SHOP}x", False),
        (f"Bearer {SHOP[:-1]}", False),
        (f"Bearer {SHOP.upper()}", False),
        (f"Bearer {SHOP}, Bearer {SHOP}", False),
        (f"Bearer token={SHOP}", False),
        (f"Bearer {token_hash(SHOP)}", False),
        ("Bearer \u00e9\u00ff", False),
        ("Bearer " + "x" * 8000, False),
    ],
)
def test_a_token_comes_as_bearer(by_token: Permission, header: str, *, may: bool) -> None:
    done, _ = _required(by_token, {"Authorization": header})

    assert done == "shop" if may else isinstance(done, NotAuthorized)


def test_a_token_comes_in_no_other_place(by_token: Permission) -> None:
    headers = {"Cookie": f"token={SHOP}", "X-Api-Key": SHOP, "Proxy-Authorization": SHOP}
    done, _ = _required(by_token, headers, environ={**ELSEWHERE, "QUERY_STRING": f"token={SHOP}"})

    assert isinstance(done, NotAuthorized)


def test_requests_of_an_hour_are_counted(by_token: Permission) -> None:
    assert [_required(by_token, _bearer(POOR))[0] for _ in range(3)] == ["poor"] * 3
    done, entry = _required(by_token, _bearer(POOR))

    assert isinstance(done, TooManyRequests)
    assert 3600 <= (done.retry_seconds or 0) <= 3660
    assert entry == {"by": "poor"}
    assert _required(by_token, _bearer(SHOP))[0] == "shop"


def test_bytes_of_an_hour_are_counted(by_token: Permission) -> None:
    assert _required(by_token, _bearer(POOR), size_bytes=60)[0] == "poor"
    assert isinstance(_required(by_token, _bearer(POOR), size_bytes=41)[0], TooManyRequests)
    assert _required(by_token, _bearer(POOR), size_bytes=40)[0] == "poor"


def test_what_never_fits_is_too_large(by_token: Permission) -> None:
    done, _ = _required(by_token, _bearer(POOR), size_bytes=101)

    assert isinstance(done, TooLarge)
    assert done.public == "This server takes no more than 100 bytes."


def test_what_is_refused_is_not_counted(by_token: Permission) -> None:
    for _ in range(9):
        assert isinstance(_required(by_token, _bearer(POOR), "delete")[0], Forbidden)
        headers = {**_bearer(POOR), "Sec-Fetch-Site": "cross-site"}
        assert isinstance(_required(by_token, headers)[0], Forbidden)

    assert _required(by_token, _bearer(POOR))[0] == "poor"


def test_what_cannot_be_counted_is_refused_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    uncounted = Allowance(tmp_path / "file" / "allowance", Locks(tmp_path / "locks"))
    done, _ = _required(Permission(TOKENS, uncounted), _bearer(SHOP))

    assert isinstance(done, UploadsUnavailable)
    assert "cannot count what tokens have used" in capsys.readouterr().err


# What browsers send.

PAGES = [
    # Sec-Fetch-Site, Origin, Host, and whether it is a page of this host
    (None, None, "img.example", True),  # no browser
    ("same-origin", None, "img.example", True),
    ("none", None, "img.example", True),
    ("same-site", None, "img.example", False),
    ("cross-site", None, "img.example", False),
    ("", None, "img.example", False),
    ("Same-Origin", None, "img.example", False),
    ("same-origin, cross-site", None, "img.example", False),
    ("nonsense", None, "img.example", False),
    (None, "https://img.example", "img.example", True),
    (None, "http://img.example", "img.example", True),  # a proxy may speak https
    (None, "HTTPS://IMG.example", "img.Example", True),
    (None, "https://img.example:443", "img.example", True),
    (None, "https://img.example", "img.example:443", True),
    (None, "http://img.example", "img.example:80", True),
    (None, "http://img.example:8080", "img.example:8080", True),
    (None, "http://[::1]:8080", "[::1]:8080", True),
    (None, "https://img.example", "img.example:80", False),
    (None, "http://img.example", "img.example:443", False),
    (None, "http://img.example:8080", "img.example", False),
    (None, "http://img.example", "img.example:8080", False),
    (None, "https://evil.example", "img.example", False),
    (None, "https://img.example.evil.example", "img.example", False),
    (None, "https://evil-img.example", "img.example", False),
    (None, "https://img.example@evil.example", "img.example", False),
    (None, "https://evil.example/img.example", "img.example", False),
    (None, "https://evil.example#img.example", "img.example", False),
    (None, "https://img.example/", "img.example", False),
    (None, "https://img.example, https://evil.example", "img.example", False),
    (None, "https://evil.example https://img.example", "img.example", False),
    (None, "img.example", "img.example", False),
    (None, "//img.example", "img.example", False),
    (None, "ftp://img.example", "img.example", False),
    (None, "moz-extension://img.example", "img.example", False),
    (None, "file://", "", False),
    (None, "https://", "", False),
    (None, "null", "null", False),
    (None, "null", "img.example", False),
    (None, "", "img.example", False),
    (None, "https://img.example", "", False),
    (None, "https://\u00fc.example", "img.example", False),
    ("same-origin", "https://img.example", "img.example", True),
    ("none", "https://img.example", "img.example", True),
    ("same-origin", "null", "img.example", True),  # a form, under Referrer-Policy: no-referrer
    ("none", "null", "img.example", False),
    ("cross-site", "null", "img.example", False),
    # Where they do not agree, both must be right.
    ("same-origin", "https://evil.example", "img.example", False),
    ("none", "https://evil.example", "img.example", False),
    ("cross-site", "https://img.example", "img.example", False),
    ("same-site", "https://img.example", "img.example", False),
    ("", "https://img.example", "img.example", False),
]


@pytest.mark.parametrize(("site", "origin", "host", "may"), PAGES)
def test_pages_of_other_sites_may_not(
    by_token: Permission, site: str | None, origin: str | None, host: str, *, may: bool
) -> None:
    """Whatever their token."""
    browsers = {"Sec-Fetch-Site": site, "Origin": origin}
    headers = {name: value for name, value in browsers.items() if value is not None}
    done, entry = _required(
        by_token, headers | _bearer(SHOP), environ={**ELSEWHERE, "HTTP_HOST": host}
    )

    if may:
        assert done == "shop"
    else:
        assert isinstance(done, Forbidden)
        assert done.public == "Pages of other sites may not send this."
        assert len(str(done)) < 400
        assert entry == {}


@pytest.mark.parametrize(
    ("host", "may"),
    [
        ("localhost", True),
        ("localhost:8000", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("img.localhost:8000", True),
        ("evil.example:8000", False),
        ("localhost.evil.example:8000", False),
        ("evillocalhost", False),
        ("192.0.2.1", False),
    ],
)
def test_a_name_that_leads_to_this_machine_makes_no_page_of_it(
    open_here: Permission, host: str, *, may: bool
) -> None:
    """DNS rebinding: a page of another site, whose name leads to 127.0.0.1 meanwhile."""
    here = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": host}
    page = {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}

    assert (
        _required(open_here, page, environ=here)[0] == "loopback"
        if may
        else isinstance(_required(open_here, page, environ=here)[0], Forbidden)
    )
    assert _required(open_here, environ=here)[0] == "loopback"


@pytest.mark.parametrize(
    ("headers", "right", "size_bytes"),
    [
        (_bearer(f"{SHOP}-unknown"), "upload", 0),
        (_bearer(SHOP), "delete", 0),
        (_bearer(SHOP), "upload", 10**12),
        ({**_bearer(SHOP), "Origin": "https://evil.example"}, "upload", 0),
        (_bearer(SHOP), "upload", 0),
    ],
)
def test_no_token_is_told(
    by_token: Permission,
    capsys: pytest.CaptureFixture[str],
    headers: dict[str, str],
    right: UploadRight,
    size_bytes: int,
) -> None:
    done, entry = _required(by_token, headers, right, size_bytes)
    told = [repr(done), str(done), json.dumps(entry), *capsys.readouterr()]
    if isinstance(done, ImageError):
        with Flask("told").test_request_context("/upload"):
            g.entry = {}
            answer = in_words(done, lambda _: pytest.fail("no page is wanted"))
            told += [str(answer.headers), answer.get_data(as_text=True), json.dumps(g.entry)]

    assert SHOP not in "".join(told)
    assert token_hash(SHOP) not in "".join(told)
