"""Ids of jobs: when they were given, and a MAC, so that nobody's guess is ever one."""

import base64
import hashlib
import hmac
import re
import secrets
import time

_TIME_BYTES, _CHANCE_BYTES, _MAC_BYTES = 5, 9, 10
_ID = re.compile("[A-Za-z0-9_-]{32}")
"""24 bytes, in base64 as URLs have it."""


class JobIds:
    """Gives ids, and knows its own again."""

    def __init__(self, key: bytes) -> None:
        """Use a secret of 32 bytes, the same for all who share the jobs."""
        self._key = key

    def new(self) -> str:
        """Return an id that was never given before."""
        begin = int(time.time()).to_bytes(_TIME_BYTES, "big") + secrets.token_bytes(_CHANCE_BYTES)
        return base64.urlsafe_b64encode(begin + self._mac(begin)).decode()

    def is_ours(self, job: str) -> bool:
        """Whether an id was given here, whatever became of its job."""
        if not _ID.fullmatch(job):
            return False
        known = base64.urlsafe_b64decode(job)
        begin, mac = known[:-_MAC_BYTES], known[-_MAC_BYTES:]
        return hmac.compare_digest(mac, self._mac(begin))

    def _mac(self, begin: bytes) -> bytes:
        return hmac.digest(self._key, begin, hashlib.sha256)[:_MAC_BYTES]
