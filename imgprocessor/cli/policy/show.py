"""`policy show`: the policy as a table to look at, in colour where the terminal has any."""

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imgprocessor.cli.options import Files, with_files
from imgprocessor.load import load_policy
from imgprocessor.policy.limits import Allowed
from imgprocessor.policy.seen import told
from imgprocessor.policy.table import Bandwidth, Cell, Policy

_STYLES = {"width": "bold cyan", "quality": "green", "budget": "magenta", "density": "yellow"}


@click.command(help="Print the table.")
@with_files()
def show(files: Files) -> None:
    """Print the policy that is in force."""
    print_table(load_policy(files.load()), Console())


def print_table(policy: Policy, console: Console) -> None:
    """Print the policy: rows are screens, columns bandwidths, worst first."""
    # As close as can be: eight bandwidths and the rows' names are within 80 characters.
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for bandwidth in policy.bandwidths:
        table.add_column(Text(bandwidth.name, "bold"), no_wrap=True)
    for row in policy.rows:
        cells = [_cell(policy.cells[row, bandwidth.name]) for bandwidth in policy.bandwidths]
        table.add_row(Text(row, "bold"), *cells, end_section=True)
    console.print(table)
    for screen in policy.screens:
        for bandwidth in policy.bandwidths:
            if expected := told(screen, bandwidth, policy):
                line = f"[{screen.name}] {bandwidth.name}: {expected}"
                console.print(line, style="dim", highlight=False, markup=False)
    for bandwidth in policy.bandwidths:
        roles = ["the default"] if bandwidth.name == policy.default_bandwidth else []
        _print_bounds(console, bandwidth.name, _bounds(bandwidth), roles)
    for screen in policy.screens:
        bound = "otherwise" if screen.max_css_pixels is None else f"{screen.max_css_pixels} px"
        roles = ["the default"] if screen.name == policy.default_screen else []
        roles += ["phones of unknown width"] if screen.name == policy.mobile_screen else []
        _print_bounds(console, screen.name, bound, roles)
    console.print(f"formats: {' '.join(policy.formats)}", style="dim", highlight=False)
    console.print(f"effort: {policy.effort}", style="dim", highlight=False)
    if policy.allowed != Allowed():
        console.print(f"allowed: {policy.allowed}", style="dim", highlight=False)


def _print_bounds(console: Console, name: str, bounds: str, roles: list[str]) -> None:
    console.print(f"{name}: {', '.join([bounds, *roles])}", style="dim", highlight=False)


def _bounds(bandwidth: Bandwidth) -> str:
    bounds = [
        None if bandwidth.min_rtt_ms is None else f"rtt>={bandwidth.min_rtt_ms}",
        None if bandwidth.max_downlink_mbps is None else f"downlink<={bandwidth.max_downlink_mbps}",
        "save-data" if bandwidth.save_data else None,
        "otherwise" if bandwidth.otherwise else None,
    ]
    return " ".join(bound for bound in bounds if bound is not None) or "only by its name"


def _cell(cell: Cell) -> Text:
    words = []
    for word in str(cell).split():
        kind = "density" if word.startswith("dpr") else "quality"
        if word.endswith(("px", "%", "full")):
            kind = "width"
        elif word.endswith("kB"):
            kind = "budget"
        words.append((word, _STYLES[kind]))
    return Text("\n").join(Text(word, style) for word, style in words)
