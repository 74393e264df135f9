"""The command line: serve without Apache, render one file, look into the policy."""

import argparse
import ipaddress
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from waitress.server import create_server

from imgprocessor.app import (
    create_app,
    edge_configuration,
    make_delivery,
    make_purger,
    make_signing,
)
from imgprocessor.cli.options import add_configuration, add_files, add_headers, overrides
from imgprocessor.cli.policy.commands import add_policy
from imgprocessor.cli.reload import PID_FILE, reload
from imgprocessor.cli.sign import add_sign
from imgprocessor.config.settings_file import describe_settings
from imgprocessor.config.types import MAX_PORT, read_address
from imgprocessor.edge.writers import CACHES, Backend, Site
from imgprocessor.errors import ConfigurationError, ImageError
from imgprocessor.images.formats.encoders import VERSIONS
from imgprocessor.load import Overrides, load_settings
from imgprocessor.rendering.process import run_folder
from imgprocessor.request.parameters import PARAMETERS
from imgprocessor.service.delivery import Incoming
from imgprocessor.service.purge import PurgeRequest
from imgprocessor.web.pages import add_page

STATIC = Path(__file__).resolve().parent.parent / "static"


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - the only name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 not done, 2 misused."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        if sys.stdout is not None:  # as it is where it was closed before
            sys.stdout.flush()
    except (ConfigurationError, ImageError) as error:
        print(f"imgprocessor: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Who reads has read enough, as `head` does; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m imgprocessor", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_render(commands)
    add_policy(commands.add_parser("policy", help="check, show, explain or measure the policy"))
    _add_purge(commands)
    _add_edge(commands)
    _add_settings(commands)
    _add_reload(commands)
    sign = commands.add_parser("sign", help="sign a link, where links must be signed")
    add_sign(sign)
    add_files(sign)
    return parser


def _add_serve(commands: "Commands") -> None:
    parser = commands.add_parser("serve", help="serve by Waitress, for machines without Apache")
    add_configuration(parser)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port_number, default=8000)
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    web = create_app(options.conf, overrides(options))
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
    add_headers(parser)
    for parameter in PARAMETERS:
        if parameter not in ("name", "url"):
            parser.add_argument(f"--{parameter}", help="as in the URL")
    add_files(parser)
    parser.set_defaults(run=_render)


def _render(options: argparse.Namespace) -> int:
    file = options.file.resolve()
    settings = load_settings(options.conf, Overrides(file.parent, options.policy))
    asked = {name: getattr(options, name, None) for name in PARAMETERS}
    given = {name: value for name, value in asked.items() if value is not None}
    request = Incoming(
        urlencode({"name": file.name, **given}, quote_via=quote), dict(options.header)
    )
    delivery = make_delivery(settings)
    answer = delivery.render(delivery.find(delivery.understand(request)))
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
    add_configuration(parser)
    parser.set_defaults(run=_purge)


def _purge(options: argparse.Namespace) -> int:
    settings = load_settings(options.conf, overrides(options))
    purger = make_purger(settings, make_delivery(settings, keeps=True))
    purged = purger.purge(PurgeRequest(options.name, options.imagekey, options.all))
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
    add_files(parser)
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
    text = edge_configuration(options.cache, settings, site)
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


def _add_settings(commands: "Commands") -> None:
    parser = commands.add_parser("settings", help="print every setting as it is in force")
    add_configuration(parser)
    parser.set_defaults(run=_settings)


def _settings(options: argparse.Namespace) -> int:
    print(describe_settings(load_settings(options.conf, overrides(options))))
    return 0


def _add_reload(commands: "Commands") -> None:
    parser = commands.add_parser("reload", help="have Apache's daemons start anew, losing nothing")
    add_configuration(parser)
    parser.add_argument("--pid-file", type=Path, default=PID_FILE, help="Apache's")
    parser.add_argument(
        "--wait", type=float, default=90.0, metavar="SECONDS", help="for each daemon; default 90"
    )
    parser.set_defaults(run=_reload)


def _reload(options: argparse.Namespace) -> int:
    def check() -> None:
        """What cannot start must not replace what runs."""
        settings = load_settings(options.conf, overrides(options))
        make_purger(settings, make_delivery(settings))
        make_signing(settings)
        run_folder(settings)

    reload(options.pid_file, options.wait, print, check)
    return 0


if __name__ == "__main__":
    sys.exit(main())
