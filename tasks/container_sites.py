"""Ask the parts that run in containers, and say what was seen."""

import contextlib
import http.client
import io
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

from container_env import Told, Wrong
from PIL import Image

START_SECONDS = 180
HINTS = {"ECT": "3g", "Sec-CH-Viewport-Width": "360", "Accept": "image/webp,*/*"}


@dataclass
class Site:
    """One of the parts, as clients see it."""

    base: str
    context: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        method: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers by their names in lower case, and body."""
        sent = self.headers | (headers or {})
        asked = urllib.request.Request(self.base + path, body, sent, method=method)
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self.context))
        try:
            with urllib.request.build_opener(*handlers).open(asked, timeout=60) as answer:
                told = {name.lower(): value for name, value in answer.headers.items()}
                return answer.status, told, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                told = {name.lower(): value for name, value in error.headers.items()}
                return error.code, told, error.read()

    def is_picture(self, path: str) -> bool:
        """Whether a picture comes now."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _, body = self.ask(path)
            return status == http.HTTPStatus.OK and is_image(body)
        return False


def front(told: Told, port: int) -> Site:
    """Return the one way in from outside."""
    trusting = ssl.create_default_context(cafile=str(told.certificate))
    return Site(f"https://localhost:{port}", trusting, HINTS)


def form(picture: bytes) -> tuple[bytes, dict[str, str]]:
    """Return a form with a file, and the headers that it needs."""
    boundary = "------------------------d74496d66958873e"
    head = 'Content-Disposition: form-data; name="file"; filename="a.jpg"'
    body = f"--{boundary}\r\n{head}\r\n\r\n".encode() + picture + f"\r\n--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def noise(size: tuple[int, int]) -> bytes:
    """Return a picture that nobody has seen yet."""
    body = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(body, "JPEG", quality=85)
    return body.getvalue()


def is_image(body: bytes) -> bool:
    """Whether these are the bytes of a picture."""
    try:
        with Image.open(io.BytesIO(body)) as opened:
            opened.load()
    except OSError:
        return False
    return True


def see(what: str, passed: bool) -> None:  # noqa: FBT001 - read aloud, it is a sentence
    """Say what was seen.

    Raises:
        Wrong: it is not so.
    """
    if not passed:
        raise Wrong(f"this is not so: {what}")
    print(f"  {what}", flush=True)


def await_so(what: str, is_so: Callable[[], bool]) -> None:
    """Wait until something is so, and say it."""
    see(what, is_so_soon(is_so))


def is_so_soon(is_so: Callable[[], bool]) -> bool:
    """Wait until something is so; return False where that takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True
