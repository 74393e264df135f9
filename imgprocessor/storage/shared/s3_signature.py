"""AWS' Signature Version 4: the headers that say who sends a request to S3."""

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import urlsplit

from imgprocessor.config.bucket_access import BucketAccess


def signed_headers(
    method: str, url: str, access: BucketAccess, body: bytes = b"", *, now: datetime | None = None
) -> dict[str, str]:
    """Return the headers of a request whose URL is sent as it stands here: encoded, and its
    parameters in order. Without a key they sign nothing, as for a public bucket.
    """
    parts = urlsplit(url)
    if access.access_key_id is None or access.secret_access_key is None:
        return {"host": parts.netloc}
    now = now or datetime.now(UTC)
    stamp, day, region = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}", access.region or ""
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    if access.session_token is not None:
        headers["x-amz-security-token"] = access.session_token
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    asked = f"{method}\n{parts.path or '/'}\n{parts.query}\n{lines}\n{names}\n{digest}"
    scope = f"{day}/{region}/s3/aws4_request"
    signed = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    key = f"AWS4{access.secret_access_key}".encode()
    for part in (day, region, "s3", "aws4_request", signed):
        key = hmac.digest(key, part.encode(), "sha256")
    told = f"Credential={access.access_key_id}/{scope},SignedHeaders={names},Signature={key.hex()}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {told}"}
