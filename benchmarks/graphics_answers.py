"""What is sent for a picture, by this server and by its peers; how it looks on a page; its score.

The peers are what others encode with, at their own qualities: Pillow as thumbor calls it (WebP,
quality 80, method 4), and sharp (WebP of quality 80; AVIF of quality 50, effort 4, its defaults).
What sharp made is kept by the original's content, and scores by the pixels that were compared.
"""

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image, ImageCms, ImageOps
from quality_scale import SMALLEST_SIDE_PIXELS, ssimulacra2

from imgprocessor.cli.policy.report import CHROMIUM_ACCEPT
from imgprocessor.images.decode import Picture
from imgprocessor.images.pipeline import Rendition
from imgprocessor.load import DEFAULT_CONF, Overrides, load_policy, load_settings
from imgprocessor.parts import make_delivery
from imgprocessor.policy.plan import Plan
from imgprocessor.rendering.process import make_masters
from imgprocessor.service.delivery import Delivery, Found
from imgprocessor.service.understanding import Incoming
from imgprocessor.timing import Timings

SHARP = "0.34.5"
THUMBOR_WEBP = {"quality": 80, "method": 4}
SHARP_CALLS = {"sharp webp": "webp({quality:80})", "sharp avif": "avif()"}
ROUNDS = 3
MS_IN_NS = 1_000_000

_POLICY = """\
[bandwidths]
4g      = otherwise
default = 4g
[screens]
any     = otherwise
default = any
[formats]
offer = {offer}
[sized]
4g = {cell}
[any]
4g = full {cell}
"""

_SCRIPT = """
const sharp = require("sharp");
sharp.concurrency(1);
(async () => {
  for (const [source, width, target] of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
    const read = sharp(source);
    if (width) read.resize({ width });
    await CALLS[target.split(".").pop()](read).toFile(target + ".new");
    require("fs").renameSync(target + ".new", target);
    console.log(target);
  }
})();
"""


@dataclass(frozen=True)
class Sent:
    """A file that was sent."""

    body: bytes
    format: str

    def shown(self) -> Image.Image:
        """Return its first frame as a browser shows it, at its own size."""
        return shown(io.BytesIO(self.body))


class Server:
    """The server of this project over one folder, without caches and in this process."""

    def __init__(self, originals: Path, state: Path, *, cell: str, offer: str) -> None:
        policy = state / "policy.ini"
        policy.write_text(_POLICY.format(cell=cell, offer=offer))
        settings = load_settings(DEFAULT_CONF, Overrides(originals, policy))
        kept = replace(settings.disk_cache, folder=state / "kept")
        settings = replace(settings, disk_cache=kept)
        self._delivery: Delivery = make_delivery(settings, policy=load_policy(settings))
        self._masters = make_masters(settings, keeps=False)

    def ask(self, name: str, width: int | None) -> tuple[Rendition, float]:
        """Return what Chromium gets, and the processor's milliseconds: the median of some rounds.

        Raises:
            ImageError: there is no such answer.
        """
        spent = []
        for _ in range(ROUNDS):
            found = self.find(name, width)
            begin = time.process_time_ns()
            rendition = self._delivery.render(found).rendition
            spent.append((time.process_time_ns() - begin) / MS_IN_NS)
        return rendition, sorted(spent)[ROUNDS // 2]

    def find(self, name: str, width: int | None) -> Found:
        """Return what is planned for a picture, at its own size or so many pixels wide."""
        asked = {"name": name} if width is None else {"name": name, "width": width, "dpr": 1}
        incoming = Incoming(urlencode(asked), {"accept": CHROMIUM_ACCEPT})
        return self._delivery.find(self._delivery.understand(incoming))

    @contextlib.contextmanager
    def decoded(self, name: str, width: int | None) -> Iterator[tuple[Picture, Plan]]:
        """Yield what a rendition is made from: pixels and plan."""
        found = self.find(name, width)
        plan = found.planned.plan
        with self._masters.found(found.original, plan, Timings()) as master:
            yield master.picture, plan


class Peers:
    """The peers, and what they have made."""

    def __init__(self, cache: Path) -> None:
        self._sharp = cache / "sharp"
        self._made = cache / f"graphics-sharp-{SHARP}"

    def prepare(self, asked: Sequence[tuple[Path, int | None]]) -> Iterator[str]:
        """Let sharp make what it has not made yet, one at a time; yield each one's name."""
        self._made.mkdir(parents=True, exist_ok=True)
        missing = [
            (str(path), width or 0, str(target))
            for path, width in asked
            for target in (self._file(path, width, peer) for peer in SHARP_CALLS)
            if not target.exists()
        ]
        if not missing:
            return
        self._install()
        calls = ",".join(
            f"{_suffix(peer)}: (image) => image.{call}" for peer, call in SHARP_CALLS.items()
        )
        script = f"const CALLS = {{{calls}}};{_SCRIPT}"
        process = subprocess.Popen(
            ("/usr/bin/env", "node", "-e", script),
            cwd=self._sharp,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            if process.stdin is None or process.stdout is None:
                raise AssertionError("pipes were asked for")
            process.stdin.write(json.dumps(missing))
            process.stdin.close()
            for line in process.stdout:
                yield line.strip()
        if process.returncode:
            raise SystemExit("sharp failed: see above")

    def answers(self, path: Path, width: int | None) -> dict[str, Sent]:
        """Return what each peer sends."""
        answers = {"thumbor": Sent(_by_pillow(path, width), "webp")}
        for peer in SHARP_CALLS:
            body = self._file(path, width, peer).read_bytes()
            answers[peer] = Sent(body, _suffix(peer))
        return answers

    def _file(self, path: Path, width: int | None, peer: str) -> Path:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
        return self._made / f"{digest}-{width or 'own'}.{_suffix(peer)}"

    def _install(self) -> None:
        if (self._sharp / "node_modules" / "sharp").is_dir():
            return
        if not (shutil.which("node") and shutil.which("npm")):
            raise SystemExit("sharp needs Node with npm")
        self._sharp.mkdir(parents=True, exist_ok=True)
        (self._sharp / "package.json").write_text('{"private": true}\n')
        install = ("npm", "install", "--no-audit", "--no-fund", f"sharp@{SHARP}")
        subprocess.run(install, cwd=self._sharp, check=True)


def _suffix(peer: str) -> str:
    return peer.rpartition(" ")[2]


def _by_pillow(path: Path, width: int | None) -> bytes:
    with Image.open(path) as file:
        profile = file.info.get("icc_profile")
        image = file.convert("RGBA" if file.has_transparency_data else "RGB")
    if width is not None:
        image = image.resize(_reduced(image.size, width), Image.Resampling.LANCZOS)
    body = io.BytesIO()
    kept = {"icc_profile": profile} if profile else {}
    image.save(body, "WEBP", **THUMBOR_WEBP, **kept)
    return body.getvalue()


def _reduced(size: tuple[int, int], width: int) -> tuple[int, int]:
    return width, max(1, round(size[1] * width / size[0]))


def shown(file: io.BytesIO | Path) -> Image.Image:
    """Return a file's picture as a browser shows it, upright and in sRGB: RGB or RGBA."""
    opened = Image.open(file)
    profile = opened.info.get("icc_profile")
    image = ImageOps.exif_transpose(opened)
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            srgb = ImageCms.createProfile("sRGB")
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            ImageCms.profileToProfile(image, given, srgb, inPlace=True)
    image.info = {}
    return image


def at_width(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a picture at a size, by Lanczos."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def score(original: Image.Image, sent: Image.Image, width: int | None, cache: Path) -> float:
    """Return the SSIMULACRA2 score of what was sent against the original at the width asked for.

    What has another width is shown at the one asked for. With alpha, the worse counts of what is
    seen on white and on black.
    """
    size = original.size if width is None else _reduced(original.size, width)
    if sent.width == size[0] and abs(sent.height - size[1]) <= 1:
        size = sent.size  # rounded otherwise
    wanted, sent = at_width(original, size), at_width(sent, size)
    opaque = wanted.mode == "RGB" or wanted.getchannel("A").getextrema() == (255, 255)
    pages = ("white",) if opaque else ("white", "black")
    return min(_score(_on(page, wanted), _on(page, sent), cache) for page in pages)


def _on(page: str, image: Image.Image) -> Image.Image:
    """Return a picture on a page, enlarged until it can be scored."""
    factor = -(-SMALLEST_SIDE_PIXELS // min(image.size))
    if factor > 1:
        size = (image.width * factor, image.height * factor)
        image = image.resize(size, Image.Resampling.BICUBIC)
    if image.mode != "RGBA":
        return image
    under = Image.new("RGBA", image.size, page)
    under.alpha_composite(image)
    return under.convert("RGB")


def _score(wanted: Image.Image, sent: Image.Image, cache: Path) -> float:
    digest = hashlib.sha256(f"{wanted.size}".encode())
    digest.update(wanted.tobytes())
    digest.update(sent.tobytes())
    file = cache / "graphics-scores" / digest.hexdigest()[:40]
    with contextlib.suppress(FileNotFoundError, ValueError):
        return float(file.read_text())
    body = io.BytesIO()
    sent.save(body, "PNG", compress_level=1)
    found = ssimulacra2(wanted, body.getvalue())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(repr(found))
    return found
