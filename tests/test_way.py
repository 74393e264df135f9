"""The way of a request: the hand-overs that docs/architecture.md shows are those that happen."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import images
from conftest import ROOT

from imgprocessor.app import make_web
from imgprocessor.config.settings import MetricsSettings, Settings

PACKAGE = f"{ROOT}/imgprocessor/"
NAME = "tomcat.jpeg"
MOST = 32

IN_THE_POOL = {"rendering.pool", "rendering.ipc", "rendering.worker"}
"""What stands between delivery and the job where workers render; here this process does."""

Pair = tuple[str, str]


def _shown() -> list[Pair]:
    text = (ROOT / "docs/architecture.md").read_text()
    return re.findall(r"^\| \d+ \| `([\w.]+)` \| `([\w.]+)` \|", text, re.MULTILINE)


def _module(frame: FrameType | None) -> str | None:
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return None
    # A package inside one is one room.
    return ".".join(frame.f_code.co_filename.removeprefix(PACKAGE)[:-3].split("/")[:2])


def _hands_on(frame: FrameType) -> bool:
    """Whether an argument of a call has the name in it."""
    code = frame.f_code
    owner = frame.f_locals.get("self")
    if isinstance(getattr(type(owner), code.co_name, None), property):
        return False
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return any(NAME in repr(frame.f_locals[name]) for name in names if name != "self")


def test_the_hand_overs_are_those_that_are_shown(settings: Settings, originals: Path) -> None:
    images.save(originals / NAME, images.texture((600, 400)), "JPEG")
    client = make_web(replace(settings, metrics=MetricsSettings(enabled=False))).test_client()
    client.get("/images/?name=none")  # the placeholder goes the same way
    pairs: dict[Pair, None] = {}

    def follow(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            before, now = _module(frame.f_back), _module(frame)
            inside = frame.f_code.co_name.startswith("<")
            if before and now and before != now and not inside and _hands_on(frame):
                pairs[before, now] = None

    sys.setprofile(follow)
    try:
        answer = client.get(f"/images/?name={NAME}&width=300", headers={"ECT": "3g"})
    finally:
        sys.setprofile(None)

    assert answer.status_code == 200
    shown = [pair for pair in _shown() if not IN_THE_POOL & set(pair)]
    assert {*shown, ("service.delivery", "rendering.job")} == set(pairs)


def test_they_are_few() -> None:
    assert 20 < len(_shown()) <= MOST
