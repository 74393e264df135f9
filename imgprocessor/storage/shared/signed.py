"""Entries that other machines keep: signed, because whoever may write there could forge them.

An entry is its signature, then the mark of when it was begun, then its body; the signature is over
its name as well, so that none can be put in another one's place.
"""

import hmac
from collections.abc import Sequence

_MAGIC = b"ims1"
_SIGNATURE_BYTES = 32
_LENGTH_BYTES = 2
_SIGNED_FROM = len(_MAGIC) + _SIGNATURE_BYTES
_MARK_FROM = _SIGNED_FROM + _LENGTH_BYTES


class Signer:
    """Signs entries with the first of some keys, and knows those that any of them signed."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Use keys, at least one."""
        self._keys = [key.encode() for key in keys]

    def written(self, name: str, mark: str, body: bytes) -> bytes:
        """Return an entry."""
        signed = len(mark.encode()).to_bytes(_LENGTH_BYTES, "big") + mark.encode() + body
        return _MAGIC + _signature(self._keys[0], name, signed) + signed

    def read(self, name: str, entry: bytes) -> tuple[str, bytes] | None:
        """Return the mark and the body of an entry; None where it is none of ours by this name."""
        signed = entry[_SIGNED_FROM:]
        if not entry.startswith(_MAGIC) or len(signed) < _LENGTH_BYTES:
            return None
        given = entry[len(_MAGIC) : _SIGNED_FROM]
        if not any(hmac.compare_digest(given, _signature(key, name, signed)) for key in self._keys):
            return None
        body_from = _MARK_FROM + int.from_bytes(signed[:_LENGTH_BYTES], "big")
        return entry[_MARK_FROM:body_from].decode(), entry[body_from:]


def _signature(key: bytes, name: str, signed: bytes) -> bytes:
    signing = hmac.new(key, f"{name}\0".encode(), "sha256")
    signing.update(signed)
    return signing.digest()
