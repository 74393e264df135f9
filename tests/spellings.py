"""What the application makes of a request, and of the spelling that a cache gives it; policies and
proofs to try it with.
"""

import random

from conftest import ROOT

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.policy.table import Policy
from imgprocessor.request.query import ParsedQuery
from imgprocessor.request.signing import canonical
from imgprocessor.service.understanding import Planned, Understanding, Understood
from imgprocessor.web.incoming import incoming

PIXELS = PixelsSettings()
SHIPPED = ROOT / "conf" / "policy.ini"
SMALL = """
[bandwidths]
slow = rtt>=300.5
default = any
any =
[screens]
480 = 480
rest = otherwise
default = 480
[sized]
slow = q50
any = s70
[480]
slow = 50% q40
any = full q90
[rest]
slow = 50% q40 1kB
any = full q90
"""
NARROW = SMALL.replace("any =\n", "any = otherwise downlink<=9.25\n").replace("s70", "q80 dpr1.5")
LADDER = """
[allowed]
sizes = 7 160 320 640 1366 4096 9000
qualities = 40 60 100
budgets = 1kB 35kB
"""
POLICIES = {
    "shipped": SHIPPED.read_text(),
    "a ladder": SHIPPED.read_text() + LADDER,
    "a ladder of sizes that are too long": SMALL + "[allowed]\nsizes = 5000\n",
    "no Save-Data, no downlink, no densities, one format": SMALL,
    "bounds with decimals, odd sizes": NARROW + "[formats]\noffer = webp png jpeg\n",
}


SIGNATURES = ("A" * 43, "_-9z" * 10 + "abc")
PROOFS = (
    *(("signature=@",) * 6),
    *(("signature=@&expires=1900000000",) * 3),
    *("", "signature=", "signature=@@", "signature=@&signature=@", "signature=@&signature"),
    *("Signature=@", "signature=@%3D", "signature=@.", "signature=@&expires=", "expires=1"),
    *("signature=@&expires=01", "signature=@&expires=1234567890123", "signature=@&expires=x"),
    *("signature=@&expires", "signature=@&expires=1&expires=1", "signature=@&expired=1"),
)


def proven(query_string: str, chance: random.Random) -> str:
    """Return a query string with what proves it, or something like it, somewhere."""
    proofs = chance.choice(PROOFS).replace("@", chance.choice(SIGNATURES))
    parts = query_string.split("&")
    place = chance.choice([0, len(parts), len(parts), min(2, len(parts))])
    return "&".join([*parts[:place], *proofs.split("&"), *parts[place:]])


def in_path(query_string: str, chance: random.Random) -> str | None:
    """Return the path and the query string that name in the path what this names in the query;
    None where it names nothing there.
    """
    parts = query_string.split("&")
    named = next((part for part in parts if part.startswith("name=") and part != "name="), None)
    if named is None:
        return None
    parts.remove(named)
    name = chance.choice(PATHS) if chance.random() < 0.3 else named.removeprefix("name=")
    mark = chance.choice(["?", "%3F", "%3f"])
    before = chance.choice(["", "", "", "100/", "100/50/", "150/%3C60/", "0100/", "7/x/"])
    rest = "&".join(parts)
    path = f"{chance.choice(ROOTS)}{before}{name.replace('?', mark)}"
    return f"{path}?{rest}" if rest or chance.random() < 0.2 else path


ROOTS = ("/image/", "/media/", "/images/")
IDENT = f"{'0123456789abcdef' * 2}.jpg"
PATHS = (
    *(IDENT, IDENT, IDENT, f"a/{IDENT}", f"%30{IDENT[1:]}", IDENT.upper()),
    *("a&b.jpg", "a%26b;c.jpg", "a%2Bb+c", "a%252Fb", "a%25.jpg", "&width=3", "a%3Fwidth=3", "a&"),
    *("%3F", "a?b=c&d", "a%3Fb=c%26d", "a;v=1/b", "a,b=c", "a%2Fb", "a%2fb", "a%5cb", "100", "1/2"),
    *("-", "-/other", "%2D/other", "%2d", "--/a", "-a/b", "%3100/a.jpg", "%61.jpg", "a%2Ejpg"),
    *(".a", "..a", "...", "a/..b", "a/.", "a/..", "a/.../b", "%2E%2e/a", "a/%2e/b", "//a", "a//"),
    *("a%20b/%C3%A9.jpg", "%E4%BD%A0/a%7Eb", "999999999/a", "1000000000/a", "100/%3C60/", "7/"),
)


def target_of(query_string: str, chance: random.Random, named_by: str) -> str | None:
    """Return what a request asks for: as it is, or with the name in the path."""
    return f"/images/?{query_string}" if named_by == "query" else in_path(query_string, chance)


def understood(
    target: str,
    headers: dict[str, str],
    policy: Policy,
    pixels: PixelsSettings,
    hosts: tuple[str, ...] = (),
) -> Understood:
    """Return what the application makes of a request."""
    environ = {"REQUEST_URI": target, "QUERY_STRING": target.partition("?")[2]}
    heads = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return Understanding(policy, hosts, pixels).understand(incoming({**environ, **heads}))


def answered(
    target: str,
    headers: dict[str, str],
    policy: Policy,
    pixels: PixelsSettings,
    hosts: tuple[str, ...] = (),
) -> tuple[tuple[str | None, ...], str] | None:
    """Return the imagekeys of all readings, and Vary, as the application forms them; None where all
    are a 400 or a 403.
    """
    found = understood(target, headers, policy, pixels, hosts)
    outcomes = [one.outcome for one in found.readings]
    keys = tuple(one.imagekey if isinstance(one, Planned) else None for one in outcomes)
    return (keys, found.vary) if any(keys) else None


def right_spelling(
    target: str,
    headers: dict[str, str],
    spelled: str,
    policy: Policy,
    pixels: PixelsSettings,
    hosts: tuple[str, ...] = (),
    *,
    signed: bool = False,
) -> tuple[tuple[str | None, ...], str] | None:
    """Look whether the application takes one spelling for the same request, without its headers;
    return the imagekeys and the Vary of the request, None where it is refused.
    """
    wanted = answered(target, headers, policy, pixels, hosts)
    found = answered(spelled, {}, policy, pixels, hosts)
    if wanted is None:
        assert found is None, (target, spelled)
        return None
    assert found == (wanted[0], ""), (target, headers, spelled)
    if signed:
        one, other = (
            understood(text, {}, policy, pixels, hosts).first.parsed for text in (target, spelled)
        )
        assert _signed(one) == _signed(other)
        assert sorted(one.proofs) == sorted(other.proofs)
    return wanted


def _signed(parsed: ParsedQuery) -> str:
    return canonical(parsed.query, is_whole_path=parsed.is_whole_path)
