"""The command line: serve without Apache, render one file, look into the policy."""

import argparse
import ipaddress
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from rich.console import Console
from rich.progress import track
from waitress.server import create_server

from imgprocessor.app import (
    DEFAULT_CONF,
    Overrides,
    create_app,
    digest,
    load_policy,
    load_settings,
    make_purging,
    make_service,
)
from imgprocessor.doubts import doubts
from imgprocessor.edge import CACHES, Backend, Site, configuration
from imgprocessor.encoders import VERSIONS
from imgprocessor.errors import ConfigurationError, ImageError
from imgprocessor.explanation import explain
from imgprocessor.purging import Wanted
from imgprocessor.query import PARAMETERS
from imgprocessor.reload import PID_FILE, reload
from imgprocessor.report import (
    CHROMIUM_ACCEPT,
    as_html,
    as_text,
    measure,
    originals_in,
    require_metric,
    summarise,
)
from imgprocessor.service import Request
from imgprocessor.settings import MAX_PORT, describe_settings, read_address
from imgprocessor.signcommand import add_sign
from imgprocessor.table import print_table
from imgprocessor.web import add_page

STATIC = Path(__file__).resolve().parent.parent / "static"


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - the only name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 not done, 2 misused."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (ConfigurationError, ImageError) as error:
        print(f"imgprocessor: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m imgprocessor", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_render(commands)
    _add_policy(commands)
    _add_purge(commands)
    _add_edge(commands)
    _add_settings(commands)
    _add_reload(commands)
    sign = commands.add_parser("sign", help="sign a link, where links must be signed")
    add_sign(sign)
    _add_files(sign)
    return parser


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    _add_files(parser)
    parser.add_argument("--originals", type=Path, help="folder of originals, instead of the file's")


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--conf", type=Path, default=DEFAULT_CONF, help="the settings file")
    parser.add_argument("--policy", type=Path, help="the policy, instead of the file's")


def _add_headers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-H", "--header", action="append", default=[], type=_header, help="such as 'ECT: 3g'"
    )


def _overrides(options: argparse.Namespace) -> Overrides:
    return Overrides(originals=options.originals, policy=options.policy)


def _add_serve(commands: "Commands") -> None:
    parser = commands.add_parser("serve", help="serve by Waitress, for machines without Apache")
    _add_configuration(parser)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port_number, default=8000)
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    web = create_app(options.conf, _overrides(options))
    add_page(web, STATIC)
    try:
        server = create_server(web, host=options.host, port=options.port, ident="imgprocessor")
    except OSError as error:
        wrong = f"--host {options.host} --port {options.port}: {error.strerror}"
        raise ConfigurationError(wrong) from error
    # Waitress ends in order when its loop meets SystemExit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"imgprocessor: with {VERSIONS}", file=sys.stderr)
    host, port = _listening(server)
    print(f"ready on http://{host}:{port}", flush=True)
    server.run()
    return 0


def port_number(text: str) -> int:
    """Read a TCP port for argparse; 0 lets the system choose."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {MAX_PORT}")
    return int(text)


def _listening(server: Any) -> tuple[str, int]:
    """Return where Waitress listens; a name such as localhost may stand for several addresses."""
    several = getattr(server, "effective_listen", None)
    return several[0] if several else (server.effective_host, server.effective_port)


def _add_render(commands: "Commands") -> None:
    parser = commands.add_parser("render", help="render one file, as a request for it would")
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="where to; its name has no say in the format",
    )
    _add_headers(parser)
    for parameter in PARAMETERS:
        if parameter != "name":
            parser.add_argument(f"--{parameter}", help="as in the URL")
    _add_files(parser)
    parser.set_defaults(run=_render)


def _render(options: argparse.Namespace) -> int:
    file = options.file.resolve()
    settings = load_settings(options.conf, Overrides(file.parent, options.policy))
    asked = {name: getattr(options, name) for name in PARAMETERS if name != "name"}
    given = {name: value for name, value in asked.items() if value is not None}
    request = Request(
        urlencode({"name": file.name, **given}, quote_via=quote), dict(options.header)
    )
    service = make_service(settings)
    answer = service.render(service.find(request))
    rendition = answer.rendition
    if options.output is None:
        sys.stdout.buffer.write(rendition.body)
    else:
        try:
            options.output.write_bytes(rendition.body)
        except OSError as error:
            raise ConfigurationError(f"{options.output}: {error.strerror}") from error
    limited = f", the budget took {rendition.limited}" if rendition.limited else ""
    made = f"{rendition.format}, {rendition.size}, quality {rendition.quality}"
    told = f"{made}, {len(rendition.body)} bytes{limited}"
    print(f"{answer.found.planned.imagekey}: {told}", file=sys.stderr)
    return 0


def _add_purge(commands: "Commands") -> None:
    parser = commands.add_parser("purge", help="forget what was made, here and in all caches")
    parser.add_argument("name", nargs="*", help="an original's, as in the URL, decoded")
    parser.add_argument(
        "--imagekey", nargs="+", action="extend", default=[], help="one rendition's"
    )
    parser.add_argument("--all", action="store_true", help="everything")
    _add_configuration(parser)
    parser.set_defaults(run=_purge)


def _purge(options: argparse.Namespace) -> int:
    settings = load_settings(options.conf, _overrides(options))
    purging = make_purging(settings, make_service(settings, keeps=True))
    purged = purging.purge(Wanted(options.name, options.imagekey, options.all))
    for what, count in purged.removed.items():
        print(f"{what}: {count} files removed")
    for who, reason in purged.failed.items():
        print(f"imgprocessor: not forgotten: {who}: {reason}", file=sys.stderr)
    return 1 if purged.failed else 0


def _add_edge(commands: "Commands") -> None:
    parser = commands.add_parser("edge", help="write the configuration of a cache in front")
    parser.add_argument("cache", choices=CACHES)
    parser.add_argument("-o", "--output", type=Path, help="where to; otherwise it is printed")
    parser.add_argument(
        "--backend",
        nargs="+",
        type=_backend,
        default=list(Site.backends),
        metavar="HOST:PORT",
        help="where the application listens, for Varnish and nginx",
    )
    parser.add_argument(
        "--purger",
        nargs="+",
        type=_network,
        default=list(Site.purgers),
        metavar="ADDRESS",
        help="who may purge, beside this machine and the backends; for Varnish",
    )
    parser.add_argument("--listen", type=_word, default=Site.listen, help="where nginx listens")
    parser.add_argument(
        "--cache-folder", type=_word, default=Site.folder, help="where nginx keeps pictures"
    )
    parser.add_argument(
        "--cache-megabytes", type=_size, default=Site.max_megabytes, help="how much nginx keeps"
    )
    _add_files(parser)
    parser.set_defaults(run=_edge)


def _edge(options: argparse.Namespace) -> int:
    settings = load_settings(options.conf, Overrides(policy=options.policy))
    site = Site(
        backends=options.backend,
        purgers=options.purger,
        listen=options.listen,
        folder=options.cache_folder,
        max_megabytes=options.cache_megabytes,
    )
    text = configuration(options.cache, settings, site)
    if options.output is None:
        print(text, end="")
        return 0
    try:
        options.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{options.output}: {error.strerror}") from error
    return 0


def _backend(text: str) -> Backend:
    try:
        return Backend(*read_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no address or network: {error}") from error


def _word(text: str) -> str:
    """Read what stands in nginx's configuration as one word."""
    if not re.fullmatch(r"[A-Za-z0-9._:/\[\]*-]+", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be one word of letters, digits and ._:/[]*-"
        )
    return text


def _size(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError("must be a whole number, at least 1")
    return int(text)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError("must be of the form 'Name: value'")
    return name.strip().lower(), value.strip()


def _add_policy(commands: "Commands") -> None:
    parser = commands.add_parser("policy", help="check, show, explain or measure the policy")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="check settings and policy, as a start would")
    check.set_defaults(run=_check_policy)
    show = actions.add_parser("show", help="print the table")
    show.set_defaults(run=_show_policy)
    explain = actions.add_parser("explain", help="tell how one request is answered, and why")
    explain.add_argument("url", metavar="URL", help="or its query string alone")
    _add_headers(explain)
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
        _add_configuration(action)
    _add_files(report)


def _check_policy(options: argparse.Namespace) -> int:
    settings = load_settings(options.conf, _overrides(options))
    policy = load_policy(settings)
    for doubt in doubts(policy):
        print(f"{settings.policy.file}: warning: {doubt}")
    if not Path(settings.placeholder.file).is_file():
        wrong = f"[placeholder] file: {settings.placeholder.file} is not there"
        print(f"{options.conf}: warning: {wrong}: failures will be answered with text")
    make_service(settings)
    size = f"{len(policy.screens)} screens, {len(policy.bandwidths)} bandwidths"
    print(f"{settings.policy.file}: can be used: {size}")
    return 0


def _show_policy(options: argparse.Namespace) -> int:
    print_table(load_policy(load_settings(options.conf, _overrides(options))), Console())
    return 0


def _digest_policy(options: argparse.Namespace) -> int:
    print(digest(load_settings(options.conf, _overrides(options))))
    return 0


def _explain_policy(options: argparse.Namespace) -> int:
    settings = load_settings(options.conf, _overrides(options))
    service = make_service(settings)
    for told, telling in explain(options.url, dict(options.header), service, settings.pixels):
        print(f"{told + ':':<11}{telling}")
    return 0


def _report_policy(options: argparse.Namespace) -> int:
    require_metric()
    if not options.output.resolve().parent.is_dir():
        raise ConfigurationError(f"{options.output}: there is no such folder to write to")
    settings = load_settings(options.conf, Overrides(options.folder, options.policy))
    policy = load_policy(settings)
    names = originals_in(Path(settings.originals.root))
    samples = []
    console = Console(stderr=True)
    for name, found in track(
        measure(settings, names, options.accept),
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


def _add_settings(commands: "Commands") -> None:
    parser = commands.add_parser("settings", help="print every setting as it is in force")
    _add_configuration(parser)
    parser.set_defaults(run=_settings)


def _settings(options: argparse.Namespace) -> int:
    print(describe_settings(load_settings(options.conf, _overrides(options))))
    return 0


def _add_reload(commands: "Commands") -> None:
    parser = commands.add_parser("reload", help="have Apache's daemons start anew, losing nothing")
    _add_configuration(parser)
    parser.add_argument("--pid-file", type=Path, default=PID_FILE, help="Apache's")
    parser.add_argument(
        "--wait", type=float, default=90.0, metavar="SECONDS", help="for each daemon; default 90"
    )
    parser.set_defaults(run=_reload)


def _reload(options: argparse.Namespace) -> int:
    settings = load_settings(options.conf, _overrides(options))
    make_purging(settings, make_service(settings))  # what cannot start must not replace what runs
    reload(options.pid_file, options.wait, print)
    return 0


if __name__ == "__main__":
    sys.exit(main())
