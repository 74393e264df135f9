"""A bucket that does what no real server does on demand: each failure in words, no wrong bytes."""

import hashlib
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from scripted_s3 import Answer, Asked, ScriptedS3, etag_of, refusal
from weeds import BUCKET, access_file

from imgprocessor.config.buckets import BucketUrl
from imgprocessor.errors import ConfigurationError
from imgprocessor.storage.shared import bucket as module
from imgprocessor.storage.shared.bucket import Bucket
from imgprocessor.storage.shared.failures import BucketFailed, Conflict, Denied, Refused

PLACE = BucketUrl("s3", BUCKET, "shop")

ROLE = f"[s3://{BUCKET}]\nuse_instance_role = yes\nendpoint = "
PUBLIC = f"[s3://{BUCKET}]\npublic = yes\nendpoint = "


def client(folder: Path, access: str, seconds: float = 5.0) -> Bucket:
    return Bucket(PLACE, access_file(folder, access), total_seconds=seconds)


@pytest.fixture
def faulty(scripted: ScriptedS3, tmp_path: Path) -> Bucket:
    scripted.objects["shop/a"] = b"content"
    return client(tmp_path, scripted.access(session_token="temporary"))  # noqa: S106


WAYS: dict[str, Callable[[Bucket], object]] = {
    "get": lambda bucket: bucket.get("a", max_bytes=9),
    "put": lambda bucket: bucket.put("a", b"other"),
    "put_new": lambda bucket: bucket.put_new("b", b"other"),
    "remove": lambda bucket: bucket.remove("a"),
    "listed": lambda bucket: list(bucket.listed()),
    "folder": lambda bucket: bucket.folder(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (refusal(403, "AccessDenied"), Denied, "403 Forbidden: AccessDenied"),
        (refusal(403, "RequestTimeTooSkewed"), Refused, "the clock of this machine is wrong"),
        (refusal(400, "ExpiredToken"), Refused, "the credentials have expired"),
        (refusal(403, "ExpiredToken"), Refused, "the credentials have expired"),
        (refusal(404, "NoSuchBucket"), BucketFailed, "there is no such bucket"),
        (refusal(503, "SlowDown"), BucketFailed, "503 .*the bucket is asked too much"),
        (refusal(429, "SlowDown"), BucketFailed, "429 .*the bucket is asked too much"),
        (Answer(429), BucketFailed, "429 Too Many Requests"),
        (refusal(500, "InternalError"), BucketFailed, "500 Internal Server Error"),
        (Answer(599), BucketFailed, "it answers 599"),
        (
            refusal(301, "PermanentRedirect", {"x-amz-bucket-region": "eu-west-1"}),
            BucketFailed,
            "in another region, or at another endpoint .region = eu-west-1.",
        ),
        (
            refusal(301, "PermanentRedirect", Endpoint="pictures.s3.eu-west-1.amazonaws.com"),
            BucketFailed,
            "at another endpoint .pictures.s3.eu-west-1.amazonaws.com.",
        ),
        (
            refusal(400, "AuthorizationHeaderMalformed", Region="eu-west-1"),
            BucketFailed,
            "in another region .region = eu-west-1.",
        ),
        (Answer(is_lost=True), BucketFailed, "the connection ends before its answer does"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_told(
    scripted: ScriptedS3, faulty: Bucket, way: str, answer: Answer, kind: type, told: str
) -> None:
    scripted.behaviour = lambda _: answer

    with pytest.raises(OSError, match=told) as error:
        WAYS[way](faulty)

    assert type(error.value) is kind
    assert str(error.value).startswith("s3://pictures")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("way", sorted(WAYS.keys() - {"remove"}))
def test_an_answer_of_something_else_is_none(
    scripted: ScriptedS3, faulty: Bucket, way: str
) -> None:
    scripted.behaviour = lambda _: Answer(200, b"<html>")

    with pytest.raises(BucketFailed, match=r"no ETag, so it is no bucket's|no listing of S3"):
        WAYS[way](faulty)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refusal(409, "ConditionalRequestConflict"), "another one writes it at this moment"),
        (Answer(409), "409 Conflict"),
        (Answer(412), "412 Precondition Failed"),
    ],
    ids=repr,
)
def test_who_was_not_first_is_told(
    scripted: ScriptedS3, faulty: Bucket, answer: Answer, told: str
) -> None:
    scripted.behaviour = lambda _: answer

    with pytest.raises(Conflict, match=told):
        faulty.put_new("b", b"1")
    with pytest.raises(Conflict, match=told):
        faulty.put("a", b"1", instead_of=etag_of(b"content"))


def test_what_has_gone_is_not_replaced(faulty: Bucket) -> None:
    with pytest.raises(Conflict, match="nothing is there any more"):
        faulty.put("b", b"1", instead_of=etag_of(b"content"))


@pytest.mark.parametrize("way", ["put", "put_new"])
def test_what_cannot_be_kept_is_no_object_that_is_missing(
    scripted: ScriptedS3, faulty: Bucket, way: str
) -> None:
    scripted.behaviour = lambda _: Answer(404)

    with pytest.raises(BucketFailed, match="it answers 404 Not Found"):
        WAYS[way](faulty)


def test_a_missing_object_is_no_missing_bucket_whatever_it_is_called(faulty: Bucket) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such object"):
        faulty.get("NoSuchBucket/SlowDown.jpg", max_bytes=1)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refusal(409, "PublicAccessNotPermitted"), "it is not public"),
        (refusal(403, "AuthenticationFailed"), "the account key is wrong, or the clock"),
        (refusal(404, "ContainerNotFound"), "there is no such bucket"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("way", ["get", "put", "put_new", "remove"])
def test_what_azure_fails_with_is_told(
    scripted: ScriptedS3, tmp_path: Path, answer: Answer, told: str, way: str
) -> None:
    access = f"[az://{BUCKET}]\nendpoint = {scripted.endpoint}\naccount_name = a\npublic = yes\n"
    scripted.behaviour = lambda _: answer

    with pytest.raises(BucketFailed, match=told) as error:
        WAYS[way](Bucket(BucketUrl("az", BUCKET), access_file(tmp_path, access)))

    assert not isinstance(error.value, Conflict)


def test_half_an_answer_is_none(scripted: ScriptedS3, faulty: Bucket) -> None:
    scripted.behaviour = lambda asked: replace(scripted.right(asked), body_bytes_sent=3)

    with pytest.raises(BucketFailed, match="the connection ends before its answer does"):
        faulty.get("a", max_bytes=9)
    with pytest.raises(BucketFailed, match="the connection ends before its answer does"):
        list(faulty.listed())


def test_no_more_is_read_than_was_said(scripted: ScriptedS3, faulty: Bucket) -> None:
    """Content-Length says ten, and chunks come without an end: those count (RFC 9112, 6.3)."""
    size = b"%x\r\n" % 1000
    endless = (size + b"x" * 1000 + b"\r\n") * 20_000
    headers = {"etag": '"a"', "content-length": "10", "transfer-encoding": "chunked"}
    headers["last-modified"] = "Sun, 29 Nov 2026 12:00:00 GMT"
    scripted.behaviour = lambda _: Answer(200, endless, headers)

    began = time.process_time()
    with pytest.raises(BucketFailed):
        faulty.get("a", max_bytes=100)
    assert time.process_time() - began < 2


def test_who_says_that_nothing_changed_is_not_believed_unasked(
    scripted: ScriptedS3, faulty: Bucket
) -> None:
    scripted.behaviour = lambda _: Answer(304, b"", {"etag": '"a"'})

    with pytest.raises(BucketFailed, match="304 to no condition"):
        faulty.get("a", max_bytes=100)


@pytest.mark.parametrize("name", ["x" * 1025, "ü" * 513, "a/" * 512 + "b"])
def test_a_name_longer_than_any_key_is_not_asked_for(
    scripted: ScriptedS3, faulty: Bucket, name: str
) -> None:
    with pytest.raises(FileNotFoundError, match="may be called so"):
        faulty.get(name, max_bytes=100)
    assert scripted.asked == []


def test_a_folder_without_an_end_is_given_up(
    scripted: ScriptedS3, faulty: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_IN_FOLDER", 20)
    scripted.objects |= {f"shop/{number:03}": b"1" for number in range(100)}
    scripted.page = 10

    with pytest.raises(BucketFailed, match="more than 20 names"):
        faulty.folder()
    assert len(scripted.asked) <= 4


def test_a_lost_answer_to_a_put_is_no_success_and_no_second_put(
    scripted: ScriptedS3, faulty: Bucket
) -> None:
    def lost(asked: Asked) -> Answer:
        scripted.right(asked)
        return Answer(is_lost=True)

    scripted.behaviour = lost
    with pytest.raises(BucketFailed, match="the connection ends") as error:
        faulty.put_new("b", b"kept")

    assert not isinstance(error.value, Conflict)
    assert [asked.method for asked in scripted.asked] == ["PUT"]
    assert scripted.objects["shop/b"] == b"kept"


@pytest.mark.parametrize(
    ("way", "silent_seconds", "drip_seconds"),
    [
        *((way, 60.0, 0.0) for way in WAYS),
        *((way, 0.0, 0.2) for way in ("get", "listed", "folder")),
    ],
)
def test_no_request_takes_longer_than_it_may(
    scripted: ScriptedS3, tmp_path: Path, way: str, silent_seconds: float, drip_seconds: float
) -> None:
    scripted.objects["shop/a"] = b"content"
    scripted.behaviour = lambda asked: replace(
        scripted.right(asked), silent_seconds=silent_seconds, drip_seconds=drip_seconds
    )
    began = time.monotonic()

    with pytest.raises(BucketFailed, match="it takes too long"):
        WAYS[way](client(tmp_path, scripted.access(), 0.5))

    assert time.monotonic() - began < 10


def test_a_server_that_ignores_conditions_is_not_believed_to_have_changed(
    scripted: ScriptedS3, faulty: Bucket
) -> None:
    scripted.behaviour = lambda asked: scripted.right(replace(asked, headers={}))

    assert faulty.get("a", max_bytes=9, unless=etag_of(b"content")) is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("way", WAYS)
def test_no_other_host_is_asked(
    scripted: ScriptedS3, faulty: Bucket, status: int, way: str
) -> None:
    with ScriptedS3().running() as other:
        other.objects["shop/a"] = b"of another"
        there = other.endpoint.replace("127.0.0.1", "localhost")
        scripted.behaviour = lambda asked: Answer(
            status, b"", {"location": f"{there}{asked.target}"}
        )

        with pytest.raises(BucketFailed, match=f"it answers {status}|redirects to another host"):
            WAYS[way](faulty)

        assert other.asked == []


ODD = ["a//b", "a/./b", "a/../b", "/a", "a/", "line\nbreak", "del\x7f", "../a", "cats//x.jpg"]
RIGHT = ["A b+c%20d&.jpg", "Füße.jpg", "...", "cats/写真.jpg", "x<y>&amp;.jpg"]


def test_a_listing_goes_on_past_keys_that_are_no_paths(
    scripted: ScriptedS3, faulty: Bucket
) -> None:
    scripted.page = 2
    scripted.objects = {f"shop/{name}": b"1" for name in ODD + RIGHT}
    scripted.objects |= {"shop/": b"", "shop/marker/": b"", "shop": b"1", "shopping/a": b"1"}
    left_out: list[str] = []

    assert sorted(one.key for one in faulty.listed(left_out=left_out.append)) == sorted(RIGHT)
    assert sorted(left_out) == sorted(ODD)
    assert [one.key for one in faulty.listed()] == sorted(RIGHT, key=str.encode)


def test_a_folder_is_shown_without_what_is_no_path(scripted: ScriptedS3, faulty: Bucket) -> None:
    scripted.page = 2
    scripted.objects = {f"shop/{name}": b"1" for name in ODD + RIGHT}
    left_out: list[str] = []

    folders, objects = faulty.folder(left_out=left_out.append)

    assert folders == ["a", "cats"]
    assert sorted(one.key for one in objects) == sorted(set(RIGHT) - {"cats/写真.jpg"})
    assert sorted(left_out) == sorted(["/", "../", "line\nbreak", "del\x7f"])
    assert faulty.folder("cats", left_out=left_out.append)[0] == []
    assert left_out[-1] == "cats//"


def test_a_listing_has_pages_and_goes_on_after_a_key(scripted: ScriptedS3, faulty: Bucket) -> None:
    names = [f"{number:04}" for number in range(2500)]
    scripted.objects = {f"shop/{name}": b"1" for name in names}

    assert [one.key for one in faulty.listed()] == names
    assert len(scripted.asked) == 3
    assert scripted.asked[0].query["max-keys"] == "1000"
    assert [one.key for one in faulty.listed(after="2400")] == names[2401:]


def test_a_listing_is_not_believed_to_end_where_it_does_not_say_so(
    scripted: ScriptedS3, faulty: Bucket
) -> None:
    scripted.behaviour = lambda asked: replace(
        right := scripted.right(asked), body=right.body.replace(b">false<", b">true<")
    )

    with pytest.raises(BucketFailed, match="it does not say whether it goes on"):
        list(faulty.listed())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<ListBucketResult><Contents/></ListBucketResult>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><ListBucketResult>&b;</ListBucketResult>",
        b"<Error><Code>InternalError</Code></Error>",
        b"<ListBucketResult>" + b" " * 16_000_000 + b"</ListBucketResult>",
    ],
    ids=["nothing", "JSON", "no size", "entities", "an error", "too much"],
)
def test_what_is_no_listing_is_told(scripted: ScriptedS3, faulty: Bucket, body: bytes) -> None:
    scripted.behaviour = lambda _: Answer(200, body)

    with pytest.raises(BucketFailed, match=r"no listing of S3|more than 16000000 bytes"):
        list(faulty.listed())


ENVIRONMENT = {
    "AWS_REGION": "mars-1",
    "AWS_DEFAULT_REGION": "mars-1",
    "AWS_ACCESS_KEY_ID": "from-outside",
    "AWS_SECRET_ACCESS_KEY": "from-outside",
    "AWS_SESSION_TOKEN": "from-outside",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    "AWS_S3_EXPRESS": "true",
    "AWS_REQUEST_PAYER": "true",
    "AWS_UNSIGNED_PAYLOAD": "true",
    "AWS_ROLE_ARN": "from-outside",
}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedS3]:
    """A server that everything in the environment leads to: proxies, endpoints, metadata."""
    with ScriptedS3().running() as other:
        for name in ("ENDPOINT", "ENDPOINT_URL", "ENDPOINT_URL_S3", "METADATA_ENDPOINT",
                     "STS_ENDPOINT", "PROXY_URL", "CONTAINER_CREDENTIALS_FULL_URI"):  # fmt: skip
            monkeypatch.setenv(f"AWS_{name}", other.endpoint)
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, other.endpoint)
        yield other


@pytest.mark.parametrize("way", WAYS)
def test_the_environment_changes_nothing(
    scripted: ScriptedS3,
    elsewhere: ScriptedS3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    scripted.objects["shop/a"] = b"content"

    WAYS[way](client(tmp_path, scripted.access()))

    (asked,) = scripted.asked
    assert elsewhere.asked == []
    assert "Credential=tester/" in asked.headers["authorization"]
    assert "/us-east-1/s3/" in asked.headers["authorization"]
    assert asked.target.startswith(f"/{BUCKET}")
    assert not {"x-amz-security-token", "x-amz-request-payer"} & set(asked.headers)
    assert "from-outside" not in str(asked)
    assert asked.headers["x-amz-content-sha256"] == hashlib.sha256(asked.body).hexdigest()


@pytest.mark.parametrize("way", WAYS)
def test_a_public_bucket_is_asked_by_nobody(
    scripted: ScriptedS3, elsewhere: ScriptedS3, tmp_path: Path, way: str
) -> None:
    scripted.objects["shop/a"] = b"content"

    WAYS[way](client(tmp_path, PUBLIC + scripted.endpoint))

    (asked,) = scripted.asked
    assert elsewhere.asked == []
    assert not [name for name in asked.headers if name.startswith(("authorization", "x-amz"))]


class Role:
    """What gives a machine its role's keys, by IMDSv2."""

    def __init__(self, valid: timedelta) -> None:
        self._valid = valid
        self.given = 0

    def answer(self, asked: Asked) -> Answer:
        """Answer as the metadata address does."""
        if asked.method == "PUT" and asked.target == "/latest/api/token":
            return Answer(200, b"of-this-machine")
        assert asked.headers["x-aws-ec2-metadata-token"] == "of-this-machine"
        folder = "/latest/meta-data/iam/security-credentials/"
        if asked.target == folder:
            return Answer(200, b"painter")
        assert asked.target == f"{folder}painter"
        self.given += 1
        end = f"{datetime.now(UTC) + self._valid:%Y-%m-%dT%H:%M:%SZ}"
        return Answer(
            200,
            f'{{"AccessKeyId": "role-{self.given}", "SecretAccessKey": "s", "Token": "t",'
            f' "Expiration": "{end}", "Code": "Success", "LastUpdated": "{end}",'
            ' "Type": "AWS-HMAC"}'.encode(),
        )


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedS3]:
    """What has the metadata address."""
    with ScriptedS3().running() as server:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", server.endpoint)
        yield server


def test_the_machines_role_is_used(
    scripted: ScriptedS3, metadata: ScriptedS3, tmp_path: Path
) -> None:
    role = Role(timedelta(hours=6))
    metadata.behaviour = role.answer
    bucket = client(tmp_path, ROLE + scripted.endpoint)

    for number in range(3):
        bucket.put(f"{number}", b"1")

    assert role.given == 1
    assert "Credential=role-1/" in scripted.asked[-1].headers["authorization"]
    assert scripted.asked[-1].headers["x-amz-security-token"] == "t"


def test_the_machines_role_is_asked_for_anew_before_its_keys_end(
    scripted: ScriptedS3, metadata: ScriptedS3, tmp_path: Path
) -> None:
    role = Role(timedelta(seconds=60))
    metadata.behaviour = role.answer
    bucket = client(tmp_path, ROLE + scripted.endpoint)
    deadline = time.monotonic() + 10

    while role.given < 3:  # obstore waits for a moment before it asks again
        bucket.put("a", b"1")
        assert time.monotonic() < deadline

    assert "Credential=role-3/" in scripted.asked[-1].headers["authorization"]


def test_a_machine_without_a_role_is_told(
    scripted: ScriptedS3, metadata: ScriptedS3, tmp_path: Path
) -> None:
    metadata.behaviour = lambda _: Answer(404)

    with pytest.raises(BucketFailed, match="the machine's role cannot be had: it answers 404"):
        client(tmp_path, ROLE + scripted.endpoint).put("a", b"1")

    assert scripted.asked == []


@pytest.mark.parametrize("way", ["listed", "folder"])
def test_with_a_role_a_key_that_is_no_path_is_told(
    scripted: ScriptedS3, metadata: ScriptedS3, tmp_path: Path, way: str
) -> None:
    metadata.behaviour = Role(timedelta(hours=6)).answer
    bucket = client(tmp_path, ROLE + scripted.endpoint)
    scripted.objects = {"shop/cats.jpg": b"1"}
    WAYS[way](bucket)
    scripted.objects = {'shop/"x".jpg': b"1", "shop/line\nbreak": b"1"}

    with pytest.raises(BucketFailed, match=r"object 'shop/line\\nbreak' makes the listing"):
        WAYS[way](bucket)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def served_by_tls(authority: trustme.CA, name: str, **more: Any) -> ScriptedS3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **more).configure_cert(context)
    return ScriptedS3(context)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_with_a_certificate_of_ones_own(
    authority: trustme.CA, tmp_path: Path, way: str
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with served_by_tls(authority, "127.0.0.1").running() as server:
        server.objects["shop/a"] = b"content"

        WAYS[way](client(tmp_path, server.access(ca_file=f"{tmp_path}/ca.pem")))

        assert len(server.asked) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "more", "is_known", "told"),
    [
        ("127.0.0.1", {}, False, "is signed by nobody who is trusted here; with ca_file"),
        ("other.test", {}, True, "its certificate is for another name"),
        ("127.0.0.1", {"not_after": datetime(2020, 1, 1, tzinfo=UTC),
                       "not_before": datetime(2019, 1, 1, tzinfo=UTC)}, True, "has expired"),
    ],
)  # fmt: skip
def test_a_certificate_that_is_wrong_is_told(
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    name: str,
    more: dict[str, Any],
    told: str,
    *,
    is_known: bool,
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_ALLOW_INVALID_CERTIFICATES", "true")
    known = {"ca_file": f"{tmp_path}/ca.pem"} if is_known else {}
    with served_by_tls(authority, name, **more).running() as server:
        with pytest.raises(BucketFailed, match=told):
            WAYS[way](client(tmp_path, server.access(**known)))

        assert server.asked == []


@pytest.mark.parametrize("way", ["get", "listed"])
def test_tls_with_a_server_that_has_none_is_told(
    scripted: ScriptedS3, tmp_path: Path, way: str
) -> None:
    endpoint = scripted.endpoint.replace("http:", "https:")

    with pytest.raises(BucketFailed, match="it does not speak TLS; endpoint may have to begin"):
        WAYS[way](client(tmp_path, scripted.access(endpoint=endpoint)))


def test_a_name_that_is_not_known_is_told(scripted: ScriptedS3, tmp_path: Path) -> None:
    bucket = client(tmp_path, scripted.access(endpoint="http://no-such-host.invalid"))

    for way in ("get", "listed"):
        with pytest.raises(BucketFailed, match="its name is not known"):
            WAYS[way](bucket)


@pytest.mark.parametrize("way", ["listed", "folder"])
@pytest.mark.parametrize("name", ["a//b", "..", "a\nb", "\udc80"])
def test_a_folder_that_may_not_be_called_so_is_not_there(
    faulty: Bucket, way: str, name: str
) -> None:
    with pytest.raises(FileNotFoundError, match="no object may be called so"):
        list(getattr(faulty, way)(name))


def test_what_may_be_asked_for_is_what_obstore_takes(scripted: ScriptedS3, faulty: Bucket) -> None:
    names = [f"a{chr(number)}b" for number in [*range(0x100), 0x2028, 0xFEFF, 0xFFFF]]
    scripted.objects = {f"shop/{name}": b"1" for name in (*names, *ODD, *RIGHT)}
    left_out: list[str] = []

    listed = {one.key for one in faulty.listed(left_out=left_out.append)}

    for name in listed:
        assert faulty.get(name, max_bytes=1) is not None
    for name in left_out:
        with pytest.raises(FileNotFoundError, match="may be called so"):
            faulty.get(name, max_bytes=1)
    assert listed | set(left_out) == {*names, *ODD, *RIGHT}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[gs://pictures]\nservice_account_file = /not/there.json",
            r"\[buckets\] file: \[gs://pictures\]: .*Unable to open service account file",
        ),
        ("[az://pictures]\npublic = yes", "account_name must be set"),
        ("[az://pictures]\naccount_name = a\naccount_key = ?", "account_key: must be base64"),
    ],
)
def test_a_client_that_cannot_be_made_is_told(tmp_path: Path, text: str, told: str) -> None:
    bucket = Bucket(BucketUrl(text[1:3], BUCKET), access_file(tmp_path, text))

    with pytest.raises(ConfigurationError, match=told) as error:
        bucket.check()

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("way", ["put", "put_new", "remove"])
def test_a_public_google_bucket_is_not_written_to_as_the_machine(
    scripted: ScriptedS3, tmp_path: Path, way: str
) -> None:
    access = f"[gs://{BUCKET}]\npublic = yes\nendpoint = {scripted.endpoint}\n"
    bucket = Bucket(BucketUrl("gs", BUCKET), access_file(tmp_path, access))

    with pytest.raises(Refused, match="public = yes is for reading alone"):
        WAYS[way](bucket)

    assert scripted.asked == []
