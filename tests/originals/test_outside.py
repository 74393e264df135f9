"""What is no original, however it is asked for: no byte of it is sent, and nobody waits for it."""

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import images
import pytest
from flask.testing import FlaskClient

from imgprocessor.app import make_web
from imgprocessor.config.settings import LogSettings
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings

SIZE = "width=64&dpr=1&bandwidth=4g&format=jpeg"

LED_OUT = [
    "../secret.png", "%2e%2e/secret.png", "..%2fsecret.png", "%2e%2e%2fsecret.png",
    "%2E%2E%2Fsecret.png", "..%252fsecret.png", "%252e%252e%252fsecret.png", "....//secret.png",
    "folder/../../secret.png", "folder/%2e%2e/%2e%2e/secret.png", "./../secret.png",
    "..;/secret.png", "..%5csecret.png", "..\\secret.png", "..%00/secret.png", "../secret.png%00",
    # Overlong UTF-8 for a full stop and a slash; and UTF-16's.
    "%c0%ae%c0%ae/secret.png", "%c0%ae%c0%ae%c0%afsecret.png", "..%c0%afsecret.png",
    "%e0%80%ae%e0%80%ae%e0%80%afsecret.png", "\xc0\xae\xc0\xae/secret.png",
    "%u002e%u002e/secret.png",
    "%ff%fe.%00.%00/%00secret.png", "%ef%bc%8e%ef%bc%8e/secret.png", "..%ef%bc%8fsecret.png",
    "{outside}/secret.png", "/{outside}/secret.png", "//{outside}/secret.png",
    "file://{outside}/secret.png", "%2f{outside}/secret.png", "/proc/self/root{outside}/secret.png",
    "../other-root/secret.png", "~/secret.png", "$PWD/../secret.png",
]  # fmt: skip
"""Names that would be the picture outside if something on the way read them so."""

IN_THE_ROOT = [
    "link.png", "relative.png", "chain.png", "out/secret.png", "loop.png", "dangling.png",
    "folder", "folder/", "folder/.", "fifo.png", "socket.png", "zero.png", "null.png", "memory.png",
    "nasa.jpeg/", "nasa.jpeg/x", "nasa.jpeg%00", "nasa.jpeg%00.png", ".", "%00",
]  # fmt: skip
"""Names of what is in the folder of originals, and is none."""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture that nobody may see, beside the folder of originals."""
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "originals"
    images.save(root / "nasa.jpeg", images.texture((60, 40)), "JPEG")
    (root / "folder").mkdir()
    images.save(outside / "secret.png", images.four_colours((640, 480)), "PNG")
    images.save(outside / "originals-of-another" / "secret.png", images.texture((9, 9)), "PNG")
    (root / "link.png").symlink_to(outside / "secret.png")
    (root / "relative.png").symlink_to("../secret.png")
    (root / "chain.png").symlink_to("relative.png")
    (root / "out").symlink_to(outside)
    (root / "loop.png").symlink_to("loop.png")
    (root / "dangling.png").symlink_to("nowhere")
    (root / "zero.png").symlink_to("/dev/zero")
    (root / "memory.png").symlink_to("/proc/self/mem")
    os.mkfifo(root / "fifo.png")
    if os.geteuid() == 0:
        os.mknod(root / "null.png", 0o020666, os.makedev(1, 3))
    return outside


@pytest.fixture(scope="module")
def client(outside: Path) -> Iterator[FlaskClient]:
    delivered = load_settings(DEFAULT_CONF, Overrides(originals=outside / "originals"))
    settings = replace(
        delivered,
        log=LogSettings(outside / "requests.log"),
        disk_cache=replace(delivered.disk_cache, folder=outside / "cache"),
    )
    with socket.socket(socket.AF_UNIX) as listener:
        # Its path may have 107 bytes, which that of a folder of pytest's may exceed.
        descriptor = os.open(outside / "originals", os.O_PATH)
        listener.bind(f"/proc/self/fd/{descriptor}/socket.png")
        os.close(descriptor)
        yield make_web(settings).test_client()


@pytest.fixture(scope="module")
def placeholder(client: FlaskClient) -> bytes:
    """What everybody gets of an original that is not there."""
    body: bytes = client.get(f"/images/?name=none.png&{SIZE}").data
    return body


@pytest.mark.parametrize("name", [*LED_OUT, *IN_THE_ROOT])
def test_nothing_but_originals_is_ever_sent(
    client: FlaskClient, outside: Path, placeholder: bytes, name: str
) -> None:
    """Not a byte: the body is that of an original that is not there, whatever the name leads to."""
    spelled = name.replace("{outside}", str(outside))
    environ = {"QUERY_STRING": f"name={spelled}&{SIZE}"}
    took = []
    for method in ("GET", "HEAD") * 3:
        begin = time.monotonic()
        answer = client.open("/images/", method=method, environ_overrides=environ)
        took.append(time.monotonic() - begin)
        assert answer.status_code in {400, 404}
        assert answer.data == (placeholder if method == "GET" else b"")
        if spelled == name:
            assert str(outside) not in f"{answer.headers}"

    # Other work on this machine may slow one down; what waits for a FIFO's writer waits always.
    assert min(took) < 0.1


@pytest.mark.parametrize(
    "path",
    [
        "/images/../secret.png", "/images/%2e%2e/secret.png", "/images/originals/../../secret.png",
        "/images/nasa.jpeg", "/images/\0", "/images/..\\secret.png", "//images/../secret.png",
        "/images/-/../secret.png", "/secret.png", "/originals/nasa.jpeg",
    ],
)  # fmt: skip
def test_no_path_is_a_file(client: FlaskClient, path: str) -> None:
    answer = client.get("/", environ_overrides={"PATH_INFO": path, "QUERY_STRING": SIZE})

    assert answer.status_code in {308, 404}
    assert "ETag" not in answer.headers


def test_the_picture_outside_would_be_sent_if_it_were_inside(
    client: FlaskClient, outside: Path, placeholder: bytes
) -> None:
    """So that the tests above can fail."""
    inside = outside / "originals" / "inside.png"
    inside.write_bytes((outside / "secret.png").read_bytes())
    answer = client.get(f"/images/?name=inside.png&{SIZE}")
    inside.unlink()

    assert (answer.status_code, images.corner_colours(images.decoded(answer.data))[0]) == (
        200,
        "red",
    )
    assert answer.data != placeholder
