"""Measure a rendition found in the disk cache against a bare Flask view, in the same daemons.

    python benchmarks/hot_path.py [--rounds 5] [--seconds 4]

starts the project's Apache over the photographs of Debian's lomiri-wallpapers, renders 228 of them,
and asks for those again past Apache's own cache (`Cache-Control: no-store`): Python finds each in
the disk cache. A Flask view in the same daemon processes, which answers the same bytes from memory
and does nothing else, is asked for as often, in turn. Prints requests a second and the ratio,
medians.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from load import ask_each, repeat
from peers import Imgprocessor
from rich.console import Console
from runner import running
from systems import Command, Place

PHOTOGRAPHS = Path("/usr/share/backgrounds")
WIDTHS, QUALITIES = (304, 464, 624), (45, 60, 70, 78)
NO_STORE = "no-store"

BARE = """\
from pathlib import Path
from flask import Flask, Response, request
application = Flask("bare", static_folder=None)
BODIES = {{str(number): Path("{folder}", str(number)).read_bytes() for number in range({count})}}
@application.route("/<number>")
def picture(number):
    return Response(BODIES[number], mimetype="image/jpeg")
"""
INCLUDE = """\
WSGIScriptAlias /bare "{script}" process-group=imgprocessor application-group=%{{GLOBAL}}
<Directory "{folder}">
    Require all granted
</Directory>
"""


class WithBareView(Imgprocessor):
    """The server with a second application beside it, whose file is written later."""

    def __init__(self, script: Path) -> None:
        """Use a script."""
        self._script = script

    def commands(self, place: Place) -> list[Command]:
        """Add the script to what the virtual host serves."""
        (command,) = super().commands(place)
        include = place.state / "conf" / "static.conf"
        include.write_text(INCLUDE.format(script=self._script, folder=self._script.parent))
        return [command]


def main() -> int:
    """Print one line."""
    parser = argparse.ArgumentParser(description="Measure the way of a repeat through Python.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    names = sorted(path.name for path in PHOTOGRAPHS.glob("*.jpg") if not path.is_symlink())
    with tempfile.TemporaryDirectory(prefix="imgprocessor-hot-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        script = folder / "bare.wsgi"
        system = WithBareView(script)
        with running(system, PHOTOGRAPHS, folder, names[0]) as server:
            port = server.place.port
            paths = [
                system.path(name, width, quality)
                for name in names
                for width in WIDTHS
                for quality in QUALITIES
            ]
            answers = ask_each(port, paths).answers
            for number, answer in enumerate(answers):
                (folder / str(number)).write_bytes(answer.body)
            script.write_text(BARE.format(folder=folder, count=len(answers)))
            bare_paths = [f"/bare/{number}" for number in range(len(answers))]
            both = []
            for _ in range(options.rounds):
                ours = repeat(port, paths, options.seconds, folder, NO_STORE)
                bare = repeat(port, bare_paths, options.seconds, folder, NO_STORE)
                both.append((ours, bare, ours / bare))
    ours, bare, ratio = (statistics.median(column) for column in zip(*both, strict=True))
    Console().print(
        f"{len(paths)} renditions: {ours:.0f} a second, bare view {bare:.0f}: {ratio:.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
