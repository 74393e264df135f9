"""`store check`: over a real bucket and a real memcached, and over what is not as it should be."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from memcacheds import running_memcached
from scripted_s3 import Answer, Asked, ScriptedS3, refusal
from weeds import BUCKET, S3Server, access_file, needs_weed

from imgprocessor.__main__ import main
from imgprocessor.config.buckets import BucketUrl
from imgprocessor.config.settings import Settings
from imgprocessor.config.settings_file import describe_settings
from imgprocessor.config.store_settings import MemoryUrl, StoreSettings
from imgprocessor.config.upload_settings import ReplicaSettings, UploadsSettings
from imgprocessor.storage.shared.configured import make_shared

pytestmark = needs_weed


def written(settings: Settings, tmp_path: Path) -> str:
    file = tmp_path / "imgprocessor.ini"
    file.write_text(describe_settings(settings))
    return str(file)


@pytest.fixture
def sharing(settings: Settings, s3_server: S3Server, tmp_path: Path) -> Settings:
    """Settings of a node that shares a place of its own."""
    key_file = tmp_path / "store.key"
    key_file.touch(mode=0o600)
    key_file.write_text("0123456789abcdef" * 2)
    store = StoreSettings(bucket=BucketUrl("s3", BUCKET, tmp_path.name), key_file=key_file)
    return replace(settings, buckets=access_file(tmp_path, s3_server.access()), store=store)


def test_all_is_well(sharing: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_memcached() as memory:
        settings = replace(sharing, store=replace(sharing.store, shared=MemoryUrl(memory.url)))
        shared = make_shared(settings)
        assert shared is not None
        shared.keep("a", "key", b"body", shared.look("a", "key").marks)
        shared.finish()

        assert main(["store", "check", "--conf", written(settings, tmp_path)]) == 0

    told = capsys.readouterr()
    assert told.err == ""
    begin = f"[store] bucket {sharing.store.bucket}: "
    steps = [line.removeprefix(begin) for line in told.out.splitlines() if line.startswith(begin)]
    assert [re.sub(r"[0-9.]+ ms", "", step) for step in steps] == [
        "puts an object: ok, ",
        "gets it back: ok, ",
        "puts it on conditions: ok, ",
        "lists it: ok, ",
        "removes it: ok, ",
        "asks for what is not there: ok, ",
    ]
    assert "[store] memory: all is well" in told.out
    assert "/renditions: 1 entries, " in told.out


def test_the_places_of_uploads_are_tried(
    sharing: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [BucketUrl("s3", BUCKET, f"{tmp_path.name}-{name}") for name in ("first", "copy")]
    settings = replace(
        sharing,
        uploads=UploadsSettings(enabled=True, folder=tmp_path / "uploads", bucket=places[0]),
        replica=ReplicaSettings(places[1]),
    )

    assert main(["store", "check", "--conf", written(settings, tmp_path)]) == 0

    told = capsys.readouterr().out
    assert f"[uploads] bucket {places[0]}: puts it on conditions: ok, " in told
    assert f"[replica] url {places[1]}: puts it on conditions: ok, " in told


def test_what_is_forged_and_what_has_no_name_is_told(
    sharing: Settings, s3_server: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("ab/abc", "ab/abd"):
        s3_server.put(f"{tmp_path.name}/renditions/{key}", b"forged")
    s3_server.put(f"{tmp_path.name}/renditions/ab/line\nbreak", b"odd")

    assert main(["store", "check", "--conf", written(sharing, tmp_path)]) == 1

    told = capsys.readouterr()
    assert told.err.count("nobody with the key signed") == 1
    wrong = "2 of 2 entries that were looked at nobody with the key signed, such as ab/abc"
    assert f"/renditions: {wrong}: was the key changed?" in told.err
    assert r"'ab/line\nbreak': left out: no object may be called so" in told.err


def as_it_should(there: ScriptedS3, asked: Asked) -> Answer:
    return there.right(asked)


def no_conditions(there: ScriptedS3, asked: Asked) -> Answer:
    kept = {name: it for name, it in asked.headers.items() if not name.startswith("if-")}
    return there.right(replace(asked, headers=kept))


def no_leave(there: ScriptedS3, asked: Asked) -> Answer:
    return refusal(403, "AccessDenied") if asked.method == "PUT" else there.right(asked)


def no_removal(there: ScriptedS3, asked: Asked) -> Answer:
    return Answer(204) if asked.method == "DELETE" else there.right(asked)


def other_bytes(there: ScriptedS3, asked: Asked) -> Answer:
    answer = there.right(asked)
    return replace(answer, body=b"x" * len(answer.body)) if asked.method == "GET" else answer


@pytest.mark.parametrize(
    ("behaviour", "ahead_seconds", "wrong"),
    [
        (no_conditions, 0, "puts it on conditions: it does not look at conditions"),
        (no_leave, 0, "puts an object: "),
        (no_removal, 0, "removes it: what was removed is there still"),
        (other_bytes, 0, "gets it back: other bytes come back"),
        (as_it_should, 300, "gets it back: this machine's clock is 300 s behind the bucket's"),
        (as_it_should, -300, "gets it back: this machine's clock is 300 s ahead of the bucket's"),
    ],
)
def test_what_a_bucket_is_not_good_for_is_told(
    sharing: Settings,
    scripted: ScriptedS3,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    behaviour: Callable[[ScriptedS3, Asked], Answer],
    ahead_seconds: int,
    wrong: str,
) -> None:
    def answer(asked: Asked) -> Answer:
        answer = behaviour(scripted, asked)
        if asked.is_listing or "last-modified" not in answer.headers:
            return answer
        now = formatdate(time.time() + ahead_seconds, usegmt=True)
        return replace(answer, headers={**answer.headers, "last-modified": now})

    access_file(tmp_path, scripted.access())
    scripted.behaviour = answer

    assert main(["store", "check", "--conf", written(sharing, tmp_path)]) == 1

    assert re.sub("30[01] s|299 s", "300 s", wrong) in re.sub(
        "30[01] s|299 s", "300 s", capsys.readouterr().out
    )


def test_a_bucket_that_is_dead_is_told(
    sharing: Settings, s3_server: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    access_file(tmp_path, s3_server.access(endpoint="http://127.0.0.1:1"))

    assert main(["store", "check", "--conf", written(sharing, tmp_path)]) == 1

    assert "puts an object: " in (told := capsys.readouterr().out)
    assert "it cannot be connected to" in told


def with_root(settings: Settings, root: BucketUrl | Path) -> Settings:
    originals = replace(settings.originals, roots=(root,))
    return replace(settings, store=StoreSettings(), originals=originals)


def test_originals_are_read_alone(
    sharing: Settings, scripted: ScriptedS3, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = BucketUrl("s3", BUCKET, f"{tmp_path.name}-pictures")
    access_file(tmp_path, scripted.access())

    assert main(["store", "check", "--conf", written(with_root(sharing, root), tmp_path)]) == 0

    told = re.sub(r"[0-9.]+ ms", "", capsys.readouterr().out).splitlines()
    assert told == [
        f"[originals] roots {root}: lists: ok, ",
        f"[originals] roots {root}: asks for what is not there: ok, ",
    ]
    assert {asked.method for asked in scripted.asked} == {"GET"}


@pytest.mark.parametrize(
    ("refuses", "status", "told"),
    [
        (lambda _: True, 0, "lists: may not list: /browse/ will not work, "),
        (
            lambda _: True,
            0,
            "asks for what is not there: refused, which is usual without leave to list",
        ),
        (lambda asked: not asked.is_listing, 1, "asks for what is not there: s3://"),
    ],
)
def test_who_may_not_list_originals_is_told_what_that_costs(
    sharing: Settings,
    scripted: ScriptedS3,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    refuses: Callable[[Asked], bool],
    status: int,
    told: str,
) -> None:
    access_file(tmp_path, scripted.access())
    scripted.behaviour = lambda asked: (
        refusal(403, "AccessDenied") if refuses(asked) else scripted.right(asked)
    )
    settings = with_root(sharing, BucketUrl("s3", BUCKET, "shop"))

    assert main(["store", "check", "--conf", written(settings, tmp_path)]) == status

    assert f"[originals] roots s3://{BUCKET}/shop: {told}" in capsys.readouterr().out


def test_keys_that_are_wrong_are_no_matter_of_listing(
    sharing: Settings, scripted: ScriptedS3, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    access_file(tmp_path, scripted.access())
    scripted.behaviour = lambda _: refusal(403, "SignatureDoesNotMatch")
    settings = with_root(sharing, BucketUrl("s3", BUCKET, "shop"))

    assert main(["store", "check", "--conf", written(settings, tmp_path)]) == 1

    assert "the secret key is wrong" in capsys.readouterr().out


def test_a_folder_that_looks_like_a_bucket_is_told(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = with_root(settings, tmp_path / "s3:/pictures/shop")

    assert main(["store", "check", "--conf", written(wrong, tmp_path)]) != 0

    assert "a place in a bucket is s3://BUCKET/PREFIX" in capsys.readouterr().err


def test_nothing_to_check_is_told(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "check", "--conf", written(settings, tmp_path)]) == 0

    assert "no bucket and no memory" in capsys.readouterr().out
