"""Try documents in containers: pages that come by themselves, and the sandbox they are drawn in."""

import contextlib
import http
import io
import json
import os
import signal
import time
import zlib
from pathlib import Path

from container_parts import Parts, is_healthy, run
from container_sites import Site, await_so, is_so_soon, see
from PIL import Image

INSIDE = Path(__file__).with_name("container_inside.py")
"""What is run in the worker's container."""

PAPER, SECRET = (0, 128, 0), (255, 0, 255)
SECRET_FILE = "secret.png"  # noqa: S105 - a picture
FIRST = "/images/?name=meadow.jpg&width=300"
MADE_SECONDS = 20
GONE_SECONDS = 3
SLOW = {"queue.pdf": "the process that has it", "container.pdf": "the whole worker"}
"""Documents that take seconds, and what is killed meanwhile."""

_DRAWING = "paint_in_sandbox"
"""In the command line of what draws."""
_STROKES = 1_500
"""Each over the whole page: some milliseconds."""


def write_documents(originals: Path) -> None:
    """Write documents beside the pictures: one that is quick, slow ones, and one that names a
    picture, the settings, and a secret.
    """
    green = PAPER[1] / 255
    paper = b"0 %.3f 0 rg 0 %.3f 0 RG 0 0 200 100 re f\n" % (green, green)
    (originals / "paper.pdf").write_bytes(_pdf(paper, paper))
    strokes = b"0 0 m 200 100 l S\n0 100 m 200 0 l S\n" * (_STROKES // 2)
    for number, name in enumerate(SLOW):
        (originals / name).write_bytes(_pdf(paper + b"%d w\n" % (90 + number) + strokes))
    Image.new("RGB", (64, 64), SECRET).save(originals / SECRET_FILE)
    there = (
        f"/originals/{SECRET_FILE}",
        "/etc/imgprocessor/imgprocessor.ini",
        "/secrets/store-key",
    )
    links = [*there, *(f"file://{path}" for path in there), SECRET_FILE, "http://redis:6379/"]
    images = "".join(
        f'<image {attribute}="{link}" width="200" height="100"/>'
        for link in links
        for attribute in ("href", "xlink:href")
    )
    (originals / "linking.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' width="200" height="100"><rect width="200" height="100" fill="#{bytes(PAPER).hex()}"/>'
        f"{images}</svg>"
    )


def _pdf(*pages: bytes) -> bytes:
    """Return a PDF of pages of 200 x 100 points, by what draws each."""
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
    ]
    for page in pages:
        packed = zlib.compress(page)
        contents = f"/Contents {len(objects) + 2} 0 R"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] {contents} >>".encode(),
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed),
        ]
    body, places = b"%PDF-1.7\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return b"%sxref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\n%s" % (
        *(body, size, table, size),
        b"startxref\n%d\n%%%%EOF\n" % len(body),
    )


class DocumentsTrial:
    """What is tried with documents."""

    def __init__(self, parts: Parts, front: Site) -> None:
        self._parts = parts
        self._front = front

    def all(self, sandbox: str) -> None:
        """Try all, where the worker must find this sandbox."""
        self.see_sandbox(sandbox)
        self.see_page()
        self._see_links()
        for name, what in SLOW.items():
            self._kill(name, what)

    def see_sandbox(self, sandbox: str) -> None:
        """See which sandbox there is, and that nothing is within reach in it."""
        await_so("the worker takes jobs", lambda: is_healthy(self._worker()))
        await_so("... and there are pictures", lambda: self._front.is_picture(FIRST))
        told = run("podman", "exec", self._worker(), "imgprocessor", "previews")
        print("".join(f"    {line}\n" for line in told.splitlines()), end="")
        see(f"documents are drawn by {sandbox}", f"sandbox: {sandbox}\n" in told)
        (server, *_) = self._parts.names("server")
        look = "from urllib.request import urlopen; print(urlopen(input()).read().decode())"
        script = f"echo http://127.0.0.1:8000/images/-/ready | python3 -c '{look}'"

        def said() -> str:
            checks = json.loads(run("podman", "exec", server, "sh", "-c", script))["checks"]
            return str(checks["previews"])

        await_so("... and the server's readiness says so", lambda: said() == "ok")
        script = INSIDE.read_text(encoding="utf-8")
        found = run("podman", "exec", self._worker(), "python3", "-c", script)
        could, tried = json.loads(found)
        see(f"... of {len(tried)} things a program in it could reach {could}", could == tried[:1])

    def see_page(self) -> None:
        """See that a page comes through Varnish by itself, and is drawn once for all sizes."""
        path = "/images/?name=paper.pdf&page=2&width="
        began = time.monotonic()
        status, told, body = self._front.ask(f"{path}300")
        wrong, kept = told.get("image-error"), told.get("cache-control")
        see(
            f"a document: {status} {wrong}, {kept}, Retry-After {told.get('retry-after')}",
            (status, wrong, kept)
            == (http.HTTPStatus.NOT_FOUND, "page-being-made", "public, max-age=1"),
        )
        see("... with a placeholder", _size(body) is not None)
        _, again, _ = self._front.ask(f"{path}300")
        hit = again.get("x-cache")
        see(f"... which Varnish keeps: {hit}", hit == "HIT")
        self._await_page(f"{path}300", began)
        known = self._copies()
        for width in range(301, 306):
            see(f"... and in {width}", self._shows(f"{path}{width}", PAPER))
        see(f"... of a page that was drawn once: {len(known)} files", self._copies() == known)

    def _see_links(self) -> None:
        """See that what a document names is not in its picture."""
        see(
            "a secret picture is among the originals",
            self._shows(f"/images/?name={SECRET_FILE}", SECRET),
        )
        path = "/images/?name=linking.svg&width=300"
        self._await_page(path, time.monotonic())
        _, _, body = self._front.ask(path)
        with Image.open(io.BytesIO(body)) as opened:
            pixels = opened.convert("RGB").tobytes()
        found = {tuple(pixels[at : at + 3]) for at in range(0, len(pixels), 3)}
        odd = {colour for colour in found if not _is_near(colour, PAPER)}
        see(
            f"... and not in a drawing that names it, {len(found)} colours, {len(odd)} odd", not odd
        )

    def _kill(self, name: str, what: str) -> None:
        """See that nothing is left where a worker is killed that draws, and the page is made."""
        path, began = f"/images/?name={name}&width=300", time.monotonic()
        worker = int(self._parts.inspect(self._worker())["State"]["Pid"])
        self._front.ask(path)
        see(f"{name} is being drawn", is_so_soon(lambda: bool(_drawing(worker))))
        time.sleep(1)  # in the midst of it
        above, *drawing = _drawing(worker)
        os.kill(worker if "worker" in what else above, signal.SIGKILL)
        killed = time.monotonic()

        def is_gone() -> bool:
            return not any(Path(f"/proc/{process}").exists() for process in drawing)

        while not is_gone() and time.monotonic() < killed + GONE_SECONDS:
            time.sleep(0.05)
        seconds = time.monotonic() - killed
        see(f"... kill -9 of {what}: what drew has gone after {seconds:.1f} s", is_gone())
        await_so("... and the worker takes jobs again", lambda: is_healthy(self._worker()))
        self._await_page(path, began, MADE_SECONDS * 2)
        await_so("... and no file of it is left", lambda: not self._left())

    def _await_page(self, path: str, began: float, most_seconds: float = MADE_SECONDS) -> None:
        while not self._shows(path, PAPER) and time.monotonic() < began + most_seconds:
            time.sleep(0.2)
        seconds = time.monotonic() - began
        see(f"... the page is there after {seconds:.1f} s", self._shows(path, PAPER))

    def _shows(self, path: str, colour: tuple[int, int, int]) -> bool:
        """Whether there is a picture now, of this colour."""
        status, _, body = self._front.ask(path)
        if status != http.HTTPStatus.OK:
            return False
        with Image.open(io.BytesIO(body)) as opened:
            left, top = opened.width // 2, opened.height // 2
            pixel = opened.convert("RGB").crop((left, top, left + 1, top + 1)).tobytes()
        return _is_near((*pixel,), colour)

    def _worker(self) -> str:
        return self._parts.names("worker", "-a")[0]

    def _copies(self) -> set[str]:
        """Return files of pages: one that is drawn again is another one."""
        look = ("find", "/copies", "-type", "f", "-size", "+0", "-printf", "%i %p\\n")
        return set(run("podman", "exec", self._worker(), *look).splitlines())

    def _left(self) -> str:
        return run("podman", "exec", self._worker(), "find", "/uploads/jobs", "-mindepth", "1")


def _drawing(worker: int) -> list[int]:
    """Return the worker's own process that has a document drawn, as this machine counts them, and
    all that are below it; none where nothing is drawn.
    """
    for above in _children(worker):
        below = _descendants(above)
        if any(_DRAWING in _command(process) for process in below):
            return [above, *below]
    return []


def _descendants(process: int) -> list[int]:
    children = _children(process)
    return [*children, *(found for child in children for found in _descendants(child))]


def _children(process: int) -> list[int]:
    found: list[int] = []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has just ended
            found += map(int, children.read_text().split())
    return found


def _command(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8", errors="replace")
    return ""


def _is_near(pixel: tuple[int, ...], colour: tuple[int, int, int]) -> bool:
    return all(abs(one - other) < 40 for one, other in zip(pixel, colour, strict=True))  # noqa: PLR2004


def _size(body: bytes) -> tuple[int, int] | None:
    with contextlib.suppress(OSError), Image.open(io.BytesIO(body)) as opened:
        return opened.size
    return None
