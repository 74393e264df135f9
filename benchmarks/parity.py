"""Compare what two versions of the program answer: status, headers and bytes, request by request.

`python benchmarks/parity.py OLD [--new NEW] [--requests 5000]`, where OLD is another checkout. Both
are asked in this interpreter's environment, each in a process of its own, over the same originals.
Left out is what may differ: the digest in the imagekey, what is hashed from it, and times.
"""

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

_LEFT_OUT = {"etag", "xkey", "surrogate-key", "date", "server-timing"}
"""Names of headers."""

_ORIGINALS = ("nasa.jpeg", "a/b/c.png", "A-b_c.9.jpg", "x", "_", "-", "1_2x_3.webp", "a b.jpg")
_BROKEN = "a+b.jpg"


def main() -> int:
    """Print how many answers differ, and the first of those."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path, metavar="OLD")
    parser.add_argument("--new", type=Path, default=ROOT)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        _answer(options.inside)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_originals(folder / "originals")
        requests = _made_up(options.requests)
        (folder / "requests.json").write_text(json.dumps(requests))
        old, new = (_answers(checkout, folder) for checkout in (options.old, options.new))
    statuses = Counter(answer["status"] for answer in new)
    differing = [
        (asked, before, after)
        for asked, before, after in zip(requests, old, new, strict=True)
        if before != after
    ]
    print(f"{len(new)} answers, {dict(sorted(statuses.items()))}: {len(differing)} differ")
    for asked, before, after in differing[:5]:
        print(json.dumps([asked, before, after], indent=1))
    return 1 if differing else 0


def _made_up(count: int) -> list[Any]:
    sys.path.insert(0, str(ROOT / "tests"))
    import generated  # noqa: PLC0415 - of the tests

    from imgprocessor.policy.parse import parse_policy  # noqa: PLC0415 - not in the other process

    policy = parse_policy((ROOT / "conf/policy.ini").read_text(), "policy.ini")
    return list(generated.made_up(policy, 4096, count, 7))


def _make_originals(folder: Path) -> None:
    from PIL import Image, ImageFilter  # noqa: PLC0415 - as above

    chance = random.Random(1)  # noqa: S311 - pictures
    for number, name in enumerate((*_ORIGINALS, _BROKEN)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (400 + 150 * number, 900 - 70 * number)
        image = Image.frombytes("RGB", (40, 30), chance.randbytes(3600)).resize(size)
        image = image.filter(ImageFilter.GaussianBlur(2))
        if path.suffix == ".png":
            image.putalpha(image.getchannel("R"))
        kind = {".png": "PNG", ".webp": "WEBP"}.get(path.suffix, "JPEG")
        image.save(path, kind)
        os.utime(path, (1_000_000_000 + number,) * 2)
    (folder / _BROKEN).write_bytes((folder / _BROKEN).read_bytes()[:500])


def _answers(checkout: Path, folder: Path) -> list[Any]:
    command = [sys.executable, __file__, str(checkout), "--inside", str(folder)]
    path = str(checkout.resolve())
    told = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    found: list[Any] = json.loads(told.stdout)
    return found


def _answer(folder: Path) -> None:
    """Ask the program that this process imports; print what it answers."""
    import imgprocessor  # noqa: PLC0415 - the one that PYTHONPATH names

    root = Path(str(imgprocessor.__file__)).parent.parent
    try:
        from imgprocessor.load import load_settings  # noqa: PLC0415
    except ImportError:
        from imgprocessor.loading import load_settings  # type: ignore[import-not-found,no-redef] # noqa: PLC0415
    from imgprocessor.app import make_web  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as state:
        section = "disk_cache" if (root / "imgprocessor/load.py").exists() else "store"
        conf = Path(state) / "imgprocessor.ini"
        roots = "roots" if (root / "imgprocessor/originals/configured.py").exists() else "root"
        conf.write_text(
            f"[originals]\n{roots} = {folder}/originals\n[{section}]\nfolder = {state}/cache\n"
            f"[log]\nfile = {state}/log\n[policy]\nfile = {root}/conf/policy.ini\n"
            f"[placeholder]\nfile = {root}/static/404image.png\n"
        )
        client = make_web(load_settings(conf)).test_client()
        requests = json.loads((folder / "requests.json").read_text())
        print(json.dumps([_asked(client, *request) for request in requests]))


def _asked(client: Any, query_string: str, headers: dict[str, str]) -> Any:
    # WSGI has query strings and headers as latin-1, as they came.
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    environ["QUERY_STRING"] = query_string
    answer = client.get("/images/", environ_overrides=environ)
    named = {name.lower(): value for name, value in answer.headers.items()}
    key = named.get("imagekey", "")
    named["imagekey"] = re.sub("_[0-9a-f]{8}$", "", key)
    left = {name: value for name, value in named.items() if name not in _LEFT_OUT}
    body = hashlib.sha256(answer.data).hexdigest()
    return {"status": answer.status_code, "headers": left, "body": body}


if __name__ == "__main__":
    sys.exit(main())
