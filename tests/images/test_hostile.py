"""Hostile originals, made in code and third-party ones: each is served or refused, quickly, and
leaves nothing behind.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import hostile
import images
import pytest
import servers
import sweep
from conftest import CORPUS, ROOT, needs_corpus
from PIL import Image
from servers import Server, serving

from imgprocessor.request.names import MAX_NAME_BYTES

pytestmark = pytest.mark.slow

MOST_SECONDS = 2
SERVED = {"JPEG", "PNG", "WEBP", "GIF"}
ALLOWED_PLUGINS = {
    # Decoders.
    "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.WebPImagePlugin", "PIL.GifImagePlugin",
    # Encoders; the second is imported by the first.
    "pillow_avif.AvifImagePlugin", "PIL.AvifImagePlugin", "pillow_jxl.JpegXLImagePlugin",
}  # fmt: skip


def _signature(file: bytes) -> str:
    known = {b"\xff\xd8\xff": "JPEG", b"\x89PN": "PNG", b"RIF": "WEBP", b"GIF": "GIF"}
    return known.get(file[:3], "")


ALL = bool(os.environ.get("IMGPROCESSOR_ALL_WIDTHS"))
"""Whether each file is looked at, at all widths, as `./run torture` has it. Otherwise a part is."""


def _swept(folder: Path, every: int = 1) -> sweep.Sweep:
    """Sweep in a fresh process: this one's has plugins of its own, and its peak is past."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "sweep.py", folder, str(every)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found = json.loads(done.stdout)
    found["became"] = [sweep.Became(**one) for one in found["became"]]
    return sweep.Sweep(**found)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The files made in code, and what is expected of each."""
    folder = tmp_path_factory.mktemp("hostile")
    servers.open_up(folder)
    return folder, hostile.write(folder)


@pytest.fixture(scope="module")
def made_sweep(made: tuple[Path, dict[str, str]]) -> sweep.Sweep:
    return _swept(made[0])


@pytest.fixture(scope="module")
def corpus_sweep() -> sweep.Sweep:
    return _swept(CORPUS / "malformed", 1 if ALL else 5)


@pytest.fixture(
    params=["made_sweep", pytest.param("corpus_sweep", marks=needs_corpus)],
)
def swept(request: pytest.FixtureRequest) -> sweep.Sweep:
    """Both."""
    found: sweep.Sweep = request.getfixturevalue(request.param)
    return found


def test_the_files_are_the_same_each_time(made: tuple[Path, dict[str, str]]) -> None:
    folder, expected = made
    changed = [
        one.name
        for one in hostile.hostile_files()
        if one.make() != (folder / one.name).read_bytes()
    ]

    assert changed == []
    assert len(expected) > 700


def test_each_becomes_what_is_expected_of_it(
    made: tuple[Path, dict[str, str]], made_sweep: sweep.Sweep
) -> None:
    expected = made[1]
    wrong = [
        one for one in made_sweep.became if expected[one.name] not in {hostile.ANY, one.outcome}
    ]

    assert wrong == []
    assert len(made_sweep.became) == len(expected) * (len(sweep.WIDTHS) if ALL else 1)


def test_each_is_a_picture_or_a_refusal(swept: sweep.Sweep) -> None:
    known = {hostile.PICTURE, hostile.UNSUPPORTED, hostile.OVERSIZED, hostile.BROKEN}

    assert [one for one in swept.became if one.outcome not in known] == []
    assert {one.outcome for one in swept.became} == known


def test_none_takes_long(swept: sweep.Sweep) -> None:
    slowest = max(swept.became, key=lambda one: one.seconds)

    assert slowest.seconds < MOST_SECONDS, slowest


def test_none_takes_much_memory(swept: sweep.Sweep) -> None:
    """The budget, the interpreter, and what is made of the pixels."""
    assert swept.peak_bytes < 750_000_000


def test_no_decoder_is_imported_whatever_comes(swept: sweep.Sweep) -> None:
    assert [name for name in swept.imported if name.startswith("PIL")] == []
    assert set(swept.plugins) <= ALLOWED_PLUGINS


def test_no_process_and_no_connection_is_begun(swept: sweep.Sweep) -> None:
    assert swept.forbidden == []


def test_pillow_itself_goes_looking_for_no_plugin() -> None:
    """Not even where it is asked for a format that it does not know, which imports all thirty."""
    script = (
        "import io, sys, imgprocessor.app\n"
        "from PIL import Image\n"
        "for ask in (lambda: Image.open(io.BytesIO(b'%!PS-Adobe')),\n"
        "            lambda: Image.new('L', (9, 9)).save(io.BytesIO(), 'EPS')):\n"
        "    try: ask()\n"
        "    except (OSError, KeyError): pass\n"
        "    else: raise SystemExit('done')\n"
        "print(*sorted(name for name in sys.modules if name.endswith('ImagePlugin')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert set(done.stdout.split()) <= ALLOWED_PLUGINS


# Through real Apache.


def _cpu_seconds(server: Server) -> float:
    """Return what all processes and those that they waited for have computed so far."""
    ticks = 0
    for pid in server.processes():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _names(folder: Path) -> list[str]:
    """Return the files that can be named in a URL at all."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if len(name.encode()) <= MAX_NAME_BYTES)


@pytest.fixture(scope="module")
def apache(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Path, dict[str, str]]
) -> Iterator[Server]:
    folder = made[0]
    if CORPUS.is_dir():
        shutil.copytree(CORPUS / "malformed", folder / "corpus", dirs_exist_ok=True)
    for number in range(8):
        large = images.texture((750, 500), number).resize((6000, 4000), Image.Resampling.NEAREST)
        images.save(folder / "warm" / f"{number}.jpg", large, "JPEG", progressive=True)
    with serving(tmp_path_factory.mktemp("server"), folder) as server:
        yield server


@pytest.mark.apache
def test_apache_outlives_them_all(apache: Server, made: tuple[Path, dict[str, str]]) -> None:
    """No daemon dies, no 5xx, nothing slow, memory back to where it was."""
    folder, expected = made
    slow: list[str] = []

    def ask(name: str, width: int) -> float:
        begin = time.monotonic()
        answer = apache.ask(f"/images/?name={quote(name)}&width={width}&dpr=1")
        seconds = time.monotonic() - begin
        if seconds > MOST_SECONDS:
            slow.append(name)
        outcome = answer.headers.get("image-error", hostile.PICTURE)
        assert answer.status == (200 if outcome == hostile.PICTURE else 422), (name, answer.status)
        sent = images.decoded(answer.body)
        if answer.status == 200:
            # A placeholder may be the plain one, while another is rendered.
            assert sent.width <= width or "sent=original" in answer.headers["image-decision"], name
            assert _signature((folder / name).read_bytes()) in SERVED, name
        assert expected.get(name, hostile.ANY) in {hostile.ANY, outcome}, name
        return seconds

    with ThreadPoolExecutor(2) as clients:
        list(clients.map(ask, [f"warm/{number}.jpg" for number in range(8)] * 2, [64, 800] * 8))
        daemons, before = apache.daemons(), servers.memory_bytes(apache.processes())
        names, widths = _names(folder), sweep.WIDTHS
        pairs = [(name, width) for name in names for width in widths]
        if not ALL:
            pairs = pairs[::13]
        seconds = list(clients.map(ask, *zip(*pairs, strict=True)))

    assert apache.daemons() == daemons
    grown = servers.memory_bytes(apache.processes()) - before
    print(f"slowest: {max(seconds):.2f} s; memory: {grown / 1e6:.0f} MB more")
    assert grown < 50_000_000 * len(daemons)
    # What else this machine does may have slowed some down: what those cost is asked of the kernel.
    for number, name in enumerate(set(slow)):
        shutil.copy(folder / name, folder / f"again-{number}")
        used = _cpu_seconds(apache)
        ask(f"again-{number}", 800)
        assert _cpu_seconds(apache) - used < MOST_SECONDS, name
