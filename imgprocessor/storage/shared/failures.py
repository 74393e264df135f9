"""What buckets and other servers fail with, in words."""

import contextlib
import re
from http import HTTPStatus


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


class BucketFull(BucketFailed):
    """There is no room left for what was to be written."""


class ObjectTooLarge(BucketFailed):
    """An object has more bytes than are wanted."""


class Unreachable(BucketFailed):
    """There is no connection: no other request would get any further at this moment."""


class TooSlow(BucketFailed):
    """The answer was not there in time, or not all of it."""


_MAX_CHARACTERS = 300

_REFUSED = {
    "RequestTimeTooSkewed": "the clock of this machine is wrong, or the bucket's",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidAccessKeyId": "the access key is not known there",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the session token is wrong",
    "AuthenticationFailed": "the account key is wrong, or the clock of this machine",
    "PublicAccessNotPermitted": "it is not public",
}
_CONFLICTS = {
    "PreconditionFailed": "somebody else was there first",
    "ConditionNotMet": "somebody else was there first",
    "BlobAlreadyExists": "somebody else was there first",
    "ConditionalRequestConflict": "another one writes it at this moment",
    "OperationAborted": "another one writes it at this moment",
}
_NO_BUCKET = {
    "NoSuchBucket": "there is no such bucket",
    "ContainerNotFound": "there is no such bucket",
}
_SAID = {
    **_REFUSED,
    **_CONFLICTS,
    **_NO_BUCKET,
    "SlowDown": "the bucket is asked too much",
    "PermanentRedirect": "the bucket is in another region, or at another endpoint",
    "TemporaryRedirect": "the bucket is at another endpoint for now",
    "AuthorizationHeaderMalformed": "the bucket is in another region",
    "IllegalLocationConstraintException": "the bucket is in another region",
}
"""What the codes of S3 and Azure mean, where their names do not say it."""

_DENIED = "AccessDenied"
_FULL = {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}

MOVED = "redirect without LOCATION"
"""What obstore says of S3's PermanentRedirect, in place of what the answer says."""

ONLY_READ = "public = yes is for reading alone here; writing needs a key"

NOWHERE = "http://127.0.0.2:1"
"""A proxy that is none: what goes there goes nowhere. Redirects to other hosts do."""

_NO_ETAG = "its answer has no ETag, so it is no bucket's"
_SLOW = "it takes too long"
_CUT_OFF = "the connection ends before its answer does"

_UNANSWERED = {
    re.escape(NOWHERE.removeprefix("http://")): "it redirects to another host, which is not"
    " followed; region or endpoint in the file of buckets may be wrong",
    MOVED: "the bucket is in another region, or at another endpoint",
    "ETag Header missing": _NO_ETAG,
    "[Tt]imed ?[Oo]ut|Timeout": _SLOW,
    "UnknownIssuer|unable to get (local )?issuer|self-signed": "its certificate is signed by"
    " nobody who is trusted here; with ca_file the file of buckets may say who is",
    "NotValidForName|IP address mismatch|Hostname mismatch": "its certificate is for another name",
    "Certificate.*Expired|certificate has expired": "its certificate has expired",
    "InvalidCertificate|CERTIFICATE_VERIFY_FAILED": "its certificate is wrong",
    "InvalidContentType|WRONG_VERSION_NUMBER|record layer failure": "it does not speak TLS;"
    " endpoint may have to begin with http://",
    "dns error|Name or service not known|name resolution": "its name is not known",
    "kind: Connect|ConnectError": "it cannot be connected to",
    "Incomplete|Interrupted|ConnectionReset|BrokenPipe|UnexpectedEof|(Read|Write)Error"
    "|disconnected|closed connection": _CUT_OFF,
}
"""What obstore's errors and httpcore's mean: of the first that is found."""


def failed(where: str, error: str) -> BucketFailed:
    """Return what an error of obstore's means: it has the answer's status and body in its text."""
    answer = re.search("status code: ([0-9]{3})", error)
    if re.search(_ROLE, error):
        where = f"{where}: the machine's role cannot be had"
    if ONLY_READ in error:
        return Refused(f"{where}: {ONLY_READ}")
    if answer is None:
        said = unanswered(error)
        kind = _KINDS.get(said, Unreachable if said in _UNANSWERED.values() else BucketFailed)
        return kind(f"{where}: {said}")
    return answered(where, int(answer[1]), error)


def answered(where: str, status: int, body: str, region: str = "") -> BucketFailed:
    """Return what an answer means that is an error."""
    code = _element("Code", body)
    said = _SAID.get(code, code)
    region = region or _element("Region", body)
    place = f"region = {region}" if region else _element("Endpoint", body)
    told = f"{where}: it answers {_status(status)}" + (f": {said}" if said else "")
    told = f"{told} ({place})" if place else told
    is_conflict = status == HTTPStatus.PRECONDITION_FAILED
    if code in _CONFLICTS or is_conflict or (status == HTTPStatus.CONFLICT and not code):
        return Conflict(told)
    if status == HTTPStatus.INSUFFICIENT_STORAGE or code in _FULL:
        return BucketFull(told)
    if code == _DENIED:
        return Denied(told)
    return Refused(told) if code in _REFUSED or status in _NOBODY else BucketFailed(told)


def lacks_bucket(error: str) -> bool:
    """Return whether an error of obstore's means that there is not even the bucket."""
    return _element("Code", error) in _NO_BUCKET


def unanswered(error: str) -> str:
    """Return what an error means where there was no answer, or not all of it."""
    of_its_own = re.sub(r"https?://\S+", "", error)  # which may be called like an error
    for pattern, said in _UNANSWERED.items():
        if re.search(pattern, of_its_own, re.DOTALL):
            return said
    return error.partition("\n")[0][-_MAX_CHARACTERS:]


_KINDS: dict[str, type[BucketFailed]] = {
    _SLOW: TooSlow,
    _CUT_OFF: BucketFailed,
    _NO_ETAG: BucketFailed,
}
"""What it is to have had no answer, where it does not mean that nothing else would have one."""

_NOBODY = (401, 403)
_ROLE = (
    "performing [A-Z]+ https?://[^/ ]+/"
    "(latest/(api/token|meta-data)|computeMetadata/|metadata/identity|v2/credentials)"
)
"""In an error of obstore's: what failed is the address that gives the machine's role."""


def _element(name: str, body: str) -> str:
    found = re.search(rf"<{name}>([\w.:/-]{{1,200}})</{name}>", body)
    return found[1] if found else ""


def _status(status: int) -> str:
    with contextlib.suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)
