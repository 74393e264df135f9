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
from bench_uploads import Refused, form, takers_of
from load import LoadError, ask_each, jpeg_size, unchunked
from results import MEASURES, OURS, STATIC_NAME, Outcome, ratio_to_best

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
    assert ratios["score"] is None


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
