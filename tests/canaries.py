"""Run in a network of its own: asks for originals on every address that is not everybody's, where
canaries listen, and prints what came of it as JSON.
"""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from imgprocessor.app import make_web
from imgprocessor.config.settings import LogSettings, Settings
from imgprocessor.load import DEFAULT_CONF, Overrides, load_settings
from imgprocessor.originals.http.fetch import Fetcher
from imgprocessor.originals.http.transport import resolve

ADDRESSES = (
    *("10.1.2.3", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.1.1", "192.0.2.1"),
    *("198.18.0.1", "203.0.113.9", "192.0.0.192", "168.63.129.16", "192.88.99.1"),
    *("fc00::1", "fd00:ec2::254", "fec0::1", "2001:db8::1", "2002:7f00:1::1", "64:ff9b::7f00:1"),
    *("64:ff9b:1::1", "2001::7f00:1", "2a00::5efe:7f00:1", "3fff::1", "::127.0.0.1", "5f00::1"),
)
"""Of this network's only interface, beside 127.0.0.1 and ::1."""

LISTENED = ("127.0.0.1", "127.8.9.1", "::1", "0.0.0.0", "::", *ADDRESSES)  # noqa: S104 - canaries

NAMES = {
    **{f"n{place}.canary.example": [address] for place, address in enumerate(LISTENED)},
    "mapped.canary.example": ["::ffff:127.0.0.1"],
    "scoped.canary.example": ["fe80::1%lo"],
    "odd.canary.example": ["0x7f.1", "127.1", "2130706433", "017700000001"],
    "both.canary.example": ["93.184.215.14", "127.0.0.1"],
}
HOSTS = ("*.canary.example", "localhost", "ip6-localhost", "*.localhost")
PORTS = (80, 443)

URLS = (
    *(f"{scheme}://{name}/" for name in NAMES for scheme in ("http", "https")),
    *("http://localhost/", "https://localhost/", "http://ip6-localhost/", "http://LOCALHOST:80/"),
    *("http://a.localhost/", "http://localhost:443/a.jpg?x"),
    *("http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0/"),
    *("http://0177.0.0.1/", "http://017700000001/", "http://127.0.0.1.:80/", "http://0.0.0.0:80/"),
    *("http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
    *("http://[0:0:0:0:0:0:0:1]/", "http://[fe80::1%25lo]/", "http://[::127.0.0.1]:80/"),
    *("http://[64:ff9b::7f00:1]/", "http://169.254.169.254/latest/meta-data/", "http://10.1.2.3/"),
    *("http://2852039166/", "http://[fd00:ec2::254]/", "http://localhost:22/", "http://localhost:0/"),
    *("http://u:p@localhost/", "http://n0.canary.example@127.0.0.1/", "http://localhost#@a.example/"),
    *("http://127.0.0.1#.canary.example/", "http://127.0.0.1?.canary.example/"),
    *("http://127.0.0.1\\.canary.example/", "http://127.0.0.1\\@n0.canary.example/"),
    "http:/localhost/",
    *("http:\\\\localhost/", "//localhost/", "http:localhost", "http:///localhost/", "localhost"),
    *("HTTP://localhost/", "hTTp://127.0.0.1/", "file:///etc/passwd", "ftp://localhost/"),
    *("gopher://localhost:80/_GET", "dict://localhost:80/x", "data:image/png;base64,AA"),
    "unix:/run/x",
    *("http://\u24db\u24de\u24d2alhost/", "http://\uff4cocalhost/", "http://127\u30020\u30020\u30021/"),
    *("http://localhost\u00ad/", "http://%6cocalhost/", "http://localhost%2eexample/"),
    *("http://localhost%00.canary.example/", "http://localhost\r\nHost: x/", "http://local\thost/"),
    *(" http://localhost/", "http://localhost ", "http://localhost:80:80/", "http://.localhost/"),
    *("http://localhost./", "http://n0.canary.example.:80/", "http://x..canary.example/"),
)  # fmt: skip


def main() -> None:
    """Do it."""
    for command in ("link set lo up", *(f"addr add {address} dev lo" for address in ADDRESSES)):
        subprocess.run(["/sbin/ip", *command.split()], check=True)
    listeners = [_listener(family, port) for port in PORTS for family in _FAMILIES]
    heard = {
        f"{address} {port}": _heard(listeners, _call(address, port))
        for address in LISTENED
        for port in PORTS
    }
    answers: dict[str, tuple[int, str, str, str]] = {}
    connections = 0
    with tempfile.TemporaryDirectory() as folder:
        client = make_web(_settings(Path(folder)), fetcher=_fetcher(Path(folder))).test_client()
        for url in URLS:
            for escaped in (url, "".join(f"%{byte:02x}" for byte in url.encode()), _component(url)):
                query = f"url={escaped}&width=9".encode().decode("latin-1")  # as WSGI has it
                response = client.get("/images/", environ_overrides={"QUERY_STRING": query})
                answers[f"{url!r} as {escaped!r}"] = (
                    response.status_code,
                    response.headers["image-error"],
                    response.headers["image-error-detail"],
                    response.headers["Cache-Control"],
                )
            connections += _accepted(listeners)
            if connections:
                break  # each would wait for an answer
    told = {"listens": heard, "answers": answers, "connections": connections}
    json.dump(told, sys.stdout)


_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def _listener(family: socket.AddressFamily, port: int) -> socket.socket:
    """Listen on all addresses of a family."""
    listener = socket.socket(family)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen(100)
    return listener


def _call(address: str, port: int) -> bool:
    """Connect as anybody may; return whether that worked."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as caller:
        caller.settimeout(5)
        return caller.connect_ex((address, port)) == 0


def _heard(listeners: Iterable[socket.socket], called: bool) -> bool:  # noqa: FBT001 - one use
    return called and _accepted(listeners) == 1


def _accepted(listeners: Iterable[socket.socket]) -> int:
    """Return how many connections came since; on loopback they are there at once."""
    count = 0
    while ready := select.select(list(listeners), [], [], 0)[0]:
        for listener in ready:
            listener.accept()[0].close()
            count += 1
    return count


def _settings(folder: Path) -> Settings:
    settings = load_settings(DEFAULT_CONF, Overrides(originals=folder))
    return replace(
        settings,
        remote=replace(settings.remote, hosts=HOSTS, folder=folder / "remote", failed_seconds=0),
        disk_cache=replace(settings.disk_cache, folder=folder / "cache"),
        log=LogSettings(folder / "requests.log"),
    )


def _fetcher(folder: Path) -> Fetcher:
    """Return one whose names are made up, where there are such; all else is the product's."""
    return Fetcher(
        _settings(folder).remote,
        resolve=lambda host, port: NAMES[host] if host in NAMES else resolve(host, port),
    )


def _component(url: str) -> str:
    """Escape as encodeURIComponent does."""
    kept = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()"
    return "".join(chr(b) if chr(b) in kept else f"%{b:02X}" for b in url.encode())


if __name__ == "__main__":
    os.environ["http_proxy"] = "http://127.0.0.1:80"  # which nobody may ask
    main()
