"""`./run wheel`: build the wheel, install it into an empty environment elsewhere, serve a picture.

Nothing of the checkout is on the new environment's path, and a file of it that is opened all the
same is an error: what is missing in the wheel is missed.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from processes import DAEMON_USER, HTTPD, free_port, httpd_conf, running
from serve import HTTPD_MODULES, ROOT

DRAWS = ("fonttools", "resvg-py")
DRAW = """\
import sys, tempfile
from pathlib import Path

import imgprocessor
from PIL import Image
from imgprocessor.geometry import FIRST_PAGE
from imgprocessor.images.previews.kind import Ends, SandboxStep
from imgprocessor.images.previews.registry import document_kind
from imgprocessor.job_parts import make_abilities
from imgprocessor.load import load_settings

conf = Path(sys.argv[1])
sandbox = make_abilities(load_settings(conf)).sandbox
with tempfile.TemporaryDirectory() as name:
    document, made = Path(name) / "a.svg", Path(name) / "made"
    made.mkdir()
    document.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"/>')
    run = sandbox.running(document, made, 20)
    with document.open("rb") as file:
        kind = document_kind(Ends.of(file))
    page = Image.open(kind.draw(run, FIRST_PAGE, 100).file)
    look = [sys.executable, "-I", "-S", "-c", "import sys; open(sys.argv[1])"]
    seen = [run(SandboxStep([*look, str(path)])).status for path in (imgprocessor.__file__, conf)]
    print(sandbox.way.name, page.size, seen)
"""
"""Run in the new environment: a drawing is drawn, and a program in the sandbox sees this package,
and no settings.
"""

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

# Loaded by each Python of the new environment, those in Apache's daemons included.
WATCH = """\
import os, sys

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if path.startswith({root!r}):
            with open({log!r}, "a") as log:
                log.write(path + "\\n")

sys.addaudithook(watch)
"""


def main() -> int:
    """Do so; return 0 where a picture came."""
    parser = argparse.ArgumentParser(prog="./run wheel", description=__doc__)
    parser.add_argument("--extra", default="simd", help="which Pillow: simd or pillow; or server")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imgprocessor-wheel-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Apache's daemons read what is in it
        python = folder / "venv" / "bin" / "python"
        source = folder / "source"
        shutil.copytree(ROOT, source, ignore=_unneeded)
        build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        _run([*build, "--wheel-dir", str(folder), str(source)], cwd=folder)
        shutil.rmtree(source)
        (wheel,) = folder.glob("imgprocessor-*.whl")
        _run(["/usr/bin/python3", "-m", "venv", str(folder / "venv")], cwd=folder)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, str(wheel)], cwd=folder)
        _expect_one_sentence(python, folder)
        _run([*pip, f"{wheel}[{options.extra}]"], cwd=folder)
        # Not the extra: it has what asks for pillow, which would lie over Pillow-SIMD.
        _run([*pip, "--no-deps", *DRAWS], cwd=folder)
        opened = _watch_the_checkout(python, folder)
        site = _make_site(python, folder)
        _draw(python, folder, site)
        _serve_by_waitress(python, folder, site)
        if options.extra == "server":
            _serve_by_apache(folder, site)
        if opened.read_text():
            raise SystemExit(f"the checkout was read:\n{opened.read_text()}")
    print("the wheel serves a picture")
    return 0


def _unneeded(folder: str, names: list[str]) -> list[str]:
    """Return what lies in the project and is none of its files."""
    made = ("originals", "cache", "logs", "build") if Path(folder) == ROOT else ()
    return [name for name in names if name.startswith(".") or name in made]


def _expect_one_sentence(python: Path, folder: Path) -> None:
    """Check what is said where there is no Pillow."""
    command = [str(python), "-m", "imgprocessor", "policy", "check"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT
    )
    told = done.stderr.strip()
    if done.returncode != 1 or "\n" in told or "imgprocessor[simd]" not in told:
        raise SystemExit(f"without Pillow it says, with status {done.returncode}: {told}")
    print(told)


def _watch_the_checkout(python: Path, folder: Path) -> Path:
    """Have all opened files of the checkout noted; return the file where."""
    opened = folder / "opened"
    opened.touch()
    opened.chmod(0o666)  # Apache's daemons write there, too
    (packages,) = (python.parent.parent / "lib").glob("python3*/site-packages")
    watch = WATCH.format(root=f"{ROOT}/", log=str(opened))
    (packages / "watch_checkout.py").write_text(watch, encoding="utf-8")
    (packages / "watch_checkout.pth").write_text("import watch_checkout\n", encoding="utf-8")
    # A watch that sees nothing at all would find no fault either.
    _run([str(python), "-c", f"open({str(ROOT / 'setup.py')!r}).close()"], cwd=folder)
    if opened.read_text() != f"{ROOT}/setup.py\n":
        raise SystemExit("nobody watches what is opened")
    opened.write_text("", encoding="utf-8")
    return opened


def _make_site(python: Path, folder: Path) -> Path:
    site, program = folder / "site", python.parent / "imgprocessor"
    _run([str(program), "init", str(site)], cwd=folder)
    Image.effect_noise((800, 600), 80).convert("RGB").save(site / "originals/a.jpg")
    conf = str(site / "conf" / "imgprocessor.ini")
    _run([str(program), "policy", "check", "--conf", conf], cwd=folder)
    return site


def _draw(python: Path, folder: Path, site: Path) -> None:
    """See that a document is drawn in the sandbox, where Linux has one."""
    command = [str(python), "-c", DRAW, str(site / "conf" / "imgprocessor.ini")]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT
    )
    print(f"a drawing: {done.stdout.strip()}")
    if not done.stdout.endswith("(100, 50) [0, 1]\n"):
        raise SystemExit(f"that is not what was asked for\n{done.stderr}")


def _serve_by_waitress(python: Path, folder: Path, site: Path) -> None:
    conf = str(site / "conf" / "imgprocessor.ini")
    command = [str(python.parent / "imgprocessor"), "serve", "--port", "0", "--conf", conf]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=folder, env=ENVIRONMENT
    ) as server:
        try:
            told = server.stdout.readline() if server.stdout else ""
            _ask(re.sub(r"ready on (\S+)\n", r"\1", told))
        finally:
            server.terminate()


def _serve_by_apache(folder: Path, site: Path) -> None:
    """Serve by the virtual host that `init` wrote, with the Defines at its top as an operator would
    set them for a place that is not Debian's own.
    """
    port, state = free_port(), folder / "apache"
    cache = state / "cache"
    cache.mkdir(parents=True)
    log = site / "logs" / "requests.log"
    if os.geteuid() == 0:
        for path in (cache, log, *(site / "cache").rglob("*"), site / "cache"):
            shutil.chown(path, DAEMON_USER, DAEMON_USER)
    virtual_host = site / "apache" / "imgprocessor.conf"
    text = virtual_host.read_text(encoding="utf-8")
    for name, value in {
        "LOGS": state,
        "RUN": state,
        "HOST": "localhost",
        "LISTEN": f"*:{port}",
        "CACHE": cache,
        "LOCKS": cache / "locks",
    }.items():
        text, count = re.subn(rf"(Define IMG_{name}) .*", rf"\1 {value}", text)
        if count != 1:
            raise SystemExit(f"the virtual host defines IMG_{name} {count} times")
    virtual_host.write_text(text, encoding="utf-8")
    conf = state / "httpd.conf"
    begin = httpd_conf(state, port, state, HTTPD_MODULES)
    types = "TypesConfig /etc/mime.types"
    conf.write_text(f'{begin}\n{types}\nInclude "{virtual_host}"\n', encoding="utf-8")
    try:
        with running([HTTPD, "-f", conf, "-DFOREGROUND"], port, state / "output"):
            _ask(f"http://localhost:{port}")
    finally:
        for log in state.glob("*error.log"):
            print(log.read_text(errors="replace")[-3000:], end="")


def _ask(base: str) -> None:
    """Ask for a picture and the page; check that they come."""
    with urllib.request.urlopen(f"{base}/images/?name=a.jpg&width=340") as answer:
        image = Image.open(io.BytesIO(answer.read()))
        image.load()
        served = answer.headers["Server"]
        print(f"{served}: {answer.headers['imagekey']}, {image.format} {image.size}")
    if (image.format, image.width) != ("JPEG", 340):
        raise SystemExit("that is not what was asked for")
    with urllib.request.urlopen(base) as page:
        print(f"{served}: the page, {len(page.read())} bytes")


def _run(command: Sequence[str], cwd: Path) -> None:
    subprocess.run(command, check=True, cwd=cwd, env=ENVIRONMENT)


if __name__ == "__main__":
    sys.exit(main())
