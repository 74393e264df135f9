"""The commands that look into the policy: check, show, explain, digest, report."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import track

from imgprocessor.app import make_delivery
from imgprocessor.cli.options import add_configuration, add_files, add_headers, overrides
from imgprocessor.cli.policy.explain import explain
from imgprocessor.cli.policy.report import (
    CHROMIUM_ACCEPT,
    as_html,
    as_text,
    measure,
    originals_in,
    summarise,
)
from imgprocessor.cli.policy.show import print_table
from imgprocessor.errors import ConfigurationError
from imgprocessor.images.comparison import require_metric
from imgprocessor.load import Overrides, answers_digest, load_policy, load_settings
from imgprocessor.policy.lint import lint_policy


def add_policy(parser: argparse.ArgumentParser) -> None:
    """Declare the command's actions."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="check settings and policy, as a start would")
    check.set_defaults(run=_check_policy)
    show = actions.add_parser("show", help="print the table")
    show.set_defaults(run=_show_policy)
    explain = actions.add_parser("explain", help="tell how one request is answered, and why")
    explain.add_argument("url", metavar="URL", help="or its query string alone")
    add_headers(explain)
    explain.set_defaults(run=_explain_policy)
    digest = actions.add_parser("digest", help="print what changes with the policy or this program")
    digest.set_defaults(run=_digest_policy)
    report = actions.add_parser("report", help="weigh, score and time every cell over a folder")
    report.add_argument("folder", type=Path, metavar="DIR", help="of originals")
    report.add_argument("-o", "--output", type=Path, default=Path("report.html"))
    report.add_argument("--accept", default=CHROMIUM_ACCEPT, help="the Accept header to send")
    report.add_argument(
        "--pictures", type=int, default=3, help="so many originals are shown side by side"
    )
    report.add_argument("--text", action="store_true", help="print the main table as Markdown")
    report.set_defaults(run=_report_policy)
    for action in (check, show, explain, digest):
        add_configuration(action)
    add_files(report)


def _check_policy(options: argparse.Namespace) -> int:
    settings = load_settings(options.conf, overrides(options))
    policy = load_policy(settings)
    for doubt in lint_policy(policy):
        print(f"{settings.policy.file}: warning: {doubt}")
    if not settings.placeholder.file.is_file():
        wrong = f"[placeholder] file: {settings.placeholder.file} is not there"
        print(f"{options.conf}: warning: {wrong}: failures will be answered with text")
    make_delivery(settings, policy=policy)
    size = f"{len(policy.screens)} screens, {len(policy.bandwidths)} bandwidths"
    print(f"{settings.policy.file}: can be used: {size}")
    return 0


def _show_policy(options: argparse.Namespace) -> int:
    print_table(load_policy(load_settings(options.conf, overrides(options))), Console())
    return 0


def _digest_policy(options: argparse.Namespace) -> int:
    settings = load_settings(options.conf, overrides(options))
    print(answers_digest(settings, load_policy(settings)))
    return 0


def _explain_policy(options: argparse.Namespace) -> int:
    settings = load_settings(options.conf, overrides(options))
    delivery = make_delivery(settings)
    for told, telling in explain(options.url, dict(options.header), delivery, settings.pixels):
        print(f"{told + ':':<11}{telling}")
    return 0


def _report_policy(options: argparse.Namespace) -> int:
    require_metric()
    if not options.output.resolve().parent.is_dir():
        raise ConfigurationError(f"{options.output}: there is no such folder to write to")
    settings = load_settings(options.conf, Overrides(options.folder, options.policy))
    policy = load_policy(settings)
    names = originals_in(settings.originals.root)
    samples = []
    console = Console(stderr=True)
    for name, found in track(
        measure(settings, policy, names, options.accept),
        "rendering and scoring",
        total=len(names),
        console=console,
    ):
        if isinstance(found, str):
            console.print(f"{name} is left out: {found}")
        else:
            samples += found
    summaries = summarise(samples, policy)
    if not summaries:
        raise ConfigurationError(f"{options.folder}: none of its pictures can be rendered")
    known = sorted({sample.original for sample in samples})
    shown = known[:: max(1, len(known) // max(1, options.pictures))][: options.pictures]
    options.output.write_text(as_html(summaries, shown, options.accept), encoding="utf-8")
    if options.text:
        print(as_text(summaries))
    console.print(f"written: {options.output}")
    return 0
