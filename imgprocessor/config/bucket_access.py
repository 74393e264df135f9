"""How buckets are reached: a closed file with a section for each."""

import base64
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.ini_text import read_ini
from imgprocessor.config.secrets import secret_text
from imgprocessor.config.types import path, some_text, switch
from imgprocessor.errors import ConfigurationError


@dataclass(frozen=True)
class BucketAccess:
    """How a bucket is reached: exactly one way to show who asks."""

    endpoint: str | None = None
    ca_certificates: str | None = None
    """As PEM; trusted as those are that the machine trusts."""
    region: str = "us-east-1"
    virtual_hosted: bool = False
    """Whether the bucket's name is in the host's."""
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    service_account_file: Path | None = None
    account_name: str | None = None
    account_key: str | None = None
    use_instance_role: bool = False
    """Whether the machine's own role is asked for, at the address that its provider has for it."""
    is_public: bool = False
    """Whether requests are not signed at all."""

    def endpoint_of(self, url: BucketUrl) -> str:
        """Return what URLs of a bucket begin with; with `virtual_hosted` its name is in it."""
        if self.endpoint is not None:
            return self.endpoint
        host = {
            "s3": f"s3.{self.region}.amazonaws.com",
            "gs": "storage.googleapis.com",
            "az": f"{self.account_name}.blob.core.windows.net",
        }[url.scheme]
        return f"https://{url.bucket}.{host}" if self.virtual_hosted else f"https://{host}"


def bucket_access(settings: BucketsSettings, url: BucketUrl) -> BucketAccess:
    """Read how a bucket is reached.

    Raises:
        ConfigurationError: the file does not say so, or cannot be read. No message repeats a value
            that it has: somebody's key may stand where it should not.
    """
    if settings.file is None:
        raise ConfigurationError(f"[buckets] file must be set: it says how {url.root} is reached")
    where = f"[buckets] file: {settings.file}"
    how_made = f"make it: install -m 600 -o USER /dev/null {settings.file}, for the daemons' user"
    ini = read_ini(secret_text(settings.file, where, how_made), where, is_secret=True)
    if url.root not in ini:
        there = [f"[{one}]" for one in ini.sections()]
        told = ", ".join([*there[:_MAX_TOLD], *(["…"] if len(there) > _MAX_TOLD else [])])
        raise ConfigurationError(f"{where} has no section [{url.root}]; it has {told or 'none'}")
    access = _access(url.scheme, dict(ini[url.root]), f"{where}: [{url.root}]")
    # Some gateways have S3 below a path: that alone is no mistake.
    is_twice = re.fullmatch(rf"https?://[^/]+/(.*/)?{url.bucket}", access.endpoint or "")
    if url.scheme == "s3" and is_twice and not access.virtual_hosted:
        wrong = f"must end before /{url.bucket}: the bucket's name is put behind it by itself"
        raise ConfigurationError(f"{where}: [{url.root}] endpoint: {wrong}")
    return access


def _access(scheme: str, options: Mapping[str, str], where: str) -> BucketAccess:
    known = _READERS["any"] | _READERS[scheme]
    values: dict[str, Any] = {}
    for option, value in options.items():
        if option not in known:
            # A key that was pasted there in place of a name looks like none.
            named = f": {option}" if re.fullmatch("[a-z_]{1,40}", option) else ""
            wrong = f"has an option that is not known{named}; there are {', '.join(known)}"
            raise ConfigurationError(f"{where}: {wrong}")
        name, read = known[option]
        try:
            values[name] = read(value)
        except ValueError as error:
            raise ConfigurationError(f"{where} {option}: {error}") from error
    access = BucketAccess(**values)
    given = {
        "s3": (access.access_key_id, access.secret_access_key),
        "gs": (access.service_account_file,),
        "az": (access.account_key,),
    }[scheme]
    ways = [access.use_instance_role, access.is_public, any(given)]
    if ways.count(True) != 1 or (any(given) and not all(given)):
        keys = " and ".join(_KEYS[scheme])
        wrong = f"must have either {keys}, or use_instance_role = yes, or public = yes"
        raise ConfigurationError(f"{where}: {wrong}")
    if scheme == "az" and access.account_name is None:
        raise ConfigurationError(f"{where}: account_name must be set")
    return access


def _endpoint(value: str) -> str:
    if not re.fullmatch(r"https?://[!-~]+", value):
        raise ValueError("must begin with https:// or http://")
    return value.rstrip("/")


def _base64(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except ValueError as error:
        raise ValueError("must be base64, as the account has it") from error
    return value


def _certificates(value: str) -> str:
    file = path(value)
    try:
        text = file.read_text()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (OSError, UnicodeError, ValueError) as error:
        raise ValueError(f"must be a file of certificates, as PEM: {error}") from error
    return text


_MAX_TOLD = 5
"""Sections that a message names."""

_Reader = Callable[[str], Any]

_KEYS = {
    "s3": ("access_key_id", "secret_access_key"),
    "gs": ("service_account_file",),
    "az": ("account_key",),
}

_READERS: dict[str, dict[str, tuple[str, _Reader]]] = {
    "any": {
        "use_instance_role": ("use_instance_role", switch),
        "public": ("is_public", switch),
        "endpoint": ("endpoint", _endpoint),
        "ca_file": ("ca_certificates", _certificates),
    },
    "s3": {
        "region": ("region", some_text),
        "virtual_hosted": ("virtual_hosted", switch),
        "access_key_id": ("access_key_id", some_text),
        "secret_access_key": ("secret_access_key", some_text),
        "session_token": ("session_token", some_text),
    },
    "gs": {"service_account_file": ("service_account_file", path)},
    "az": {
        "account_name": ("account_name", some_text),
        "account_key": ("account_key", _base64),
    },
}
