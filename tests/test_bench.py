"""The client and the table of `./run bench`: what would make a broken server look fast."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import images
import pytest
from bench_pictures import picture_size
from bench_uploads import Refused, form, takers_of
from load import LoadError, ask_each, jpeg_size, unchunked
from peers import Imgprocessor, Imgproxy, Ipx, Thumbor
from picture_measures import MEASURES
from results import OURS, STATIC_NAME, STATIC_WEBP, Outcome, ratio_to_best
from systems import CannotInstall, System

from imgprocessor.web.uploads.form import read_form


@contextmanager
def _answering(body: bytes, *, chunked: bool = False, kept: int = 1000) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        answered = 0

        def do_GET(self) -> None:
            self.answered += 1
            self.send_response(200 if self.path.startswith("/good") else 404)
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(body)))
            if self.answered == kept:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.mark.parametrize("chunked", [False, True])
def test_each_path_is_asked_for_once_and_answered_whole(*, chunked: bool) -> None:
    body = bytes(range(256)) * 4000
    paths = [f"/good/{number}" for number in range(30)]

    with _answering(body, chunked=chunked, kept=3) as port:
        load = ask_each(port, paths)

    assert sorted(answer.path for answer in load.answers) == sorted(paths)
    assert {(answer.status, answer.body == body) for answer in load.answers} == {(200, True)}


def test_a_failure_is_seen() -> None:
    with _answering(b"no") as port:
        (answer,) = ask_each(port, ["/bad"]).answers

    assert answer.status == 404


def test_a_server_that_is_gone_is_an_error() -> None:
    with _answering(b"no") as port:
        pass  # nobody listens there any more

    with pytest.raises(LoadError, match="refused"):
        ask_each(port, ["/good"])


def test_the_end_of_chunks_is_not_taken_for_granted() -> None:
    whole = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"

    assert unchunked(whole) == b"abcde"
    assert [unchunked(whole[:end]) for end in range(len(whole))] == [None] * len(whole)


@pytest.mark.parametrize(
    ("status", "told", "sizes", "error"),
    [
        (201, b'"sizes": [["320", "0"]]', [320], None),
        (201, b'"sizes": []', [], None),
        (201, b'"sizes": []', [320], LoadError),
        (200, b"known already", [], LoadError),
        (503, b"too much to do", [], Refused),
    ],
)
def test_an_upload_counts_only_where_it_was_taken(
    tmp_path: Path, status: int, told: bytes, sizes: list[int], error: type[Exception] | None
) -> None:
    forms: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            forms.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Location", "/image/a.jpg")
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            pass

    ours, _ = takers_of(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        connection = HTTPConnection("127.0.0.1", server.server_address[1])
        with pytest.raises(error) if error else nullcontext():
            ours.upload(connection, b"\xff\xd8", sizes)
        server.shutdown()

    texts = {"sizes": "320x0"} if sizes else {}
    assert forms == [form(texts, "image", b"\xff\xd8")]


def test_a_form_has_the_file_as_it_is(tmp_path: Path) -> None:
    body = bytes(range(256)) * 40
    sent = form({"sizes": "320x0"}, "image", body)
    environ = {
        "CONTENT_TYPE": "multipart/form-data; boundary=a-boundary-of-this-benchmark",
        "CONTENT_LENGTH": str(len(sent)),
        "wsgi.input": io.BytesIO(sent),
    }

    read = read_form(environ, new_file=lambda: tmp_path / "file", max_bytes=len(body))

    assert read.sizes == "320x0"
    assert (tmp_path / "file").read_bytes() == body


def test_what_is_accepted_is_said_and_jpeg_alone_otherwise() -> None:
    accepted: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            accepted.append(self.headers["Accept"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        ask_each(server.server_address[1], ["/"])
        ask_each(server.server_address[1], ["/"], accept="image/avif,*/*")
        server.shutdown()

    assert accepted == ["image/jpeg", "image/avif,*/*"]


def test_a_connection_that_is_done_may_end_while_others_wait() -> None:
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/slow":
                assert ended.wait(20)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.close_connection = True  # and the client is not told

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def shutdown_request(self, request: Any) -> None:
            super().shutdown_request(request)
            ended.set()

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            answers = ask_each(server.server_address[1], ["/slow", "/quick"]).answers
        finally:
            server.shutdown()

    assert [answer.path for answer in answers] == ["/quick", "/slow"]


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "AVIF", "PNG"])
def test_a_picture_of_any_format_counts_where_it_is_whole(image_format: str) -> None:
    body = images.encoded(images.texture((61, 43)), image_format)

    assert picture_size(body) == (61, 43)
    assert picture_size(body[: len(body) // 2]) is None
    assert picture_size(b"<html>") is None


@pytest.mark.parametrize(
    ("system", "quality", "parts", "without"),
    [
        (Imgprocessor, 60, ["width=320&", "bandwidth=3g&"], ["quality", "format"]),
        (Imgprocessor, 75, ["bandwidth=4g&", "quality=75"], ["format"]),
        (Imgprocessor, None, ["bandwidth=4g&"], ["quality", "format"]),
        (Imgproxy, 75, ["/rs:fit:320:0/q:75/", "/local:///a.jpg"], ["@"]),
        (Imgproxy, None, ["/rs:fit:320:0/plain/"], ["q:"]),
        (Thumbor, 75, ["/320x0/filters:quality(75)/a.jpg"], []),
        (Thumbor, None, ["/320x0/a.jpg"], ["filters"]),
        (Ipx, 75, ["/w_320,q_75,f_auto/a.jpg"], []),
        (Ipx, None, ["/w_320,f_auto/a.jpg"], []),
    ],
)
def test_systems_are_asked_to_choose_the_format(
    tmp_path: Path,
    system: type[System],
    quality: int | None,
    parts: list[str],
    without: list[str],
) -> None:
    path = system(tmp_path).negotiated("a.jpg", 320, quality)

    assert [part for part in parts if part not in path] == [], path
    assert [part for part in without if part in path] == [], path


def test_a_binary_of_imgproxy_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "bin" / "imgproxy"
    monkeypatch.setenv("IMGPROXY", str(binary))

    assert not Imgproxy(tmp_path).installed()
    with pytest.raises(CannotInstall, match=str(binary)):
        Imgproxy(tmp_path).install()

    binary.parent.mkdir()
    binary.touch()

    assert Imgproxy(tmp_path).installed()


@pytest.mark.parametrize("progressive", [False, True])
def test_the_size_is_the_frame_headers(*, progressive: bool) -> None:
    body = images.encoded(images.texture((61, 43)), "JPEG", progressive=progressive)

    assert jpeg_size(body) == (61, 43)
    assert jpeg_size(body[:-9]) is None
    assert jpeg_size(b"<html>") is None


def test_ratios_are_taken_within_a_round_and_void_figures_are_left_out() -> None:
    rounds: list[dict[str, Outcome]] = [
        {OURS: {"cold": 20, "pss": 50}, "a": {"cold": 10, "pss": 100}, "b": {"cold": 5}},
        {OURS: {"cold": 30}, "a": {}, "b": {"cold": 10}, STATIC_NAME: {"cold": 1000}},
        {OURS: {}, "a": {"cold": 10}},
    ]
    ratios = {measure.key: ratio_to_best(rounds, measure) for measure in MEASURES}

    assert ratios["cold"] == 2.5
    assert ratios["pss"] == 0.5
    assert ratios["cold_score"] is None


def test_what_is_ours_in_another_way_is_no_peer_and_nor_are_files() -> None:
    other, measure = f"{OURS}, otherwise", MEASURES[0]
    rounds: list[dict[str, Outcome]] = [
        {
            OURS: {measure.key: 20},
            other: {measure.key: 30},
            STATIC_NAME: {measure.key: 1000},
            STATIC_WEBP: {measure.key: 2000},
            "a": {measure.key: 10},
        }
    ]

    assert ratio_to_best(rounds, measure) == 2
    assert ratio_to_best(rounds, measure, other) == 3


def test_no_answer_at_all_is_an_error() -> None:
    class Silent(BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()

    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with pytest.raises(LoadError, match="/good: the connection ended"):
                ask_each(server.server_address[1], ["/good"])
        finally:
            server.shutdown()
