"""Real, headless Chromium as a phone, a tablet or a window: the DevTools protocol, over a pipe.

Serves the tests and the benchmarks.
"""

import base64
import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
)  # fmt: skip
"""Flags with which it starts anywhere, and asks nothing of anybody but the page's servers."""
PAGE_SECONDS = 60
DESKTOP_CSS_PIXELS = 1920
"""Across the screen that windows are on."""

_LOADED = "document.readyState === 'complete'"
_POLL_SECONDS = 0.02


class BrowserError(Exception):
    """Chromium ended, or did not do what it was told; the message says what it said."""


@dataclass(frozen=True)
class Network:
    """What comes between the browser and all servers."""

    rtt_ms: int
    """Before an answer begins."""
    downlink_mbps: float
    """Megabits a second, which all answers share."""


@dataclass(frozen=True)
class Device:
    """What a page is shown on."""

    css_pixels: int
    """Across."""
    dpr: float = 1
    touch: bool = False
    """Whether a page without a viewport meta is laid out wider than the screen."""
    phone: bool = False
    """Whether the browser says that it is a phone's."""


def load(device: Device, profile: Path, url: str, *flags: str) -> None:
    """Open a page in a fresh profile, and return once it and its pictures are loaded."""
    with opened(device, profile, url, *flags):
        pass


@contextlib.contextmanager
def opened(
    device: Device,
    profile: Path,
    url: str,
    *flags: str,
    scripts: bool = True,
    network: Network | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = PAGE_SECONDS,
) -> "Iterator[Page]":
    """Open a page in a fresh profile; yield it once it and its pictures are loaded.

    Headers are sent with it and its pictures, in place of the browser's own. After so many seconds
    Chromium is ended, whatever is done with the page.

    Raises:
        BrowserError: when Chromium ends, or takes too long.
    """
    with _started(profile, seconds, *flags) as browser:
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        session = attached["sessionId"]
        browser.call(
            "Emulation.setDeviceMetricsOverride", session,
            width=device.css_pixels, height=900, deviceScaleFactor=device.dpr, mobile=device.touch,
            screenWidth=device.css_pixels if device.touch else DESKTOP_CSS_PIXELS, screenHeight=900,
        )  # fmt: skip
        version = browser.call("Browser.getVersion")["userAgent"].replace("Headless", "")
        browser.call(
            "Emulation.setUserAgentOverride", session, userAgent=version,
            userAgentMetadata={
                "platform": "Android" if device.touch else "Linux", "platformVersion": "",
                "architecture": "", "model": "", "mobile": device.phone,
            },
        )  # fmt: skip
        if not scripts:
            browser.call("Emulation.setScriptExecutionDisabled", session, value=True)
        if network is not None or headers:
            browser.call("Network.enable", session)
        if network is not None:
            bytes_a_second = network.downlink_mbps * 1_000_000 / 8
            browser.call(
                "Network.emulateNetworkConditions", session, offline=False,
                latency=network.rtt_ms, downloadThroughput=bytes_a_second, uploadThroughput=-1,
            )  # fmt: skip
        if headers:
            browser.call("Network.setExtraHTTPHeaders", session, headers=dict(headers))
        browser.call("Page.navigate", session, url=url)
        page = Page(browser, session, target)
        # Where scripts are disabled no event would tell.
        while not page.run(_LOADED):
            time.sleep(_POLL_SECONDS)
        yield page


@dataclass
class Page:
    """A page that is open."""

    browser: "_Browser"
    session: str
    target: str
    """Which is its main frame's name as well."""

    def run(self, expression: str) -> Any:
        """Return the value of an expression, or of the promise that it is."""
        told = self.browser.call(
            "Runtime.evaluate", self.session,
            expression=expression, awaitPromise=True, returnByValue=True,
        )  # fmt: skip
        if "exceptionDetails" in told:
            raise BrowserError(f"{expression}: {told}")
        return told["result"].get("value")

    def body(self, url: str) -> bytes:
        """Return what was received for a picture of the page."""
        self.browser.call("Page.enable", self.session)
        told = self.browser.call(
            "Page.getResourceContent", self.session, frameId=self.target, url=url
        )
        return base64.b64decode(told["content"], validate=True)

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files in a field for them."""
        field = f"document.querySelector({json.dumps(selector)})"
        told = self.browser.call("Runtime.evaluate", self.session, expression=field)
        self.browser.call(
            "DOM.setFileInputFiles", self.session,
            files=[str(file) for file in files], objectId=told["result"]["objectId"],
        )  # fmt: skip

    def press(self, key: str, code: int) -> None:
        """Press a key, of which browsers know a number as well."""
        text = "\r" if key == "Enter" else ""
        for kind in ("keyDown", "keyUp"):
            self.browser.call(
                "Input.dispatchKeyEvent", self.session,
                type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text,
            )  # fmt: skip

    def swipe(self, from_x: int, to_x: int, y: int) -> None:
        """Drag a finger across."""
        steps = [from_x + (to_x - from_x) * step // 10 for step in range(11)]
        for kind, places in (("touchStart", steps[:1]), ("touchMove", steps), ("touchEnd", [None])):
            for x in places:
                self.browser.call(
                    "Input.dispatchTouchEvent", self.session,
                    type=kind, touchPoints=[] if x is None else [{"x": x, "y": y}],
                )  # fmt: skip


@dataclass
class _Browser:
    """Commands and answers as JSON, each ended by a zero byte. Events are passed over."""

    process: subprocess.Popen[bytes]
    calls: int = 0

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command; return its result."""
        self.calls += 1
        command = {"id": self.calls, "method": method, "params": parameters}
        if session is not None:
            command["sessionId"] = session
        if self.process.stdin is None:
            raise AssertionError("pipes were asked for")
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\0")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise BrowserError("Chromium ended, or took too long") from error
        answer = next(message for message in self._messages() if message.get("id") == self.calls)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _messages(self) -> Iterator[dict[str, Any]]:
        if self.process.stdout is None:
            raise AssertionError("pipes were asked for")
        message = bytearray()
        while byte := self.process.stdout.read(1):
            if byte != b"\0":
                message += byte
                continue
            yield json.loads(message)
            message.clear()
        raise BrowserError("Chromium ended, or took too long")


@contextlib.contextmanager
def _started(profile: Path, seconds: float, *more: str) -> Iterator[_Browser]:
    pipe = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
    flags = (*QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe", *more)
    with subprocess.Popen(
        ["/bin/sh", "-c", pipe, "sh", CHROMIUM, *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        # Reading has no time-out of its own.
        watchdog = threading.Timer(seconds, process.kill)
        watchdog.start()
        try:
            browser = _Browser(process)
            yield browser
            browser.call("Browser.close")
        finally:
            watchdog.cancel()
            process.kill()
