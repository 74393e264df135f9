"""`policy check`, `show`, `explain` and `report`: what operators read to trust a table."""

import html
import io
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import images
import pytest
from conftest import ROOT
from PIL import Image
from rich.console import Console
from weeds import needs_weed

from imgprocessor.__main__ import main
from imgprocessor.cli.policy.report import Sample, Summary, as_text, originals_in
from imgprocessor.cli.policy.show import print_table
from imgprocessor.config.buckets import BucketsSettings, BucketUrl
from imgprocessor.config.settings import OriginalsSettings, Settings
from imgprocessor.images.formats.encoders import ENCODERS
from imgprocessor.images.pipeline import Rendition
from imgprocessor.policy.link import Link
from imgprocessor.policy.seen import Device
from imgprocessor.policy.table import Cell, Policy
from imgprocessor.storage.shared.bucket import Bucket

TABLE = """
[bandwidths]
2g = rtt>=1400 downlink<=0.07
named =
4g = otherwise
default = 4g
[screens]
phone = 480
desktop = otherwise
default = desktop
[formats]
offer = avif webp jpeg
[sized]
2g = q45 20kB
named = q50
4g = q78 dpr2
[phone]
2g = 120px q45 2kB
named = 50% q50
4g = 240px s70
[desktop]
2g = 200px q45
named = full q50
4g = 400px q78
"""

ONE_CELL = """
[bandwidths]
any = otherwise
default = any
[screens]
every = otherwise
default = every
[sized]
any = q90
[every]
any = 120px q90
[formats]
offer = avif webp jpeg
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A small table over two originals, one of them no picture."""
    folder = tmp_path / "pictures"
    images.save(folder / "one.jpg", images.texture((600, 400)), "JPEG", quality=92)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "policy.ini").write_text(TABLE)
    conf = tmp_path / "imgprocessor.ini"
    conf.write_text(
        f"[originals]\nroots = pictures\n[placeholder]\nfile = {ROOT}/static/404image.png\n"
        "[log]\nfile = requests.log\n"
    )
    return conf


def test_check_says_which_policy_can_be_used(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (conf.parent / "policy.ini").write_text(TABLE.replace("s70", "q70").replace("50% ", "180px "))
    status = main(["policy", "check", "--conf", str(conf)])

    told = f"{conf.parent}/policy.ini: can be used: 2 screens, 3 bandwidths\n"
    assert (status, *capsys.readouterr()) == (0, told, "")


def test_check_warns_and_still_succeeds(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (conf.parent / "policy.ini").write_text(TABLE.replace("2g = 200px q45", "2g = 200px q90"))

    assert main(["policy", "check", "--conf", str(conf)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        f"{conf.parent}/policy.ini: warning: [desktop] 2g gets more than named: q90 against q50"
    )


def test_check_warns_of_a_placeholder_that_is_not_there(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf.write_text(conf.read_text().replace("404image.png", "none.png"))

    assert main(["policy", "check", "--conf", str(conf)]) == 0
    assert "/none.png is not there: failures will be answered with text" in capsys.readouterr().out


def test_check_tells_of_the_policy_even_where_there_are_no_originals(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (conf.parent / "policy.ini").write_text(TABLE.replace("q78", "q780"))
    none = ["--originals", str(conf.parent / "none")]

    assert main(["policy", "check", "--conf", str(conf), *none]) == 1
    assert "'q780' is no word of a cell" in capsys.readouterr().err


def test_render_says_what_the_budget_took_and_where_it_cannot_write(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["render", str(tmp_path / "pictures" / "one.jpg"), "--conf", str(conf)]

    assert main([*asked, "--max_bytes", "1500", "-o", str(tmp_path / "a")]) == 0
    told = capsys.readouterr().err
    assert re.search(r": jpeg, \d+x\d+, quality 4\d, 1\d+ bytes, the budget took size", told)
    assert main([*asked, "-o", str(tmp_path / "no" / "a.jpg")]) == 1
    assert (
        capsys.readouterr().err == f"imgprocessor: {tmp_path}/no/a.jpg: No such file or directory\n"
    )


def test_render_leaves_nothing_where_the_daemons_keep_what_they_make(
    conf: Path, tmp_path: Path
) -> None:
    """Root's files would be closed to them."""
    cache = tmp_path / "kept"
    conf.write_text(f"{conf.read_text()}\n[disk_cache]\nfolder = {cache}\nmin_free_percent = 0\n")
    picture = tmp_path / "large.png"
    images.save(picture, images.texture((4000, 3000)), "PNG", compress_level=1)

    assert main(["render", str(picture), "--conf", str(conf), "-o", str(tmp_path / "a")]) == 0

    assert not cache.exists()


def test_check_names_line_and_word(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (conf.parent / "policy.ini").write_text(TABLE.replace("120px q45 2kB", "120px q45 2KB"))

    assert main(["policy", "check", "--conf", str(conf)]) == 1
    line = TABLE.splitlines().index("2g = 120px q45 2kB") + 1
    assert f"policy.ini: line {line}: [phone] 2g: '2KB' is no word" in capsys.readouterr().err


def test_a_format_that_cannot_be_written_stops_the_start(
    conf: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ENCODERS, "avif")

    assert main(["policy", "check", "--conf", str(conf)]) == 1
    assert "[formats] offer: 'avif' cannot be written here" in capsys.readouterr().err


def test_show_prints_every_cell_and_bound(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "show", "--conf", str(conf)]) == 0

    shown = capsys.readouterr().out
    for word in ("120px", "2kB", "s70", "full", "dpr2", "rtt>=1400 downlink<=0.07", "480 px"):
        assert word in shown
    assert "named: only by its name" in shown
    assert "4g: otherwise, the default" in shown
    assert "phone: 480 px, phones of unknown width" in shown
    assert "formats: avif webp jpeg" in shown
    assert "effort: behind" in shown


def test_show_names_the_rows_of_the_delivered_policy_on_80_columns(policy: Policy) -> None:
    console = Console(file=io.StringIO(), width=80)

    print_table(policy, console)

    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for row in policy.rows:
        assert re.search(rf"^ *{row} .*\bq\d+|^ *{row} .*\d+px", shown, re.MULTILINE), row


def test_show_has_colours_where_there_is_a_terminal(policy: Policy) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120, color_system="standard")

    print_table(policy, terminal)

    assert isinstance(terminal.file, io.StringIO)
    assert "\x1b[" in terminal.file.getvalue()


def test_explain_tells_each_step(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://images.example.org/images/?name=one.jpg&quality=40"
    headers = ["-H", "RTT: 1500", "-H", "viewport-width: 400", "-H", "Accept: image/avif,*/*"]

    assert main(["policy", "explain", url, *headers, "--conf", str(conf)]) == 0

    told = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert told["bandwidth"].strip() == "2g, from RTT"
    assert told["screen"].strip() == "phone, from Sec-CH-Viewport-Width"
    assert told["cell"].strip() == "[phone] 2g = 120px q45 2kB"
    assert told["formats"].strip() == "avif gif png jpeg"
    assert told["quality"].strip() == "at most 40, as the query asks"
    assert told["effort"].strip() == "behind: one made quickly first"
    assert told["budget"].strip().startswith("2000 bytes, from the cell; quality goes to 40")
    assert re.match(r" +one\.jpg_-_-_-_-_2g_phone_avif\+gif\+png\+jpeg_q40_", told["imagekey"])
    assert told["original"].strip().startswith(f"{conf.parent}/pictures/one.jpg, ")
    assert re.search(r"image/\w+, \d+x\d+, quality 40, \d+ bytes, encoded", told["answer"])
    assert "decode" in told["time"]


@pytest.mark.parametrize(
    "command", [["policy", "explain", "name=one.jpg"], ["policy", "show"], ["settings"]]
)
def test_who_reads_may_stop_early(conf: Path, command: list[str]) -> None:
    """As `head` does."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "imgprocessor", *command, "--conf", conf],
            stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("url", "step", "words"),
    [
        ("name=one.jpg&width=50&dpr=2", "screen", "does not count, for the request names a size"),
        ("name=one.jpg&width=50&dpr=2", "density", "2 of 2, from query"),
        ("name=one.jpg&screen=phone", "quality", "the lowest that scores 70"),
        ("name=one.jpg&max_bytes=1500", "budget", "1500 bytes, from the query"),
        ("name=one.jpg&max_bytes=1500", "answer", "; the budget took size, down from 400x267"),
        ("name=none.jpg", "answer", "the placeholder, with 404 not-found"),
        ("name=broken.png", "answer", "the placeholder, with 422 broken-original"),
        ("name=one.jpg&width=x", "request", "refused, 400 bad-query: width=x: must be"),
        ("name=one.jpg&format=jxl", "answer", "the placeholder, with 400 bad-query: format=jxl"),
        ("name=one.jpg&lqip=yes", "lqip", "the same for every visitor"),
        ("name=one.jpg&lqip=yes", "budget", "199 bytes, from the query; quality goes to 1, then"),
        ("name=one.jpg&crop=9999,0,9,9", "answer", "422 crop-outside: crop 9999,0,9,9 of 600x400"),
        ("?name=one.jpg", "query", "name one.jpg"),
        ("http://[x/?name=one.jpg#part", "query", "name one.jpg"),
        ("name=日本.jpg", "answer", "the placeholder, with 404 not-found"),
        ("name=one.jpg&screen=phone&quality=50", "quality", "at most 50, as the query asks"),
    ],
)
def test_explain_tells_what_is_special(
    conf: Path, capsys: pytest.CaptureFixture[str], url: str, step: str, words: str
) -> None:
    assert main(["policy", "explain", url, "--conf", str(conf)]) == 0

    told = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert words in told[step]


def test_explain_tells_that_an_original_as_it_is_has_no_policy(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "explain", "--conf", str(conf), "/full/nasa.jpeg"]) == 0
    (line,) = capsys.readouterr().out.splitlines()

    assert line.startswith("answer:    the original as it is")


def test_explain_and_render_tell_of_the_original_itself(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    light = conf.parent / "pictures" / "light.webp"
    images.save(light, images.texture((90, 60)), "WEBP", quality=20)
    asked = ["-H", "Accept: image/webp", "--conf", str(conf)]

    assert main(["policy", "explain", "name=light.webp&bandwidth=*&screen=desktop", *asked]) == 0
    assert "image/webp, 90x60, the original itself, " in capsys.readouterr().out
    row = ["--bandwidth", "*", "--screen", "desktop"]
    assert main(["render", str(light), *row, *asked, "-o", str(conf.parent / "a")]) == 0
    assert ": webp, 90x60, the original itself, " in capsys.readouterr().err


def test_explain_tells_of_an_original_that_ends_too_early(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (conf.parent / "pictures" / "one.jpg").read_bytes()
    (conf.parent / "pictures" / "half.jpg").write_bytes(whole[: len(whole) // 2])

    assert main(["policy", "explain", "name=half.jpg", "--conf", str(conf)]) == 0
    assert "; the original ends too early\n" in capsys.readouterr().out


def test_explain_tells_hints_of_zero(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "explain", "name=x", "-H", "Downlink: 0", "--conf", str(conf)]) == 0

    assert re.search(r"hints: +downlink_mbps 0\ntakes: +gif png jpeg\n", capsys.readouterr().out)


@pytest.mark.slow
def test_report_scores_transparent_pictures_as_pages_show_them(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "clear"
    slope = Image.linear_gradient("L").resize((150, 100))
    turned = slope.transpose(Image.Transpose.ROTATE_180)
    image = Image.merge("RGBA", (slope, turned, slope, turned))
    images.save(folder / "clear.png", image, "PNG")
    (conf.parent / "policy.ini").write_text(ONE_CELL)
    asked = ["policy", "report", str(folder), "-o", str(tmp_path / "x.html"), "--text"]

    for accept in ("*/*", "image/avif"):
        assert main([*asked, "--accept", accept, "--conf", str(conf)]) == 0
        (score,) = re.findall(r"`120px q90` \|[^|]*\|[^|]*\| (-?\d+)", capsys.readouterr().out)
        assert int(score) > 70


def test_report_does_no_work_that_it_could_not_write_down(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["policy", "report", str(tmp_path / "pictures"), "-o", str(tmp_path / "no" / "x.html")]

    assert main([*asked, "--conf", str(conf)]) == 1
    assert "no/x.html: there is no such folder to write to" in capsys.readouterr().err


@pytest.mark.slow
def test_report_is_one_page_with_every_cell_and_the_pictures(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "out.html"
    status = main(
        ["policy", "report", str(tmp_path / "pictures"), "-o", str(page), "--conf", str(conf),
         "--text"]
    )  # fmt: skip

    said, progress = capsys.readouterr()
    text = page.read_text()
    assert status == 0
    assert "broken.png is left out: broken-original" in progress.replace("\n", " ")
    assert len(said.splitlines()) == 2 + 2 * 3
    for cell in ("120px q45 2kB", "240px s70", "full q50"):
        assert f"<code>{cell}</code>" in text
        assert f"`{cell}`" in said
    # One file: nothing is loaded from elsewhere.
    loaded = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(loaded) == 6
    assert all(source.startswith("data:image/") for source in loaded)
    assert len(re.findall("<svg", text)) == 2 * 3
    assert "http" not in html.unescape(text)
    (kilobytes,) = re.findall(r"`120px q45 2kB` \| ([\d.]+)", said)
    assert float(kilobytes) <= 2


def test_report_is_about_what_can_be_asked_for(tmp_path: Path) -> None:
    names = ["e\u0301.jpg", "\u4f60.jpg", os.fsdecode(b"\xff.jpg"), "a\\b.jpg"]
    for name in names:
        (tmp_path / name).touch()

    settings = Settings(originals=OriginalsSettings(roots=(tmp_path,)))
    assert originals_in(settings) == names[:2]


@needs_weed
def test_report_knows_all_roots(
    tmp_path: Path, place: tuple[BucketUrl, BucketsSettings], bucket: Bucket
) -> None:
    for name in ("b.jpg", "inner/c.jpg", "text.txt"):
        bucket.put(name, b"x")
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()

    originals = OriginalsSettings(roots=(tmp_path, place[0], tmp_path / "more"))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "0.png").touch()
    settings = Settings(originals=originals, buckets=place[1])
    assert originals_in(settings) == ["0.png", "a.jpg", "b.jpg"]


def test_report_says_what_is_wrong_with_a_folder(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()

    for folder, wrong in (("empty", "there are no pictures"), ("none", "is not a folder")):
        assert main(["policy", "report", str(tmp_path / folder), "--conf", str(conf)]) == 1
        assert wrong in capsys.readouterr().err


def test_a_summary_is_means_the_worst_and_a_page() -> None:
    def sample(number: int) -> Sample:
        rendition = Rendition(
            body=b"x" * number * 1000,
            format="jpeg",
            size=None,  # type: ignore[arg-type]
            original_size=None,  # type: ignore[arg-type]
            quality=60,
            score=None,
            limited="quality" if number > 15 else "",
            density=None,
            trials=1,
        )
        return Sample(str(number), "phone", "2g", rendition, score=number + 40.0, seen=number + 2.0)

    samples = [sample(n) for n in range(21, 0, -1)]
    device = Device(412, Decimal("2.625"))
    summary = Summary("phone", "2g", Cell(60, width_pixels=9), device, Link(0, 8), samples)

    # Twelve of 11 kB, at a megabyte a second.
    assert as_text([summary]).splitlines()[-1] == (
        "| phone | 2g | `9px q60` | 11.0 | 20.0 | 51 | 13 | 3 | 0.1 | 29 % |"
    )
    assert summary.page_seconds == pytest.approx(0.132)


def test_the_digest_changes_with_the_policy_and_only_then(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = []
    for text in (TABLE, TABLE + "; a comment\n", TABLE.replace("400px", "401px")):
        (tmp_path / "policy.ini").write_text(text)
        assert main(["policy", "digest", "--conf", str(conf)]) == 0
        digests.append(capsys.readouterr().out.strip())

    assert digests[0] == digests[1] != digests[2]
    assert re.fullmatch("[0-9a-f]{8}", digests[0])


def test_purge_says_how_much_it_removed(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf.write_text(conf.read_text() + "[disk_cache]\nfolder = cache\nmin_free_percent = 0\n")

    assert main(["purge", "one.jpg", "none.jpg", "--conf", str(conf)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "one.jpg: 0 files removed",
        "none.jpg: 0 files removed",
    ]
    assert main(["purge", "../one.jpg", "--conf", str(conf)]) == 1
