"""`./run wheel`: build the wheel, install it into an empty environment elsewhere, serve a picture.

Nothing of the checkout is on the new environment's path: what is missing in the wheel is missed.
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

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Do so; return 0 where a picture came."""
    parser = argparse.ArgumentParser(prog="./run wheel", description=__doc__)
    parser.add_argument("--extra", default="simd", help="which Pillow: simd or pillow; or server")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imgprocessor-wheel-") as name:
        folder = Path(name)
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
        _serve_a_picture(python, folder)
    print("the wheel serves a picture")
    return 0


def _unneeded(folder: str, names: list[str]) -> list[str]:
    """Return what lies in the project and is none of its files."""
    made = ("originals", "cache", "logs", "build") if Path(folder) == ROOT else ()
    return [name for name in names if name.startswith(".") or name in made]


def _expect_one_sentence(python: Path, folder: Path) -> None:
    """Check what is said where there is no Pillow."""
    command = [str(python), "-m", "imgprocessor", "policy", "check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    told = done.stderr.strip()
    if done.returncode != 1 or "\n" in told or "imgprocessor[simd]" not in told:
        raise SystemExit(f"without Pillow it says, with status {done.returncode}: {told}")
    print(told)


def _serve_a_picture(python: Path, folder: Path) -> None:
    site, program = folder / "site", python.parent / "imgprocessor"
    _run([str(program), "init", str(site)], cwd=folder)
    conf = str(site / "conf" / "imgprocessor.ini")
    Image.linear_gradient("L").resize((800, 600)).convert("RGB").save(site / "originals/a.jpg")
    _run([str(program), "policy", "check", "--conf", conf], cwd=folder)
    command = [str(program), "serve", "--port", "0", "--conf", conf]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as server:
        try:
            told = server.stdout.readline() if server.stdout else ""
            base = re.sub(r"ready on (\S+)\n", r"\1", told)
            with urllib.request.urlopen(f"{base}/images/?name=a.jpg&width=340") as answer:
                image = Image.open(io.BytesIO(answer.read()))
                image.load()
                print(f"{answer.status} {answer.headers['imagekey']}: {image.format} {image.size}")
            if (image.format, image.width) != ("JPEG", 340):
                raise SystemExit("that is not what was asked for")
            with urllib.request.urlopen(base) as page:
                print(f"{page.status} the page, {len(page.read())} bytes")
        finally:
            server.terminate()


def _run(command: Sequence[str], cwd: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, cwd=cwd, env=environment)


if __name__ == "__main__":
    sys.exit(main())
