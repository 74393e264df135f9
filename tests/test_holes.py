"""The list of holes that are closed: by version, and against what can be opened."""

import json
import subprocess
import sys
from pathlib import Path

import PIL
import pytest
from conftest import ROOT

from imgprocessor.app import make_web
from imgprocessor.holes import closed_holes
from imgprocessor.settings import Settings

# What opens each of these formats in Pillow, and how its files begin.
OTHERS = {
    "PSD": ("PsdImagePlugin", b"8BPS\0\1" + bytes(100)),
    "FITS": ("FitsImagePlugin", b"SIMPLE  =                    T" + bytes(100)),
    "EPS": ("EpsImagePlugin", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    "JPEG 2000": ("Jpeg2KImagePlugin", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)),
    "McIdas": ("McIdasImagePlugin", b"\0\0\0\0\0\0\0\x04" + bytes(300)),
}


@pytest.mark.parametrize(
    ("version", "count"),
    [
        ("12.1.0", 8), ("12.1.1.post0", 7), ("12.1.1", 7), ("12.2.0", 5), ("12.3.0", 0),
        ("13.0", 0), ("9.5.0.post2", 8), ("unreadable", 8),
    ],
)  # fmt: skip
def test_what_is_closed_depends_on_the_version(version: str, count: int) -> None:
    assert len(closed_holes(version)) == count


def test_the_log_begins_with_what_is_closed(settings: Settings) -> None:
    make_web(settings)
    (started,) = map(json.loads, Path(settings.log.file).read_text().splitlines())

    assert started["closed_holes"] == closed_holes(PIL.__version__)
    assert "Pillow" in started["started"]


def test_formats_that_are_never_opened_never_load_their_decoders(originals: Path) -> None:
    """In a process of its own: other tests may have loaded any decoder."""
    named = {hole.split(": ")[1].partition(" is never")[0] for hole in closed_holes("0")}
    assert set(OTHERS) == {name for name in named if len(name) < 10}
    for name, (_, content) in OTHERS.items():
        (originals / f"{name}.jpg").write_bytes(content)
    # What begins like a JPEG and is none: any decoder might be tried.
    (originals / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    script = f"""
import sys
from pathlib import Path
from dataclasses import replace
from imgprocessor.app import make_web
from imgprocessor.loading import DEFAULT_CONF, Overrides, load_settings
settings = load_settings(DEFAULT_CONF, Overrides(originals=Path({str(originals)!r})))
settings = replace(settings, log=replace(settings.log, file={str(originals / "log")!r}),
    store=replace(settings.store, folder={str(originals / "cache")!r}))
client = make_web(settings).test_client()
for name in {sorted(OTHERS)!r}:
    answer = client.get("/images/", query_string={{"name": name + ".jpg", "width": "64"}})
    assert answer.headers["image-error"] == "unsupported-original", (name, answer.headers)
answer = client.get("/images/?name=broken.jpg&width=64")
assert answer.headers["image-error"] == "broken-original", answer.headers
print(*(module for module in sys.modules if module.startswith("PIL.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert "PIL.JpegImagePlugin" in loaded
    assert not {f"PIL.{plugin}" for plugin, _ in OTHERS.values()} & set(loaded)
