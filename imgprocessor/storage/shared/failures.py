"""What buckets and other servers fail with, in words."""

import re


class BucketFailed(OSError):
    """A bucket did not do what it was asked for; `str()` says why, in one line."""


class Refused(BucketFailed, PermissionError):
    """Nobody may do that who has these credentials, or they are wrong or have expired."""


class Denied(Refused):
    """Who has these credentials may not do that. Of an object that is not there S3 says the same,
    unless the credentials may list the bucket.
    """


class Conflict(BucketFailed):
    """What was to be written only on a condition was not: somebody else was there first."""


class ObjectTooLarge(BucketFailed):
    """An object has more bytes than are wanted."""


_MAX_CHARACTERS = 300

_SAID = {
    "RequestTimeTooSkewed": "the clock of this machine is wrong, or the bucket's",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidAccessKeyId": "the access key is not known there",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the session token is wrong",
    "NoSuchBucket": "there is no such bucket",
    "SlowDown": "the bucket is asked too much",
    "PermanentRedirect": "the bucket is in another region, or at another endpoint",
    "AuthorizationHeaderMalformed": "the bucket is in another region",
}
"""What S3's codes mean, where their names do not say it."""

_DENIED = "AccessDenied"


def failed(where: str, error: str) -> BucketFailed:
    """Return what an error of obstore's means: it has the answer's status and body in its text."""
    answer = re.search(r"status code: ([0-9]{3}[^:<\n]*)", error)
    if answer is None:
        return BucketFailed(f"{where}: {_unanswered(error)}")
    code, region = (re.search(rf"<{name}>([\w-]+)</{name}>", error) for name in ("Code", "Region"))
    said = _SAID.get(code[1], code[1]) if code else ""
    if region:
        said = f"{said} (region = {region[1]})"
    told = f"{where}: it answers {answer[1].strip()}" + (f": {said}" if said else "")
    if answer[1][:3] not in {"401", "403"}:
        return BucketFailed(told)
    return Denied(told) if said == _DENIED else Refused(told)


def _unanswered(error: str) -> str:
    if "timed out" in error or "TimedOut" in error:
        return "it takes too long"
    if "error sending request" in error:
        return "it cannot be connected to"
    return error.partition("\n")[0][-_MAX_CHARACTERS:]
