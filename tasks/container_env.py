"""Write .env and secrets/, which compose.yaml needs: by any Python, with nothing installed."""

import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from imgprocessor.config.upload_tokens import (
    UPLOAD_RIGHTS,
    UploadToken,
    describe_token,
    token_hash,
)

ROOT = Path(__file__).resolve().parent.parent

NOBODY = 10001
"""Whom the parts run as where root starts them: no user of this machine."""


class Wrong(Exception):
    """Something is not so; the message says what."""


def main() -> int:
    """Do so; return the exit status."""
    try:
        told = write_environment(ROOT / ".env", ROOT / "secrets")
    except (Wrong, OSError) as error:
        print(f"./run containers --env: {error}", file=sys.stderr)
        return 1
    print(f"{told.file} has the upload token, and Flower's password (its user: flower)")
    print(f"{told.certificate.parent} has a certificate to try: put your own there")
    return 0


@dataclass(frozen=True)
class Told:
    """What the parts are told, and whoever asks them must know."""

    file: Path
    """In the form of .env."""
    token: str
    password: str
    certificate: Path


def write_environment(file: Path, folder: Path, **more: str | int | Path) -> Told:
    """Write a file such as .env, and a folder of secrets: a fresh token that may upload and
    convert, a password for Flower, a certificate to try TLS with; and what several nodes share, a
    bucket's access, the key of what is in it, a token that purges.

    Raises:
        Wrong: one of them is there.
    """
    for path in (file, folder):
        if path.exists():
            raise Wrong(f"{path} is there already: remove it to have other secrets")
    root = os.geteuid() == 0
    uid, gid = (NOBODY, NOBODY) if root else (os.geteuid(), os.getegid())
    token, password = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    folder.mkdir(mode=0o700)
    (folder / "tls").mkdir(mode=0o700)
    known = UploadToken("compose", token_hash(token), frozenset(UPLOAD_RIGHTS))
    certificate, key = folder / "tls" / "certificate.pem", folder / "tls" / "key.pem"
    _run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-noenc", "-days", "365", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", key, "-out", certificate),
    )
    _write_closed(folder / "upload-tokens", describe_token(known))
    _write_closed(folder / "flower-password", f"{password}\n")
    _write_closed(folder / "purge-token", f"{secrets.token_urlsafe(32)}\n")
    _write_closed(folder / "store-key", f"{secrets.token_hex(32)}\n")
    _write_closed(
        folder / "buckets",
        "[s3://pictures]\nendpoint = http://objects:8333\nregion = us-east-1\n"
        f"access_key_id = {secrets.token_hex(10)}\n"
        f"secret_access_key = {secrets.token_urlsafe(32)}\n",
    )
    key.chmod(0o600)
    if root:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, gid)
    values = {
        "IMG_USER": f"{uid}:{gid}",
        "SECRETS": folder,
        "UPLOAD_TOKEN": token,
        "FLOWER_PASSWORD": password,
        **more,
    }
    lines = "".join(f"{name}={value}\n" for name, value in values.items())
    _write_closed(file, lines)
    return Told(file, token, password, certificate)


def _write_closed(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


def _run(*words: str | Path) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Wrong(f"{words[0]}: status {done.returncode}\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
