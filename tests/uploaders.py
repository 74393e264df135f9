"""Clients that hand in pictures over HTTP: by a form, and in pieces over lines that break."""

import hashlib
import json
import socket
import struct
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from servers import Answer, ask

BOUNDARY = "------------------------d74496d66958873e"
RESUMABLE = "/upload/resumable/"
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {"Content-Type": "application/offset+octet-stream", **TUS}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}

_RESET = struct.pack("ii", 1, 0)
"""Linger for no time: what is closed is reset."""


def ident_of(body: bytes) -> str:
    """Return what an upload is called."""
    return hashlib.sha256(body).hexdigest()[:32]


def form(body: bytes, sizes: Sequence[str] = ()) -> tuple[bytes, dict[str, str]]:
    """Return a form with a picture, and its headers."""
    fields = [('image"; filename="a.jpg"', body)]
    if sizes:
        fields.append(('sizes"', ",".join(sizes).encode()))
    begin_field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'
    parts = [f"{begin_field}{name}\r\n\r\n".encode() + value + b"\r\n" for name, value in fields]
    content = b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])
    return content, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def send_form(port: int, body: bytes, sizes: Sequence[str] = ()) -> Answer:
    """Hand a picture in by a form."""
    content, headers = form(body, sizes)
    return ask(port, "/upload", headers, "POST", content)


def begin(port: int, length: int, sizes: Sequence[str] = ()) -> Answer:
    """Begin an upload in pieces; `Location` says where it goes on."""
    metadata = f"sizes {b64encode(','.join(sizes).encode()).decode()}"
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata}
    return ask(port, RESUMABLE, headers, "POST", b"")


def send_piece(port: int, url: str, offset: int, piece: bytes) -> Answer:
    """Send a piece."""
    return ask(port, url, {**PIECE, "Upload-Offset": str(offset)}, "PATCH", piece)


def stand(port: int, url: str) -> Answer:
    """Ask how far an upload has come: `Upload-Offset` says it."""
    return ask(port, url, TUS, "HEAD")


def break_off(port: int, url: str, offset: int, piece: bytes, arrives: int) -> socket.socket:
    """Send so many bytes of a piece, and no more; return the connection, half open."""
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    headers = {"Host": "x", **PIECE, "Upload-Offset": str(offset), "Content-Length": len(piece)}
    lines = [f"PATCH {url} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    client.sendall("\r\n".join([*lines, "\r\n"]).encode() + piece[:arrives])
    return client


def reset(client: socket.socket) -> None:
    """End a connection as a network does that is gone."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.close()


def told(answer: Answer) -> dict[str, Any]:
    """Check that a failure has the one shape; return what it says."""
    assert answer.headers["content-type"] == "application/problem+json", answer
    assert answer.headers["cache-control"] == "no-store"
    known: dict[str, Any] = json.loads(answer.body)
    assert (known["status"], known["code"]) == (answer.status, answer.headers["image-error"])
    return known
