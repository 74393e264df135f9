"""`uploads`: what operators do about uploads."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import images
import pytest
from PIL import Image

from imgprocessor.__main__ import main
from imgprocessor.cli.uploads.place import uploads_in
from imgprocessor.config.settings import Settings
from imgprocessor.config.settings_file import describe_settings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.config.upload_tokens import UploadToken, token_hash, upload_tokens
from imgprocessor.images.formats.exif import ARTIST
from imgprocessor.parts import upload_store
from imgprocessor.request.sizes import read_sizes
from imgprocessor.storage.uploads.folder import UploadFolder

_DESCRIPTION = 0x010E


def _token(shown: str) -> str:
    (found,) = re.findall("^Authorization: Bearer ([A-Za-z0-9_-]+)$", shown, re.MULTILINE)
    return str(found)


def test_what_token_prints_can_be_appended_to_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tokens"
    file.touch(0o640)
    amounts = ["--max-bytes-an-hour", "7", "--max-requests-an-hour", "8"]
    made = []
    for arguments in (["shop"], ["b-1", "--may", "delete", "upload", *amounts]):
        assert main(["uploads", "token", *arguments]) == 0
        printed = capsys.readouterr()
        made.append(_token(printed.err))
        assert made[-1] not in printed.out
        with file.open("a") as appended:
            appended.write(printed.out)

    first, second = (token_hash(token) for token in made)
    assert upload_tokens(UploadsSettings(tokens_file=file)) == (
        UploadToken("shop", first, frozenset({"upload", "sizes"}), 2_000_000_000, 10_000),
        UploadToken("b-1", second, frozenset({"upload", "delete"}), 7, 8),
    )


def test_no_two_tokens_are_alike(capsys: pytest.CaptureFixture[str]) -> None:
    made = set()
    for _ in range(5):
        main(["uploads", "token", "shop"])
        made.add(_token(capsys.readouterr().err))

    assert len(made) == 5
    assert all(len(token) >= 43 for token in made)  # 256 bits


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'NAME'"),
        (["Shop"], "must have 1 to 40 of a-z, 0-9 and -"),
        (["loopback"], "must not be loopback"),
        (["shop", "--may", "all"], "'all' is not one of 'upload', 'sizes', 'delete'"),
        (["shop", "--max-bytes-an-hour", "0"], "must be greater than 0"),
        (["shop", "--max-requests-an-hour", "x"], "must be a whole number"),
    ],
)
def test_misuse_is_told(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["uploads", "token", *arguments]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


# --- What is kept --------------------------------------------------------------------------------


@dataclass
class Place:
    """A server's settings file, and the commands there."""

    settings: Settings
    conf: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Run a command; return its status and what it printed."""
        self.conf.write_text(describe_settings(self.settings))
        status = main(["uploads", command, "--conf", str(self.conf), *arguments])
        return status, *self.capsys.readouterr()

    def lines(self, command: str, *arguments: str) -> list[dict[str, Any]]:
        """Run a command with --json; return what it printed."""
        return [
            json.loads(line) for line in self.run(command, "--json", *arguments)[1].splitlines()
        ]

    def upload(self, body: bytes, sizes: str = "") -> str:
        """Upload; return the ident."""
        uploads = uploads_in(self.settings)
        file = uploads.new_file()
        file.write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        return uploads.accept(file, digest, read_sizes(sizes, 20, 4096), "shop").ident

    @property
    def store(self) -> UploadFolder:
        """What keeps its uploads."""
        store = upload_store(self.settings)
        assert isinstance(store, UploadFolder)
        return store

    def folder(self, ident: str) -> Path:
        """Return an upload's folder."""
        return self.settings.uploads.folder / "kept" / ident[:2] / ident


Making = Callable[[str], Place]


@pytest.fixture
def place_at(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Making:
    """Makes servers that share nothing but their originals."""

    def make(name: str) -> Place:
        uploads = UploadsSettings(enabled=True, folder=tmp_path / name, min_free_bytes=0)
        return Place(replace(settings, uploads=uploads), tmp_path / f"{name}.ini", capsys)

    return make


@pytest.fixture
def here(place_at: Making) -> Place:
    """A server."""
    return place_at("here")


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Small pictures by somebody, with a description, and something that follows."""
    folder = tmp_path_factory.mktemp("pictures")
    exif = Image.Exif()
    exif[ARTIST], exif[_DESCRIPTION] = "Somebody", "A picture"
    for number, kind in enumerate(("JPEG", "PNG", "WEBP")):
        images.save(folder / str(number), images.texture((60 + number, 40)), kind, exif=exif)
    return [(folder / str(number)).read_bytes() + b"what follows" for number in range(3)]


def test_what_is_kept_is_listed(here: Place, bodies: list[bytes]) -> None:
    idents = sorted(here.upload(body, "10x10,20x0") for body in bodies)

    status, printed, _ = here.run("list")
    listed = here.lines("list")

    assert status == 0
    assert [line.split()[0] for line in printed.splitlines()] == idents
    assert re.search(
        r"  \d{4}-\d\d-\d\dT.*Z  jpeg +60x40 +\d+ B +2 sizes  shop$", printed, re.MULTILINE
    )
    assert [record["ident"] for record in listed] == idents
    assert {record["format"] for record in listed} == {"jpeg", "png", "webp"}


def test_what_cannot_be_listed_is_told(here: Place, bodies: list[bytes]) -> None:
    first, second = (here.upload(body) for body in bodies[:2])
    (here.folder(first) / "record.json").write_text("[]")

    status, printed, told = here.run("list")

    assert (status, printed[:32]) == (1, second)
    assert f"{first}: its record lacks" in told


def test_all_that_is_known_is_shown(here: Place, bodies: list[bytes]) -> None:
    ident = here.upload(bodies[0], "10x10")
    next(here.folder(ident).glob("10x10.best")).unlink()

    status, printed, _ = here.run("show", f"{ident}.jpg")
    (shown,) = here.lines("show", ident)

    assert status == 0
    assert "10x10 for best: not made yet" in printed
    assert f"file: {here.folder(ident)}/original" in printed
    plain, best = shown["kept"]
    assert (plain["size"], plain["for"], best["for"]) == ("10x10", "plain", "best")
    assert (plain["is_current"], best["is_current"]) == (True, False)
    assert plain["imagekey"] in printed
    here.settings = replace(
        here.settings, pixels=replace(here.settings.pixels, background="#102030")
    )
    assert "of another policy or encoder" in here.run("show", ident)[1]


def test_what_is_removed_is_gone(here: Place, bodies: list[bytes]) -> None:
    idents = [here.upload(body) for body in bodies]

    assert here.run("remove", *idents[:2])[0] == 0
    status, _, told = here.run("remove", *idents)

    assert (status, told.count("no upload")) == (1, 2)
    assert not list(here.store.idents())


def test_what_is_not_gone_everywhere_is_told(here: Place, bodies: list[bytes]) -> None:
    purge = replace(here.settings.purge, varnish=("127.0.0.1:9",))
    here.settings = replace(here.settings, purge=purge)
    ident = here.upload(bodies[0])

    (removed,) = here.lines("remove", ident)

    assert removed["is_removed"] is False
    assert "127.0.0.1:9" in removed["wrong"]
    assert here.run("remove", ident)[0] == 1
    status, printed, _ = here.run("verify")
    assert (status, "is being removed" in printed) == (0, True)


def test_sizes_are_added_made_and_made_anew(here: Place, bodies: list[bytes]) -> None:
    first, second = (here.upload(body, "10x10") for body in bodies[:2])

    assert here.lines("sizes", first, "--add", "20x0,10x<9")[0]["current"] == 6
    assert here.store.find(first).record["sizes"] == ["10x10", "20x0", "10x<9"]  # type: ignore[union-attr]
    here.folder(second).joinpath("10x10.plain").unlink()
    here.settings = replace(
        here.settings, pixels=replace(here.settings.pixels, background="#102030")
    )
    by_ident = {line.pop("ident"): line for line in here.lines("sizes", "--all")}
    assert by_ident[first] == {"current": 0, "older": 6, "missing": 0, "wrong": None}
    assert by_ident[second] == {"current": 1, "older": 1, "missing": 0, "wrong": None}
    assert {line["current"] for line in here.lines("sizes", "--all", "--remake")} == {6, 2}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "name uploads, or give --all"),
        (["--all", "0" * 32], 2, "name uploads, or give --all"),
        (["--all", "--add", "x"], 2, "--add: sizes: x: must be such as"),
        (["nonsense"], 2, "is no ident"),
        (["0" * 32], 1, "no upload"),
    ],
)
def test_misuse_of_sizes_is_told(here: Place, arguments: list[str], status: int, said: str) -> None:
    done, _, told = here.run("sizes", *arguments)

    assert (done, said in told) == (status, True), told


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", "0" * 32], ["remove", "0" * 32], ["sizes", "--all"], ["verify"],
     ["export", "x.tar"], ["import", "x.tar"]],
)  # fmt: skip
def test_where_there_are_no_uploads_one_line_says_so(here: Place, arguments: list[str]) -> None:
    here.settings = replace(here.settings, uploads=UploadsSettings())

    status, _, told = here.run(*arguments)

    assert status == 1
    assert told.strip().endswith("there are no uploads: [uploads] enabled must be yes")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_is_told_whom_to_run_it_as(here: Place, bodies: list[bytes]) -> None:
    here.upload(bodies[0])
    os.chown(here.settings.uploads.folder, 54321, -1)

    status, _, told = here.run("list")

    assert (status, "run this as its owner (sudo -u '#54321'" in told) == (1, True)


# --- Verify --------------------------------------------------------------------------------------


def test_all_well_is_told(here: Place, bodies: list[bytes]) -> None:
    for body in bodies:
        here.upload(body, "10x10,150x<60")

    assert here.run("verify")[:2] == (
        0, f"all well: 3 uploads, {here.store.kept_bytes()} bytes\n"
    )  # fmt: skip


def _changed_record(**changes: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        file = folder / "record.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "original").unlink(), "its file or its record is not there"),
        (lambda folder: (folder / "record.json").unlink(), "its file or its record is not there"),
        (lambda folder: (folder / "record.json").write_text("{"), "is no record"),
        (_changed_record(more=1), "lacks, or has besides"),
        (_changed_record(bytes=True), "says bytes True"),
        (_changed_record(sizes=["x"]), "says sizes"),
        (_changed_record(sent_sha256="0" * 64), "another upload's"),
        (_changed_record(bytes=7), "its file is not the one"),
        (lambda folder: (folder / "original").write_bytes(b"x"), "its file is not the one"),
        (lambda folder: (folder / "10x10.plain").write_bytes(b"x"), "10x10.plain: is damaged"),
        (lambda folder: (folder / "notes").write_bytes(b"x"), "notes: is nothing that is kept"),
        (lambda folder: (folder / "010x10.plain").touch(), "is nothing that is kept"),
        (lambda folder: (folder.parent / "zz").mkdir(), "zz: is no upload"),
        (lambda folder: (folder.parent.parent / "x").touch(), "kept/x: is no upload"),
        (lambda folder: shutil.copytree(folder, folder.parents[1] / "zz" / folder.name), "zz/"),
    ],
)
def test_what_is_wrong_is_told(
    here: Place, bodies: list[bytes], harm: Callable[[Path], object], said: str
) -> None:
    ident, other = (here.upload(body, "10x10") for body in bodies[:2])
    harm(here.folder(ident))

    status, printed, _ = here.run("verify")

    assert (status, said in printed) == (1, True), printed
    assert other not in printed
    assert [found["is_wrong"] for found in here.lines("verify")].count(True) == 1


def test_what_was_counted_wrongly_is_counted_anew(here: Place, bodies: list[bytes]) -> None:
    here.upload(bodies[0])
    here.store._uploads.subtract(-5)  # noqa: SLF001 - as a process does that is killed

    assert "6 uploads" in here.run("verify")[1]
    assert here.run("verify")[1].startswith("all well: 1 uploads")


def test_an_upload_that_is_named_must_be_there(here: Place) -> None:
    status, printed, _ = here.run("verify", "0" * 32)

    assert (status, "there is no such upload" in printed) == (1, True)


# --- Export and import ---------------------------------------------------------------------------


@pytest.fixture
def there(place_at: Making) -> Place:
    """Another server."""
    return place_at("there")


def _records(place: Place) -> dict[str, Any]:
    found = map(place.store.find, place.store.idents())
    return {one.ident: one.record for one in found if one is not None}


@pytest.mark.parametrize("metadata", ["none", "copyright", "all"])
def test_what_was_exported_is_imported_as_it_was(
    here: Place, there: Place, bodies: list[bytes], tmp_path: Path, metadata: Any
) -> None:
    here.settings = replace(
        here.settings, uploads=replace(here.settings.uploads, metadata=metadata)
    )
    idents = [here.upload(body, "10x10,150x<60") for body in bodies]
    tar = str(tmp_path / "all.tar")

    assert here.run("export", tar)[0] == 0
    status, printed, _ = there.run("import", tar)

    assert (status, printed.splitlines()[0]) == (0, "3 new, 0 known, 0 refused")
    assert "imgprocessor uploads sizes --all" in printed

    assert _records(there) == _records(here)
    kept = (there.folder(idents[0]) / "original").read_bytes()
    assert (b"Somebody" in kept, b"A picture" in kept) == (metadata != "none", metadata == "all")
    for ident in idents:
        file = there.folder(ident) / "original"
        assert file.read_bytes() == (here.folder(ident) / "original").read_bytes()
    assert there.run("verify")[0] == 0
    assert {line["missing"] for line in there.lines("sizes", "--all")} == {0}
    assert there.run("import", tar)[1] == "0 new, 3 known, 0 refused\n"
    assert here.run("export", tar) == (1, "", f"imgprocessor: {tar}: File exists\n")


def test_export_leaves_out_what_is_not_whole(
    here: Place, there: Place, bodies: list[bytes], tmp_path: Path
) -> None:
    first, second, third = (here.upload(body) for body in bodies)
    (here.folder(first) / "original").write_bytes(b"x")
    tar = str(tmp_path / "some.tar")

    status, _, told = here.run("export", tar, first, second, "0" * 32)

    assert (status, told.count("is left out")) == (1, 2)
    assert [one["what"] for one in there.lines("import", tar)] == [second]
    assert list(there.store.idents()) == [second] != [third]


def test_a_tar_goes_through_a_pipe(here: Place, there: Place, bodies: list[bytes]) -> None:
    ident = here.upload(bodies[0])
    for place in (here, there):
        place.conf.write_text(describe_settings(place.settings))
    command = [sys.executable, "-m", "imgprocessor", "uploads"]
    with subprocess.Popen(
        [*command, "export", "--conf", here.conf, "-"], stdout=subprocess.PIPE
    ) as exported:
        done = subprocess.run(
            [*command, "import", "--conf", there.conf, "-"], check=False, stdin=exported.stdout
        )

    assert (exported.returncode, done.returncode) == (0, 0)
    assert list(there.store.idents()) == [ident]


Members = list[tuple[tarfile.TarInfo, bytes]]


def _members(tar: Path) -> Members:
    with tarfile.open(tar) as opened:
        return [(one, opened.extractfile(one).read()) for one in opened]  # type: ignore[union-attr]


def _write(tar: Path, members: Members, form: int = tarfile.USTAR_FORMAT) -> None:
    with tarfile.open(tar, "w", format=form) as opened:
        for header, content in members:
            if header.isreg():
                header.size = len(content)
            opened.addfile(header, io.BytesIO(content))


def _named(name: str, content: bytes = b"", **changes: Any) -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo(name)
    for what, value in changes.items():
        setattr(header, what, value)
    return header, content


def _with_record(members: Members, **changes: object) -> Members:
    (header, content), *rest = members
    return [(header, json.dumps(json.loads(content) | changes).encode()), *rest]


def _with_file(members: Members, body: bytes) -> Members:
    """Change the file, and the record so that it is of that one."""
    changes = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    first, (header, _) = _with_record(members, **changes)
    return [first, (header, body)]


def _renamed(members: Members, name: str) -> Members:
    return [_named(header.name.replace(header.name[:32], name), body) for header, body in members]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda whole: _renamed(whole, "../" * 9 + "tmp"), "is no part of an upload"),
        (lambda whole: _renamed(whole, "/tmp/x"), "is no part of an upload"),  # noqa: S108
        (lambda whole: _renamed(whole, "0" * 32), "is another upload's"),
        (lambda whole: _renamed(whole, "\r\n\x1b[31m"), "%0D%0A%1B%5B31m"),
        (
            lambda whole: [whole[0], _named(whole[1][0].name, type=tarfile.SYMTYPE, linkname="/x")],
            "is no part of an upload",
        ),
        (
            lambda whole: [whole[0], _named(whole[1][0].name, type=tarfile.LNKTYPE, linkname="/x")],
            "is no part of an upload",
        ),
        (lambda whole: [whole[0], _named(whole[1][0].name, type=tarfile.CHRTYPE)], "is no part"),
        (lambda whole: [whole[0], _named(whole[1][0].name, type=tarfile.FIFOTYPE)], "is no part"),
        (lambda whole: whole[1:], "does not follow its record"),
        (lambda whole: [whole[0], *_renamed(whole, "0" * 32)[1:]], "does not follow its record"),
        (lambda whole: whole[:1], "its file does not follow its record"),
        (lambda whole: whole[::-1], "does not follow its record"),
        (lambda whole: [whole[0], (whole[1][0], b"x")], "its file is not the one"),
        (lambda whole: _with_file(whole, b"GIF89a" + b"x" * 9), "refused"),
        (lambda whole: _with_file(whole, b"<html>"), "refused"),
        (lambda whole: _with_file(whole, whole[1][1][:-30]), "refused"),
        (lambda whole: _with_record(whole, sizes=[f"{n}x1" for n in range(1, 22)]), "too many"),
        (lambda whole: _with_record(whole, sizes=["99999x1"]), "no side may be over"),
        (lambda whole: _with_record(whole, by="\x1b[31m"), "says by"),
        (lambda whole: _with_record(whole, metadata="everything"), "says metadata"),
        (lambda whole: _with_record(whole, uploaded_ns=10**40), "says uploaded_ns"),
        (lambda whole: [(whole[0][0], b"[" * 60_000), whole[1]], "is no record"),
        (lambda whole: [(whole[0][0], b" " * 70_000), whole[1]], "is too large for a record"),
        (lambda whole: [(whole[0][0], b"\xff"), whole[1]], "refused"),
    ],
)
def test_what_somebody_put_into_a_tar_is_refused(
    here: Place,
    there: Place,
    bodies: list[bytes],
    tmp_path: Path,
    change: Callable[[Members], Members],
    said: str,
) -> None:
    """And what is whole in it is kept."""
    first, second = (here.upload(body) for body in bodies[:2])
    tar = tmp_path / "a.tar"
    here.run("export", str(tar), first, second)
    members = _members(tar)
    _write(tar, [*change(members[:2]), *members[2:]])

    status, printed, told = there.run("import", str(tar))

    assert (status, told != "") == (1, True)
    assert said in told + printed, told
    assert "\x1b" not in told
    assert list(there.store.idents()) == [second]
    assert there.run("verify")[0] == 0
    assert not any(there.store.new_file().parent.iterdir())


@pytest.mark.parametrize(
    "member",
    [
        _named("a", b"x", pax_headers={"comment": "x" * 9}),
        _named("a" * 300, b"x"),
        _named("a", type=tarfile.GNUTYPE_SPARSE),
    ],
    ids=["pax", "long name", "sparse"],
)
def test_where_headers_are_extended_reading_ends(
    here: Place, there: Place, bodies: list[bytes], tmp_path: Path, member: Any
) -> None:
    tar = tmp_path / "a.tar"
    first, second = (here.upload(body) for body in bodies[:2])
    here.run("export", str(tar), first, second)
    members = _members(tar)
    _write(tar, [*members[:2], member, *members[2:]], tarfile.PAX_FORMAT)

    status, printed, told = there.run("import", str(tar))

    assert (status, "repack it" in told) == (1, True)
    assert printed.startswith("1 new, 0 known, 1 refused")
    assert list(there.store.idents()) == [first]


def _negative(tar: bytes) -> bytes:
    """Give the second upload's record a size under nothing."""
    header = tarfile.TarInfo.frombuf(tar[:512], "utf-8", "strict")
    field = b"\xff" * 11 + b"\x00"
    block = tar[:124] + field + tar[136:512]
    checksum = sum(block[:148]) + sum(block[156:]) + 8 * 32
    assert header.size > 0
    return block[:148] + b"%06o\0 " % checksum + block[156:] + tar[512:]


@pytest.mark.parametrize(
    "harm",
    [
        lambda tar, half: tar[: half + 700],
        lambda tar, half: tar[: half + 100],
        lambda tar, half: tar[:half],
        lambda tar, half: tar[:half] + b"x" * 512 + tar[half + 512 :],
        lambda tar, half: tar[:half] + _negative(tar[half:]),
    ],
    ids=["in a file", "in a header", "no end", "no header", "negative size"],
)
def test_of_a_damaged_tar_is_kept_what_is_whole(
    here: Place,
    there: Place,
    bodies: list[bytes],
    tmp_path: Path,
    harm: Callable[[bytes, int], bytes],
) -> None:
    tar, damaged = tmp_path / "a.tar", tmp_path / "b.tar"
    first, second = (here.upload(body) for body in bodies[:2])
    here.run("export", str(tar), first, second)
    with tarfile.open(tar) as opened:
        half = opened.getmembers()[2].offset
    damaged.write_bytes(harm(tar.read_bytes(), half))

    status, _, told = there.run("import", str(damaged))

    assert (status, "the rest" in told) == (1, True), told
    assert list(there.store.idents()) == [first]


@pytest.mark.parametrize("content", [b"", b"x" * 9, b"x" * 9999, b"\x1f\x8b" + b"x" * 999])
def test_what_is_no_tar_is_told(there: Place, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)

    status, _, told = there.run("import", str(tmp_path / "a.tar"))

    assert (status, told.count("\n")) == (1, 1)
    assert there.run("import", str(tmp_path / "b.tar"))[2].endswith("No such file or directory\n")


def test_what_hides_in_an_exported_file_is_not_kept(
    here: Place, there: Place, bodies: list[bytes], tmp_path: Path
) -> None:
    """A record may be of any bytes; what is kept is the picture."""
    tar = tmp_path / "a.tar"
    ident = here.upload(bodies[0])
    here.run("export", str(tar))
    members = _members(tar)
    _write(tar, _with_record(_with_file(members, members[1][1] + b"<script>"), width=9999))

    assert there.run("import", str(tar))[0] == 0

    assert (there.folder(ident) / "original").read_bytes() == members[1][1]
    assert _records(there) == _records(here)


def test_bounds_hold_for_what_is_imported(
    here: Place, there: Place, bodies: list[bytes], tmp_path: Path
) -> None:
    tar = str(tmp_path / "a.tar")
    for body in bodies:
        here.upload(body)
    here.run("export", tar)
    uploads = there.settings.uploads
    for bounded, said, kept in [
        (replace(uploads, max_bytes=1), "refused", 0),
        (replace(uploads, max_uploads=1), "max_uploads", 1),
    ]:
        there.settings = replace(there.settings, uploads=bounded)
        status, printed, told = there.run("import", tar)
        assert (status, said in told + printed) == (1, True)
        assert len(list(there.store.idents())) == kept


# --- Backup --------------------------------------------------------------------------------------


def _keep(store: UploadFolder, word: str) -> str:
    """Keep an upload of any bytes; return the ident."""
    body = word.encode() * 1000
    digest = hashlib.sha256(body).hexdigest()
    record = {
        "ident": digest[:32], "format": "jpeg", "width": 9, "height": 9, "is_animated": False,
        "bytes": len(body), "sha256": digest, "sent_bytes": len(body), "sent_sha256": digest,
        "metadata": "none", "uploaded_ns": 1, "by": "shop", "sizes": ["10x10"],
    }  # fmt: skip
    file = store.new_file()
    file.write_bytes(body)
    store.add(digest[:32], file, record)
    store.keep(digest[:32], "10x10.plain", body)
    return digest[:32]


@pytest.mark.parametrize("copy", ["cp -r here copy", "mkdir copy; tar c -C here . | tar x -C copy"])
def test_a_copy_made_while_it_runs_can_be_restored(
    place_at: Making, tmp_path: Path, copy: str
) -> None:
    """Uploads come and go meanwhile: of those the copy has all, or verify tells."""
    here, restored = place_at("here"), place_at("copy")
    stay = {_keep(here.store, f"stays {number}") for number in range(100)}
    is_over = threading.Event()

    def come_and_go(who: int) -> None:
        store, number = here.store, 0
        while not is_over.is_set():
            _keep(store, f"{who} {number}")
            gone = hashlib.sha256(f"{who} {number - 9}".encode() * 1000).hexdigest()[:32]
            if store.take_out(gone):
                store.clear(gone)
            number += 1

    threads = [threading.Thread(target=come_and_go, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            # It says so where something went meanwhile.
            subprocess.run(["sh", "-c", copy], check=False, cwd=tmp_path, capture_output=True)
            wrong = [found for found in restored.lines("verify") if found["is_wrong"]]
            assert {found["wrong"] for found in wrong} <= {"its file or its record is not there"}
            assert stay <= {one["ident"] for one in restored.lines("list")}
            assert not stay & {found["what"] for found in wrong}
            if wrong:
                assert restored.run("remove", *[found["what"] for found in wrong])[0] == 0
            assert restored.run("verify")[0] == 0
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
