"""Clients of obstore: what they are told, so that nothing in the environment changes it."""

from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import urlsplit

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

if TYPE_CHECKING:  # obstore has these for types alone
    from obstore.store import (
        AzureCredential,
        ClientConfig,
        GCSConfig,
        GCSCredential,
        RetryConfig,
        S3Credential,
    )

from imgprocessor.config.bucket_access import BucketAccess
from imgprocessor.config.buckets import BucketUrl
from imgprocessor.errors import ConfigurationError
from imgprocessor.storage.shared.failures import NOWHERE, ONLY_READ
from imgprocessor.storage.shared.s3_listing import CONNECT_SECONDS

_ANY_HOST = "*,0.0.0.0/0,::/0"


def new_client(url: BucketUrl, access: BucketAccess, seconds: float) -> ObjectStore:
    """Return a client whose requests take no longer than so many seconds, and go by no proxy.

    Raises:
        ConfigurationError: there can be none.
    """
    endpoint = access.endpoint_of(url)
    has_all = not access.use_instance_role and access.service_account_file is None
    options: ClientConfig = {
        "timeout": timedelta(seconds=seconds),
        "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, seconds)),
        "allow_http": endpoint.startswith("http:"),
        "user_agent": "imgprocessor",
        # Or HTTP_PROXY counts, which the command line has and Apache's daemons have not. Nor are
        # redirects followed to other hosts then: they would have the session token.
        "proxy_url": NOWHERE,
        "proxy_excludes": (urlsplit(endpoint).hostname or "") if has_all else _ANY_HOST,
    }
    if access.ca_certificates is not None:
        options["root_certificate"] = access.ca_certificates
    # What is asked for again is decided here, where it is known how long anybody waits.
    retry: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=seconds)}
    made = {"s3": _s3, "gs": _gs, "az": _az}[url.scheme]
    try:
        return made(
            url.bucket, endpoint, access, {"client_options": options, "retry_config": retry}
        )
    except (exceptions.BaseError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise ConfigurationError(f"[buckets] file: [{url.root}]: {why}") from error


class _Asking(TypedDict):
    client_options: "ClientConfig"
    retry_config: "RetryConfig"


def _s3(bucket: str, endpoint: str, access: BucketAccess, asking: _Asking) -> ObjectStore:
    def keys() -> "S3Credential":
        return {
            "access_key_id": access.access_key_id or "",
            "secret_access_key": access.secret_access_key or "",
            "token": access.session_token,
            "expires_at": None,
        }

    return S3Store(
        bucket,
        endpoint=endpoint,
        aws_endpoint_url_s3=endpoint,
        region=access.region,
        virtual_hosted_style_request=access.virtual_hosted,
        skip_signature=access.is_public,
        s3_express=False,
        request_payer=False,
        unsigned_payload=False,
        disable_bulk_delete=True,  # which not every server has
        # Given as an option, a key would be joined by a session token of the environment's.
        credential_provider=keys if access.access_key_id is not None else None,
        **asking,
    )


def _gs(bucket: str, endpoint: str, access: BucketAccess, asking: _Asking) -> ObjectStore:
    given: GCSConfig = {"base_url": endpoint}
    if access.service_account_file is not None:
        given["service_account"] = str(access.service_account_file)
    return GCSStore(
        bucket,
        config=given,
        skip_signature=access.is_public,
        # obstore would ask the metadata address before it writes.
        credential_provider=_nobody if access.is_public else None,
        **asking,
    )


def _nobody() -> "GCSCredential":
    raise PermissionError(ONLY_READ)


def _az(bucket: str, endpoint: str, access: BucketAccess, asking: _Asking) -> ObjectStore:
    def key() -> "AzureCredential":
        return {"access_key": access.account_key or "", "expires_at": None}

    return AzureStore(
        bucket,
        account_name=access.account_name or "",
        endpoint=endpoint,
        use_emulator=False,
        skip_signature=access.is_public,
        credential_provider=key if access.account_key is not None else None,
        **asking,
    )
