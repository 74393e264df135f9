"""Signatures of requests, by the example that AWS has in its documents."""

from datetime import UTC, datetime

from imgprocessor.config.bucket_access import BucketAccess
from imgprocessor.storage.shared.s3_signature import signed_headers

KEYS = BucketAccess(
    access_key_id="AKIAIOSFODNN7EXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # noqa: S106
)
URL = "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J"
NOW = datetime(2013, 5, 24, tzinfo=UTC)


def test_a_listing_is_signed_as_in_the_documents() -> None:
    told = signed_headers("GET", URL, KEYS, now=NOW)["authorization"]

    assert told == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
        "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )


def test_nothing_is_signed_without_a_key() -> None:
    assert signed_headers("GET", URL, BucketAccess(is_public=True)) == {
        "host": "examplebucket.s3.amazonaws.com"
    }
