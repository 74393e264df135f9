"""Renders every file of a folder in a fresh process, and tells what came of it.

`python tests/sweep.py FOLDER 1` prints JSON: what each file became, how long that took,
and all that a decoder should not have done.
"""

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import images

from imgprocessor.errors import ImageError
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.parts import make_delivery
from imgprocessor.policy.plan import Plan
from imgprocessor.rendering.process import keep_memory
from imgprocessor.service.understanding import Incoming
from imgprocessor.timing import Timings

WIDTHS = (64, 800)
_FORBIDDEN = {
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system",
    "subprocess.Popen", "pty.spawn", "socket.connect", "socket.getaddrinfo", "urllib.Request",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Became:
    """What came of one file at one width."""

    name: str
    width: int
    outcome: str
    """`picture`, an error code, or the exception that nobody expected."""
    seconds: float


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What came of them all."""

    became: list[Became]
    imported: list[str]
    """Modules that were not there before the first file."""
    plugins: list[str]
    forbidden: list[str]
    """Processes and connections that were begun, and files opened that are none of the folder's."""
    peak_bytes: int


def _plan(width: int) -> Plan:
    delivery = make_delivery(load_settings(DEFAULT_CONF, Overrides(originals=Path("/"))))
    return delivery.understand(Incoming(f"name=a&width={width}&dpr=1", {})).last.require().plan


def _render(file: bytes, plan: Plan) -> str:
    try:
        body = images.rendered(file, plan, Timings()).body
    except ImageError as error:
        return error.code
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"{type(error).__name__}: {error}"
    images.decoded(body)
    return "picture"


def _peak_bytes() -> int:
    """Return the most memory so far. getrusage() would tell the parent's, where that had more."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(
        int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")
    )


def sweep(folder: Path, every: int = 1) -> Sweep:
    """Render each so many-th file, at one of the widths in turn; at all of them where the
    environment has IMGPROCESSOR_ALL_WIDTHS.
    """
    keep_memory()
    plans = {width: _plan(width) for width in WIDTHS}
    good = images.encoded(images.texture((96, 64)), "JPEG")
    for plan in plans.values():
        _render(good, plan)
    forbidden: list[str] = []
    known = set(sys.modules)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN:
            forbidden.append(f"{event} {arguments!r}")

    sys.addaudithook(watch)
    became = []
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for number, path in enumerate(paths[::every]):
        file = path.read_bytes()
        asked = list(plans.items())
        if not os.environ.get("IMGPROCESSOR_ALL_WIDTHS"):
            asked = [asked[number % len(asked)]]
        for width, plan in asked:
            begin = time.perf_counter()
            outcome = _render(file, plan)
            seconds = round(time.perf_counter() - begin, 4)
            became.append(Became(str(path.relative_to(folder)), width, outcome, seconds))
    return Sweep(
        became,
        imported=sorted(set(sys.modules) - known),
        plugins=sorted(name for name in sys.modules if name.endswith("ImagePlugin")),
        forbidden=forbidden,
        peak_bytes=_peak_bytes(),
    )


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(sweep(Path(sys.argv[1]), int(sys.argv[2])))))
