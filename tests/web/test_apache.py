"""Real Apache with mod_wsgi daemons, started by `./run serve`: what only it can show."""

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import images
import pytest
import servers
from conftest import ROOT
from servers import Answer, Server, serving

pytestmark = pytest.mark.apache

NASA = "/images/?name=nasa.jpeg"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    servers.open_up(folder)
    images.save(folder / "nasa.jpeg", images.texture((3000, 2000)), "JPEG", quality=92)
    images.save(folder / "alpha.png", images.four_colours((400, 300)).convert("RGBA"), "PNG")
    images.save(folder / "noise.jpg", images.noise((3600, 2600)), "JPEG", quality=92)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    return folder


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[Server]:
    """One server for all tests of this module, whose error log must stay clean."""
    with serving(tmp_path_factory.mktemp("server"), pictures) as server:
        yield server
        errors = (server.logs / "error.log").read_text()
    bad = re.findall(r"^.*\[\w*:(?:error|warn|crit|alert|emerg)\].*$", errors, re.MULTILINE)
    # What Apache itself refuses of the hostile paths, it says; that is no fault of the server's.
    assert [line for line in bad if "AH10244: invalid URI path" not in line] == []


def test_it_says_what_to_open(apache: Server) -> None:
    *urls, encoders, ready = [line.strip() for line in apache.printed]

    assert ready == f"ready on http://localhost:{apache.port}"
    assert len(urls) == 6
    assert encoders.startswith("with Pillow")
    for url in urls:
        path = url.removeprefix(f"http://localhost:{apache.port}")
        assert apache.ask(path).status == 200


def test_a_picture_comes_from_a_daemon(apache: Server) -> None:
    answer = apache.ask(f"{NASA}&width=340&height=400")

    assert answer.status == 200
    assert images.decoded(answer.body).size == (340, 227)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["imagekey"].startswith(
        "nasa.jpeg_340x400_inside_-_1x_4g_-_gif+png+jpeg_-_"
    )
    assert answer.headers["server"] == "Apache"


def test_vary_is_the_applications_own(apache: Server) -> None:
    """No directive of the virtual host may add headers that it looks at."""
    hints = {"ECT": "3g", "User-Agent": "x"}

    assert "vary" not in apache.ask(f"{NASA}&bandwidth=3g&screen=phone&format=jpeg", hints).headers
    assert apache.ask(f"{NASA}&screen=phone", hints).headers["vary"].replace(" ", "") == (
        "HTTP-NW-TYPE,Save-Data,ECT,RTT,Downlink,Accept"
    )


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"ECT": "3g", "Sec-CH-Viewport-Width": "360"}, "_3g_phone_"),
        ({"HTTP-NW-TYPE": "2G", "HTTP-SCREENSIZE": "720"}, "_2g_tablet_"),
        ({"Save-Data": "on", "Viewport-Width": "360"}, "_save-data_phone_"),
        # Apache drops headers whose names have underscores.
        ({"HTTP_NW_TYPE": "2g", "HTTP_SCREENSIZE": "320"}, "_4g_desktop_"),
    ],
)
def test_hints_reach_the_policy(apache: Server, headers: dict[str, str], field: str) -> None:
    assert field in apache.ask(NASA, headers, "HEAD").headers["imagekey"]


def test_a_header_sent_twice_counts_once(apache: Server) -> None:
    with socket.create_connection(("127.0.0.1", apache.port)) as connection:
        connection.sendall(
            f"HEAD {NASA} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
            + b"ECT: 2g\r\nECT: 4g\r\n\r\n"
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert b"_2g_desktop_" in answer


def test_a_head_is_not_made_a_get(apache: Server) -> None:
    answer = apache.ask("/images/?name=broken.jpg", method="HEAD")

    assert answer.status == 200  # a GET would be a 422
    assert "content-length" not in answer.headers
    assert apache.ask("/images/?name=broken.jpg").status == 422


def test_a_copy_that_is_still_good_is_a_304(apache: Server) -> None:
    etag = apache.ask(NASA).headers["etag"]

    answer = apache.ask(NASA, {"If-None-Match": etag})

    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)


def test_a_missing_original_is_a_404_with_a_picture(apache: Server) -> None:
    answer = apache.ask("/images/?name=none.jpeg&width=120")

    assert (answer.status, answer.headers["image-error"]) == (404, "not-found")
    assert images.decoded(answer.body).size == (120, 90)


def test_an_original_that_appears_is_served_at_once(apache: Server) -> None:
    """Each request is a new one for Apache's own cache, which keeps a 404 for 30 seconds."""
    assert apache.ask("/images/?name=new.png&x=1").status == 404
    images.save(apache.originals / "new.png", images.four_colours((40, 30)), "PNG")
    assert apache.ask("/images/?name=new.png&x=2").status == 200
    (apache.originals / "new.png").unlink()
    assert apache.ask("/images/?name=new.png&x=3").status == 404


HOSTILE = [
    "../README.md", "..%2fREADME.md", "%2e%2e/README.md", "%2e%2e%2fREADME.md", "..%252fREADME.md",
    "....//README.md", "/etc/passwd", "%2fetc%2fpasswd", "//etc/passwd", "file:///etc/passwd",
    "nasa.jpeg%00", "nasa.jpeg%00.png", "%00", "..\\README.md", "..%5cREADME.md", "%c0%ae%c0%ae/x",
    "a" * 151, "a" * 3000, "nasa.jpeg/", "./nasa.jpeg", ".", "..", "%", "%zz", "\xff", "CON",
    "nasa.jpeg/x", "/proc/self/environ", "/dev/zero", "~root", "$(id)", "|id", "<svg>", "%0d%0aX:y",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_outside_the_root_is_ever_sent(apache: Server, name: str) -> None:
    answer = apache.ask(f"/images/?name={name}&width=64")

    assert answer.status in {400, 404}
    assert images.decoded(answer.body).size == (64, 48)
    assert answer.headers["imagekey"].startswith("404image.png_64x_")


@pytest.mark.parametrize(
    "path",
    [
        "/images/../conf/imgprocessor.ini", "/images/..%2fconf/imgprocessor.ini",
        "/../conf/imgprocessor.ini", "/%2e%2e/conf/imgprocessor.ini", "/imgprocessor.wsgi",
        "/images/../nasa.jpeg", "/images/%00", "/.git/config", "/originals/nasa.jpeg", "/cgi-bin/",
        "/flower/", "/flower/metrics",
    ],
)  # fmt: skip
def test_nothing_else_of_the_project_is_served(apache: Server, path: str) -> None:
    assert apache.ask(path).status in {400, 404}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_pictures_can_be_read_and_nothing_else(apache: Server, method: str) -> None:
    assert apache.ask(NASA, method=method).status == 405


def test_a_large_upload_is_refused(apache: Server) -> None:
    answer = servers.ask(apache.port, NASA, {"Content-Length": "100000000"}, "POST")

    assert answer.status in {405, 413}


def test_the_page_asks_for_hints(apache: Server) -> None:
    page = apache.ask("/")

    assert page.status == 200
    assert "ECT" in page.headers["accept-ch"]
    assert apache.ask("/adaptive.js").status == 200


@pytest.mark.parametrize(
    ("accept", "mime"),
    [
        ("image/avif,image/webp,*/*", "image/avif"),
        ("image/webp", "image/webp"),
        ("*/*", "image/jpeg"),
    ],
)
def test_one_url_has_the_format_that_accept_asks_for(
    apache: Server, accept: str, mime: str
) -> None:
    answer = apache.ask(f"{NASA}&width=320&max_bytes=12000&bandwidth=4g&dpr=1", {"Accept": accept})

    assert (answer.status, answer.headers["content-type"]) == (200, mime)
    assert answer.headers["vary"] == "Accept"
    assert len(answer.body) <= 12_000
    assert images.decoded(answer.body).size[0] <= 320


def test_requests_are_logged_with_what_was_decided_and_why(apache: Server) -> None:
    marker = "3000x17"
    apache.ask(f"{NASA}&width=3000&height=17", {"ECT": "3g", "DPR": "2"})

    (line,) = [
        json.loads(line)
        for line in (apache.logs / "requests.log").read_text().splitlines()
        if marker in line
    ]
    assert (line["bandwidth"], line["bandwidth_from"], line["status"]) == ("3g", "ECT", 200)


def test_apaches_log_is_json_whatever_clients_send(apache: Server) -> None:
    hostile = {"User-Agent": 'a"b\\c\x80\xff{}\t', "Referer": '"\\\x80'}
    apache.ask("/images/?name=nasa.jpeg&width=77&x=\x80\xff%22%5c", hostile)
    apache.ask('/images/?name=nasa.jpeg&x="\\', hostile)
    apache.ask(NASA, {"User-Agent": "\x01"})
    apache.ask("/images/\x80%22%5c%0a", hostile)
    with socket.create_connection(("127.0.0.1", apache.port)) as connection:
        connection.sendall(b'"\\\x80 nonsense\r\n\r\n')
        connection.recv(1000)

    # Apache writes a line after it has answered.
    deadline = time.monotonic() + 5
    while '"method":"-"' not in (text := (apache.logs / "access.log").read_text()):
        if "nonsense" in text or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    lines = [json.loads(line) for line in text.splitlines()]
    (line,) = [line for line in lines if "width=77" in line["query"]]
    assert line["imagekey"].startswith("nasa.jpeg_77x_")
    assert (line["method"], line["status"], line["path"]) == ("GET", 200, "/images/")
    assert line["agent"].startswith("a%22b%5cc%80%ff")


def test_slow_readers_keep_no_daemon_busy_and_no_memory_afterwards(apache: Server) -> None:
    """More of them than daemons have threads, each of a picture larger than any buffer but ours."""
    path = "/images/?name=noise.jpg&width=2400&bandwidth=4g&format=png"
    assert 9_000_000 < len(apache.ask(path).body) < 16_000_000
    before = servers.memory_bytes(apache.processes())

    def grown() -> int:
        return servers.memory_bytes(apache.processes()) - before

    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        clients: list[socket.socket] = []
        for number in range(54):
            if number >= 24:  # who came so long before has an answer
                assert clients[number - 24].recv(12) == b"HTTP/1.1 200"
            # Not one that Apache keeps.
            slow = servers.slow_reader(apache.port, f"{path}&x={number}")
            clients.append(stack.enter_context(slow))
        for slow in clients[-24:]:
            assert slow.recv(12) == b"HTTP/1.1 200"  # its picture is finished, and it stops reading

        assert apache.ask(f"{NASA}&width=20").status == 200
        # A reader that kept a daemon busy would do so until it is cut off.
        assert time.monotonic() - begin < 25
        servers.await_true(lambda: servers.unread(apache.port) == 54)
        assert grown() > 400_000_000
    servers.await_true(lambda: grown() < 50_000_000, 5)


def test_four_clients_at_once_get_what_they_asked_for(apache: Server) -> None:
    wrong: list[str] = []

    def ask(first: int) -> None:
        for width in range(first, first + 15):
            answer = apache.ask(f"{NASA}&width={width}&dpr=1")
            if answer.status != 200 or images.decoded(answer.body).width != width:
                wrong.append(f"{width}: {answer.status}")

    threads = [threading.Thread(target=ask, args=(first,)) for first in (100, 200, 300, 400)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_every_process_gives_the_same_bytes(apache: Server) -> None:
    answers = {
        (answer.body, answer.headers["etag"])
        for answer in (apache.ask(f"{NASA}&width=333&x={number}") for number in range(12))
    }

    assert len(answers) == 1


def test_two_servers_do_not_disturb_each_other(
    apache: Server, tmp_path: Path, pictures: Path
) -> None:
    with serving(tmp_path, pictures, "--policy", str(ROOT / "conf/classic.ini")) as other:
        assert "_any_full_" in other.ask(NASA).headers["imagekey"]
        assert "_4g_desktop_" in apache.ask(NASA).headers["imagekey"]
    assert apache.ask(NASA).status == 200


def test_a_stopped_server_leaves_no_process_behind(tmp_path: Path, pictures: Path) -> None:
    with contextlib.ExitStack() as stack:
        started: dict[signal.Signals, dict[int, str]] = {}
        stopped: dict[signal.Signals, Server] = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            server = stack.enter_context(serving(tmp_path / number.name, pictures))
            started[number], stopped[number] = server.processes(), server
            assert len(started[number]) >= 4
        for number, server in stopped.items():
            server.process.send_signal(number)
        for server in stopped.values():
            server.process.wait(20)
        pids = {pid for known in started.values() for pid in known}
        servers.await_true(lambda: pids.isdisjoint(servers.all_processes()))


def test_a_wrong_policy_stops_the_start_with_one_clear_line(tmp_path: Path) -> None:
    policy = tmp_path / "mine.ini"
    policy.write_text((ROOT / "conf/policy.ini").read_text().replace("640px q32", "640px q320"))

    with servers.run_serve("--policy", policy, "--port", str(servers.free_port())) as process:
        printed, _ = process.communicate()

    assert process.returncode == 1
    line = policy.read_text()[: policy.read_text().index("q320")].count("\n") + 1
    assert printed.splitlines()[-1] == (
        f"./run serve: {policy}: line {line}: [phone] 2g: 'q320' is no word of a cell; "
        "right are NNNpx, NN% (1 to 100), full, qNN (1 to 100), sNN (10 to 99), NNkB (whole)"
        " or dprN (1, 1.5, 2 or 3)"
    )


def test_a_port_that_is_taken_is_said(apache: Server) -> None:
    with servers.run_serve("--port", str(apache.port)) as process:
        printed, _ = process.communicate()

    assert process.returncode == 1
    assert f"port {apache.port}: Address already in use; choose another by --port" in printed


def test_root_gives_no_file_away_but_the_log(tmp_path: Path, pictures: Path) -> None:
    """What the settings call the log may be a folder, or a link to something of root's."""
    conf = servers.configuration(tmp_path)
    (tmp_path / "mine").touch()
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "requests.log"
    for kind in ("link", "folder"):
        if kind == "link":
            log.symlink_to(tmp_path / "mine")
        else:
            log.unlink()
            log.mkdir()
        with servers.run_serve("--port", "0", "--conf", conf, "--originals", pictures) as process:
            printed, _ = process.communicate()
        assert process.returncode == 1
        assert f"./run serve: {log}: " in printed
        owners = {path.stat().st_uid for path in (tmp_path / "mine", log)}
        assert owners == {os.geteuid()}


@needs_root
def test_a_folder_that_the_daemons_cannot_read_is_named(tmp_path: Path, pictures: Path) -> None:
    servers.open_up(tmp_path)
    closed = tmp_path / "closed"
    shutil.copytree(pictures, closed / "pictures")
    closed.chmod(0o700)
    conf = servers.configuration(tmp_path / "conf")

    with servers.run_serve(
        "--port", str(servers.free_port()), "--conf", conf, "--originals", closed / "pictures"
    ) as process:
        printed, _ = process.communicate()

    assert process.returncode == 1
    assert f"the user www-data, whom Apache runs as, cannot read the folder {closed}," in printed


@needs_root
def test_a_folder_that_is_closed_while_serving_is_a_503_until_it_opens(
    tmp_path: Path, pictures: Path
) -> None:
    servers.open_up(tmp_path)
    above = tmp_path / "above"
    shutil.copytree(pictures, above / "pictures")
    with serving(tmp_path / "server", above / "pictures") as server:
        above.chmod(0o700)
        closed = server.ask(f"{NASA}&width=64")
        above.chmod(0o755)
        opened = server.ask(f"{NASA}&width=64")

    assert (closed.status, closed.headers["image-error"]) == (503, "originals-unavailable")
    assert images.decoded(closed.body).size == (64, 48)
    assert closed.headers["cache-control"] == "no-store"
    assert opened.status == 200


@needs_root
def test_no_root_is_needed_once_packages_are_there(tmp_path: Path, pictures: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    servers.open_up(tmp_path)
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.chown(folder, nobody.pw_uid)
    ids = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")

    with serving(folder, pictures, prefix=("setpriv", *ids)) as server:
        assert server.ask(NASA).status == 200
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in server.processes()}
    assert owners == {nobody.pw_uid}


def _system_apache(folder: Path, pictures: Path, port: int) -> dict[str, str]:
    """Set a system Apache up in a folder, by the very commands that `docs/production.md` gives."""
    etc = folder / "etc"
    shutil.copytree("/etc/apache2", etc, symlinks=True)
    for site in (etc / "sites-enabled").iterdir():
        site.unlink()
    (etc / "ports.conf").write_text(f"Listen 127.0.0.1:{port}\n")
    # As many renderers everywhere: on six cores the threads that are delivered are too few.
    settings = f"[originals]\nroots = {pictures}\n[rendering]\nworkers = 2\n"
    conf = servers.configuration(folder / "conf", settings)
    logs = folder / "logs"
    logs.mkdir()
    (conf.parent / "logs").mkdir()
    (conf.parent / "logs" / "requests.log").touch()
    if os.geteuid() == 0:
        shutil.chown(conf.parent / "logs" / "requests.log", "www-data")
    for kept in (conf.parent / "cache", folder / "apache-cache"):
        kept.mkdir()
        if os.geteuid() == 0:
            shutil.chown(kept, "www-data")
    site = etc / "sites-available" / "imgprocessor.conf"
    text = (ROOT / "apache/imgprocessor.conf").read_text()
    for name, value in {
        "IMG_ROOT": ROOT,
        "IMG_CONF": conf.parent,
        "IMG_ORIGINALS": pictures,
        "IMG_LOGS": logs,
        "IMG_RUN": folder,
        "IMG_CACHE": folder / "apache-cache",
        "IMG_HOST": "images.example.org",
        "IMG_LISTEN": f"*:{port}",
    }.items():
        text, changes = re.subn(rf"(    Define {name}) .*", rf"\1 {value}", text)
        assert changes == 1
    site.write_text(text)
    (etc / "envvars").write_text(
        (etc / "envvars").read_text()
        + f"\nexport APACHE_PID_FILE={folder}/apache2.pid APACHE_RUN_DIR={folder}"
        f" APACHE_LOCK_DIR={folder}/locks APACHE_LOG_DIR={logs}\n"
    )
    environment = {**os.environ, "APACHE_CONFDIR": str(etc)}
    for command in ("a2enmod headers cache_disk", "a2ensite imgprocessor"):
        subprocess.run(command.split(), env=environment, check=True, capture_output=True)
        assert f"sudo {command}" in (ROOT / "docs/production.md").read_text()
    return environment


def _apachectl(command: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/usr/sbin/apache2ctl", command],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip


@contextlib.contextmanager
def _running(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a system Apache that was set up in a folder; afterwards it has ended."""
    _apachectl("start", environment)
    try:
        yield
    finally:
        pid = int((folder / "apache2.pid").read_text())
        _apachectl("stop", environment)
    servers.await_true(lambda: pid not in servers.all_processes())


def test_the_virtual_host_serves_from_a_system_apache(tmp_path: Path, pictures: Path) -> None:
    servers.open_up(tmp_path)
    port = servers.free_port()
    environment = _system_apache(tmp_path, pictures, port)

    def ask() -> Answer:
        return servers.ask(port, f"{NASA}&width=100", {"Host": "images.example.org"})

    assert "Syntax OK" in _apachectl("configtest", environment).stderr
    with _running(tmp_path, environment):
        answer = ask()
        assert (answer.status, images.decoded(answer.body).width) == (200, 100)
        # The answer is here before Apache has kept it.
        servers.await_true(lambda: ask().headers.get("x-cache", "").startswith("HIT"))
        assert servers.ask(port, "/", {"Host": "images.example.org"}).status == 200
    errors = (tmp_path / "logs" / "error.log").read_text()
    assert "[wsgi:error]" not in errors


@pytest.mark.parametrize(("threads", "wanted"), [(24, None), (9, 10)])
def test_daemons_with_too_few_threads_say_what_to_set(
    tmp_path: Path, pictures: Path, threads: int, wanted: int | None
) -> None:
    """18 jobs may be rendered or wait."""
    servers.open_up(tmp_path)
    port = servers.free_port()
    environment = _system_apache(tmp_path, pictures, port)
    site = tmp_path / "etc" / "sites-available" / "imgprocessor.conf"
    text = site.read_text()
    assert text.count("Define IMG_THREADS 24") == 1
    site.write_text(text.replace("Define IMG_THREADS 24", f"Define IMG_THREADS {threads}"))
    with _running(tmp_path, environment):
        answer = servers.ask(port, NASA, {"Host": "images.example.org"})

    assert answer.status == 200
    errors = (tmp_path / "logs" / "error.log").read_text()
    said = {line.partition("imgprocessor: ")[2] for line in errors.splitlines() if "thread" in line}
    assert len(said) == (wanted is not None)
    for line in said:
        assert line.startswith(f"too few threads: 2 x {threads} = {2 * threads} in the daemons")
        assert line.endswith(f"Define IMG_THREADS {wanted} or more in the virtual host")


def test_a_daemon_that_cannot_start_says_why_in_one_line(tmp_path: Path, pictures: Path) -> None:
    """As after a reload with a policy that nobody checked."""
    servers.open_up(tmp_path)
    port = servers.free_port()
    environment = _system_apache(tmp_path, pictures, port)
    (tmp_path / "conf" / "imgprocessor.ini").write_text("[nonsense]\n")
    with _running(tmp_path, environment):
        answer = servers.ask(port, NASA, {"Host": "images.example.org"})

    assert answer.status == 500
    errors = (tmp_path / "logs" / "error.log").read_text()
    assert "imgprocessor.ini: [nonsense]: no such section" in errors


@pytest.mark.parametrize("folder", ["elsewhere", "cache/elsewhere"])
def test_the_folder_of_originals_from_elsewhere_is_the_daemons(
    tmp_path: Path, pictures: Path, folder: str
) -> None:
    """Apart from the store, where they could not make it themselves, and in it."""
    servers.open_up(tmp_path)
    settings = f"[remote]\nhosts = localhost\nfolder = {folder}\n"
    with serving(tmp_path / "server", pictures, settings=settings) as server:
        ready = server.ask("/images/-/ready")
        (daemon, *_) = server.daemons()
        owner = Path(f"/proc/{daemon}").stat().st_uid

    assert json.loads(ready.body)["checks"]["remote"] == "ok"
    assert {(tmp_path / "server" / path).stat().st_uid for path in ("cache", folder)} == {owner}


def test_a_folder_of_originals_from_elsewhere_that_is_a_link_is_refused(
    tmp_path: Path, pictures: Path
) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "server" / "elsewhere").symlink_to(tmp_path / "mine")
    settings = "[remote]\nhosts = localhost\nfolder = elsewhere\n"
    with (
        pytest.raises(AssertionError, match="never ready") as caught,
        serving(tmp_path / "server", pictures, settings=settings),
    ):
        pass

    link = tmp_path / "server" / "elsewhere"
    assert f"./run serve: [remote] folder: {link}: Not a directory" in str(caught.value)
    assert (tmp_path / "mine").stat().st_uid == os.geteuid()


def test_originals_from_elsewhere_have_a_process_of_their_own(
    tmp_path: Path, pictures: Path
) -> None:
    """So that none of the others ever waits for another host; what is kept at home is not moved."""
    servers.open_up(tmp_path)
    settings = "[remote]\nhosts = localhost\nfolder = remote\n"
    with serving(tmp_path, pictures, settings=settings) as server:
        for number in range(6):
            url = f"/images/?width={number + 1}&url=http://localhost/"
            refused = server.ask(url)
            assert (refused.status, refused.headers["image-error"]) == (403, "origin-forbidden")
            for query in ("", "&xurl=1", "&url=", "&x=url=1"):
                assert server.ask(f"{NASA}&width={number + 1}{query}").status == 200, query
        lines = (server.logs / "requests.log").read_text().splitlines()
    asked = [line for line in map(json.loads, lines) if "status" in line]
    elsewhere = {line["pid"] for line in asked if line["status"] == 403}
    at_home = {line["pid"] for line in asked if line["status"] == 200}
    assert len(elsewhere) == 1
    assert not elsewhere & at_home
