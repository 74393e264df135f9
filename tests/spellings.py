"""What the application makes of a request, and of the spelling that a cache gives it; policies and
proofs to try it with.
"""

import random

from conftest import ROOT

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.policy.imagekey import imagekey
from imgprocessor.policy.negotiation import negotiate, permit, uses
from imgprocessor.policy.plan import make_plan
from imgprocessor.policy.table import Policy
from imgprocessor.request.hints import read_hints, vary
from imgprocessor.request.query import forbidden, parse
from imgprocessor.request.signing import canonical

ENCODERS = "encoders"
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


def answered(
    query_string: str,
    headers: dict[str, str],
    policy: Policy,
    pixels: PixelsSettings,
    encoders: str = ENCODERS,
    hosts: tuple[str, ...] = (),
) -> tuple[str, str] | None:
    """Return imagekey and Vary as the application forms them; None for a 400 or a 403."""
    parsed = parse(query_string, pixels.max_output_side_pixels)
    query, refused = permit(parsed.query, policy)
    if parsed.problems or refused or forbidden(query, hosts):
        return None
    plan = make_plan(query, negotiate(query, read_hints(headers), policy), pixels, encoders)
    return imagekey(query.original, plan), vary(uses(query, policy))


def right_spelling(
    query_string: str,
    headers: dict[str, str],
    spelled: str,
    policy: Policy,
    pixels: PixelsSettings,
    hosts: tuple[str, ...] = (),
    *,
    signed: bool = False,
) -> tuple[str, str] | None:
    """Look whether the application takes one spelling for the same request, without its headers;
    return the imagekey and the Vary of the request, None where it is refused.
    """
    wanted = answered(query_string, headers, policy, pixels, hosts=hosts)
    found = answered(spelled, {}, policy, pixels, hosts=hosts)
    if wanted is None:
        assert found is None, (query_string, spelled)
        return None
    assert found == (wanted[0], ""), (query_string, headers, spelled)
    if signed:
        one, other = (
            parse(text, pixels.max_output_side_pixels) for text in (query_string, spelled)
        )
        assert canonical(one.query) == canonical(other.query)
        assert sorted(one.proofs) == sorted(other.proofs)
    return wanted
