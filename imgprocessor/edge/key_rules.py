"""All rules from a request to its imagekey, in order, and the `Vary` that caches send.

Everything between a request and its imagekey is told here as texts matched and put together, worked
out from one policy; `edge` only spells them in each cache's language. What the steps say is what
`request` and `policy` do; tests hold them together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from imgprocessor.config.settings import PixelsSettings
from imgprocessor.edge.hint_rules import bandwidth_steps, density_steps, formats_steps, screen_steps
from imgprocessor.edge.number_patterns import whole_at_most
from imgprocessor.edge.query_rules import query_steps
from imgprocessor.edge.rules import Rule, Step
from imgprocessor.policy.imagekey import FIELDS, NONE, shape_digest
from imgprocessor.policy.table import DENSITIES, SIZED, Policy
from imgprocessor.request.hints import UsedHints, vary

KEY, VARY = "imagekey", "vary"
"""The steps whose results are wanted. The key is empty where there is none: the application answers
such a request with an error, or under a name of its own; it must not be kept.
"""


def key_steps(
    policy: Policy,
    pixels: PixelsSettings,
    encoders: str,
    hosts: Sequence[str] = (),
    *,
    signed: bool = False,
) -> tuple[Step, ...]:
    """Return the steps from a request to its imagekey and its `Vary`, in order.

    Originals come from these hosts, too. Where links must be signed, those that are not have no
    key, and of the others a step says by what: `query_rules.PROOF`.
    """
    return (
        *query_steps(policy, pixels, hosts, signed=signed),
        *bandwidth_steps(policy),
        *screen_steps(policy),
        *density_steps(policy, pixels),
        *formats_steps(policy),
        *_limits_steps(policy),
        _digest_step(policy, pixels, encoders),
        Step(
            KEY,
            "{refused}|" + "_".join(f"{{{field}}}" for field in FIELDS),
            (Rule("^[|](.+)$", r"\1"),),
            why="the name of the answer; empty where there is none",
        ),
        *_vary_steps(policy),
    )


def _limits_steps(policy: Policy) -> Iterator[Step]:
    qualities: dict[int, list[str]] = {}
    budgets: dict[int | None, list[str]] = {}
    for (row, bandwidth), cell in policy.cells.items():
        place = f"{row} {bandwidth}"
        qualities.setdefault(cell.quality, []).append(place)
        budgets.setdefault(cell.budget_bytes, []).append(place)
    yield Step(
        "quality_limit",
        "{row} {bandwidth}|{quality}|{formats}",
        (
            Rule("[|]png$", ""),
            *(
                Rule(f"^(?:{'|'.join(cells)})[|]({whole_at_most(most - 1, 3)})[|]", r"q\1")
                for most, cells in qualities.items()
            ),
        ),
        when=("quality",),
        why="counts where it is lower than the cell's, and the format is not lossless",
    )
    yield Step(
        "bytes_limit",
        "{row} {bandwidth}|{max_bytes}",
        tuple(
            Rule(
                f"^(?:{'|'.join(cells)})[|]"
                f"({'[0-9]+' if most is None else whole_at_most(most - 1, 12)})$",
                r"b\1",
            )
            for most, cells in budgets.items()
        ),
        when=("max_bytes",),
        why="counts where it is lower than the cell's",
    )
    yield Step(
        "limits",
        "{quality_limit}+{bytes_limit}",
        (
            Rule("^[+](.+)$", r"\1"),
            Rule("^(.+)[+]$", r"\1"),
            Rule("^([^+].*)$", r"\1"),
        ),
        NONE,
        when=("quality_limit", "bytes_limit"),
    )


def _digest_step(policy: Policy, pixels: PixelsSettings, encoders: str) -> Step:
    cells: dict[str, list[str]] = {}
    names = [known.name for known in policy.bandwidths]
    # The likely ones first: caches try them in order.
    for (row, bandwidth), cell in sorted(
        policy.cells.items(), key=lambda item: -names.index(item[0][1])
    ):
        cells.setdefault(shape_digest(cell, pixels, encoders), []).append(f"{row} {bandwidth}")
    return Step(
        "digest",
        "{row} {bandwidth}",
        tuple(Rule(f"^(?:{'|'.join(where)})$", known) for known, where in cells.items()),
        why="of the cell, the settings that touch pixels, and the encoders",
    )


def _vary_steps(policy: Policy) -> Iterator[Step]:
    """What `negotiation.uses` says, told by what the query string names."""
    nothing = UsedHints(
        bandwidth=False,
        save_data=policy.save_data_bandwidth is not None,
        rtt=policy.measures_rtt,
        downlink=policy.measures_downlink,
        screen=False,
        density=False,
        formats=False,
    )
    dense = [
        known.name
        for known in policy.bandwidths
        if policy.cells[SIZED, known.name].max_density > DENSITIES[0]
    ]
    pieces: list[tuple[str, str, str]] = [
        ("bandwidth", "{asked_bandwidth}", "^$"),
        ("screen", "{box}|{asked_screen}", f"^{NONE}[|]$"),
        (
            "density",
            "{asked_dpr}|{box}|{asked_bandwidth}",
            f"^[|][0-9x]+[|](?:|{'|'.join(dense)})$",
        ),
        ("formats", "{format}", "^$"),
    ]
    possible = {"density": bool(dense), "formats": len(policy.formats) > 1}
    for piece, source, pattern in pieces:
        if possible.get(piece, True):
            names = vary(replace(nothing, **{piece: True}))
            yield Step(f"vary_{piece}", source, (Rule(pattern, f"{names}, "),))
    known = "".join(f"{{vary_{piece}}}" for piece, _, _ in pieces if possible.get(piece, True))
    yield Step(VARY, known, (Rule("^(.+), $", r"\1"),), why="for browsers; the cache needs none")
