"""Make the pictures that `graphics.py` measures: graphics of all kinds, and photographs beside.

    python benchmarks/graphics_set.py [FOLDER] [--packages DIR]

FOLDER (~/.cache/imgprocessor-bench/graphics) gets SET/KIND/NAME:

made        drawn here, and pages as Chromium shows them where it is installed
tuning      a third of what is taken from Debian's packages: encoders may be tuned on it
untouched   the other two thirds: to be measured, and never tuned on
photographs Debian's wallpapers, reduced, as PNGs and as good and bad JPEGs
mixed       pages with a photograph, and photographs with letters on them
cutouts     photographs cut out by an ellipse, on white or on nothing

From each source of `SOURCES` come the files between so many and so many pixels, each content once,
ordered by the SHA-256 of package and path; the first few are taken. Its kind is the source's. A
file is in `tuning` where the SHA-256 of its name divides by three. Packages are downloaded by
apt-get and unpacked, not installed; nothing here is anybody's choice, and all of it comes out the
same each time, given the same packages, Pillow and Chromium.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graphics_drawn import PAGES, drawn, meme, page_with
from PIL import Image, ImageDraw, ImageOps

SET_FOLDER = Path.home() / ".cache" / "imgprocessor-bench" / "graphics"
SMALLEST_SIDE_PIXELS = 128
MOST_PIXELS = 2_000_000
WALLPAPERS = ("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04")
PHOTOGRAPHS = 12
PHOTOGRAPH_WIDTH = 960
CHROMIUM = "/usr/bin/chromium"


@dataclass(frozen=True)
class Source:
    """Where pictures of one kind are taken from."""

    package: str
    pattern: str
    """Of files below usr/share, as `Path.glob` reads it."""
    kind: str
    count: int


_GIMP = "gimp/2.0/help/en/images"
SOURCES = (
    Source("wireshark-doc", "doc/**/*.png", "screenshot", 20),
    Source("gnome-user-docs", "help/C/**/*.png", "screenshot", 8),
    Source("okular", "doc/HTML/en/**/*.png", "screenshot", 8),
    Source("libgtk-4-doc", "doc/**/*.png", "screenshot", 10),
    Source("gimp-help-en", f"{_GIMP}/menus/**/*.png", "screenshot", 10),
    Source("gimp-help-en", f"{_GIMP}/preferences/*.png", "screenshot", 6),
    Source("kicad-doc-en", "doc/**/*.png", "diagram", 22),
    Source("inkscape-tutorials", "inkscape/**/*.png", "diagram", 6),
    Source("python-astropy-doc", "doc/**/*.png", "chart", 24),
    Source("octave-doc", "doc/**/*.png", "chart", 8),
    Source("marble-data", "doc/HTML/en/**/*.png", "map", 12),
    Source("gimp-help-en", f"{_GIMP}/filters/examples/**/*.png", "photo-like", 10),
    Source("gimp-help-en", f"{_GIMP}/using/*.png", "palette", 8),
    Source("pingus-data", "games/**/*.png", "game-art", 14),
    Source("freeciv-data", "games/**/*.png", "game-art", 12),
    Source("extremetuxracer-data", "games/**/*.png", "texture", 8),
    Source("oxygen-icon-theme", "icons/oxygen/base/128x128/**/*.png", "icon", 8),
    Source("oxygen-icon-theme", "icons/oxygen/base/256x256/**/*.png", "icon", 8),
    Source("adwaita-icon-theme", "icons/Adwaita/512x512/**/*.png", "icon", 8),
)


def main() -> int:
    """Make all sets, and say what there is."""
    parser = argparse.ArgumentParser(description="Make pictures of all kinds.")
    parser.add_argument("folder", nargs="?", type=Path, default=SET_FOLDER)
    parser.add_argument("--packages", type=Path, help="where packages are, or come to be, unpacked")
    options = parser.parse_args()
    folder: Path = options.folder
    packages: Path = options.packages or folder.with_name(f"{folder.name}-packages")
    _make_drawn(folder / "made")
    take(packages, folder)
    _make_of_photographs(packages, folder)
    for kind in sorted(folder.glob("*/*")):
        print(f"{kind.relative_to(folder)}: {len(list(kind.iterdir()))}")
    return 0


def _make_drawn(folder: Path) -> None:
    for kind, name, image in drawn():
        _save(image, folder / kind / f"{name}.png")
    for name, (html, width, height) in PAGES.items():
        _screenshot(html, width, height, folder / "page" / f"{name}.png")


def take(packages: Path, folder: Path) -> None:
    """Copy from the packages what `SOURCES` names into `tuning` and `untouched`."""
    known: set[str] = set()
    for source in SOURCES:
        root = _unpacked(source.package, packages)
        taken = 0
        for path in sorted(root.glob(source.pattern), key=lambda path: _rank(path, packages)):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if taken == source.count or digest in known or not _is_of_a_size(path):
                continue
            known.add(digest)
            taken += 1
            stem = re.sub(r"[^a-z0-9]+", "-", path.stem.lower())
            name = f"{source.package}-{stem}-{digest[:4]}{path.suffix}"
            tuned = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 3 == 0
            target = folder / ("tuning" if tuned else "untouched") / source.kind / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _unpacked(package: str, packages: Path) -> Path:
    """Return a package's usr/share."""
    folder = packages / package
    if not folder.is_dir():
        packages.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=packages) as place:
            _run("apt-get", "-q", "download", package, cwd=place)
            (archive,) = Path(place).glob("*.deb")
            _run("dpkg-deb", "-x", archive, Path(place, "all"))
            Path(place, "all").rename(folder)
    return folder / "usr" / "share"


def _rank(path: Path, packages: Path) -> str:
    return hashlib.sha256(str(path.relative_to(packages)).encode()).hexdigest()


def _is_of_a_size(path: Path) -> bool:
    if path.is_symlink():
        return False
    try:
        with Image.open(path) as image:
            pixels = image.width * image.height
            return min(image.size) >= SMALLEST_SIDE_PIXELS and pixels <= MOST_PIXELS
    except OSError:
        return False


def _make_of_photographs(packages: Path, folder: Path) -> None:
    for index, (name, photograph) in enumerate(_photographs(packages)):
        photographs = folder / "photographs"
        _save(photograph, photographs / "png" / f"{name}.png")
        for quality in (30, 90):
            target = photographs / f"jpeg-q{quality}" / f"{name}.jpg"
            _save(photograph, target, quality=quality)
        if index % 2:
            _save(meme(photograph, name), folder / "mixed" / "meme" / f"{name}.png")
        else:
            source = (photographs / "jpeg-q90" / f"{name}.jpg").absolute().as_uri()
            target = folder / "mixed" / "page" / f"{name}.png"
            _screenshot(page_with(source, name), 1000, 760, target)
        mask = Image.new("L", photograph.size)
        width, height = photograph.size
        box = (width // 6, height // 8, width * 5 // 6, height * 7 // 8)
        ImageDraw.Draw(mask).ellipse(box, fill=255)
        if index % 3:
            cut = Image.composite(photograph, Image.new("RGB", photograph.size, "white"), mask)
            _save(cut, folder / "cutouts" / "white" / f"{name}.png")
        else:
            photograph.putalpha(mask)
            _save(photograph, folder / "cutouts" / "alpha" / f"{name}.png")


def _photographs(packages: Path) -> Iterator[tuple[str, Image.Image]]:
    files = [
        path
        for package in WALLPAPERS
        for path in sorted(_unpacked(package, packages).glob("backgrounds/*.jpg"))
        if not path.is_symlink()
    ]
    for path in sorted(files, key=lambda path: _rank(path, packages))[:PHOTOGRAPHS]:
        file = Image.open(path)
        file.draft("RGB", (2 * PHOTOGRAPH_WIDTH, 2 * PHOTOGRAPH_WIDTH))
        image = ImageOps.exif_transpose(file.convert("RGB"))
        height = round(image.height * PHOTOGRAPH_WIDTH / image.width)
        image = image.resize((PHOTOGRAPH_WIDTH, height), Image.Resampling.LANCZOS)
        # Without profiles, so that what is cut out of it and drawn on it is sRGB like the rest.
        image.info = {}
        yield re.sub(r"[^a-z0-9]+", "-", path.stem.lower()), image


def _screenshot(html: str, width: int, height: int, target: Path) -> None:
    """Write a page as Chromium shows it, without loss; nothing where there is no Chromium."""
    if not Path(CHROMIUM).exists():
        print(f"{target}: left out, there is no Chromium", file=sys.stderr)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        page = Path(place, "page.html")
        page.write_text(html, encoding="utf-8")
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        flags = ("--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", *sandbox)
        files = (f"--user-data-dir={place}/profile", f"--screenshot={target.absolute()}")
        _run(CHROMIUM, *flags, *files, f"--window-size={width},{height}", page.as_uri())


def _save(image: Image.Image, target: Path, quality: int = 0) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if quality:
        image.save(target, quality=quality)
    else:
        image.save(target, optimize=True)


def _run(*words: str | Path, cwd: str | None = None) -> None:
    subprocess.run(words, cwd=cwd, check=True, capture_output=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
