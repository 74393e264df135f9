"""What stands around the application: headers, limits, slow clients, the sandbox, locks."""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import images
import pytest
import servers
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from servers import Server, serving

from imgprocessor.web.responses import PAGE_SECURITY

NASA = "/images/?name=nasa.jpeg"
PURGE = "POST /images/-/purge HTTP/1.1\r\nContent-Length: 1"
NOTHING = "default-src 'none'; sandbox"


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pictures = tmp_path_factory.mktemp("pictures")
    servers.open_up(pictures)
    images.save(pictures / "nasa.jpeg", images.texture((900, 600)), "JPEG", quality=92)
    include = pictures / "include.conf"
    include.write_text("Redirect 503 /overloaded\nRedirect 504 /late\n")
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, pictures, "--include", str(include)) as server:
        yield server


# --- Headers and limits --------------------------------------------------------------------------


def _raw(server: Server, request: str) -> tuple[int, list[tuple[str, str]]]:
    """Send a request as it is; return the status and all headers, repeated ones, too."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
    first, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    headers = [(line.partition(": ")[0].lower(), line.partition(": ")[2]) for line in lines]
    return int(first.split()[1]), headers


@pytest.mark.apache
@pytest.mark.parametrize(
    ("path", "status", "policy"),
    [
        (f"{NASA}&width=64", 200, NOTHING),
        ("/images/?name=none.jpeg", 404, NOTHING),
        ("/images/?width=x", 400, NOTHING),
        ("/full/nasa.jpeg", 200, NOTHING),
        ("/full/none.jpeg", 404, NOTHING),
        ("/-imgprocessor-inner/jpeg/nasa.jpeg", 403, NOTHING),
        ("/images/-/health", 200, NOTHING),
        ("/images/-/metrics", 200, NOTHING),
        ("/", 200, PAGE_SECURITY),
        ("/adaptive.js", 200, NOTHING),
        ("/nothing", 404, NOTHING),
        ("/overloaded", 503, NOTHING),
        (f"/images/?{'x' * 9000}", 414, NOTHING),
        ("/images/%00", 404, NOTHING),
    ],
)
def test_every_answer_has_each_header_once(
    apache: Server, path: str, status: int, policy: str
) -> None:
    known, headers = _raw(apache, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    wanted = {
        "x-content-type-options": "nosniff",
        "content-security-policy": policy,
        "cross-origin-resource-policy": "cross-origin",
        "referrer-policy": "no-referrer",
        "server": "Apache",
    }

    assert known == status
    for name, value in wanted.items():
        assert [found for header, found in headers if header == name] == [value], name


@pytest.mark.apache
@pytest.mark.parametrize(("path", "seconds"), [("/overloaded", "2"), ("/late", "2"), (NASA, None)])
def test_apaches_own_failures_say_when_to_come_back(
    apache: Server, path: str, seconds: str | None
) -> None:
    assert apache.ask(path).headers.get("retry-after") == seconds


@pytest.mark.apache
@pytest.mark.parametrize(
    ("request_lines", "body", "status"),
    [
        ("GET /images/?name=nasa.jpeg&x={} HTTP/1.1".format("x" * 8100), "", 200),
        ("GET /images/?name=nasa.jpeg&x={} HTTP/1.1".format("x" * 8200), "", 414),
        ("GET /images/?name=nasa.jpeg HTTP/1.1" + "\r\nA: b" * 48, "", 200),
        ("GET /images/?name=nasa.jpeg HTTP/1.1" + "\r\nA: b" * 50, "", 400),
        ("GET /images/?name=nasa.jpeg HTTP/1.1\r\nA: " + "b" * 8000, "", 200),
        ("GET /images/?name=nasa.jpeg HTTP/1.1\r\nA: " + "b" * 9000, "", 400),
        ("TRACE /images/ HTTP/1.1", "", 405),
        ("POST /images/ HTTP/1.1\r\nContent-Length: 0", "", 405),
        ("POST /images/ HTTP/1.1\r\nContent-Length: 1", "a", 403),
        ("GET /full/nasa.jpeg HTTP/1.1\r\nContent-Length: 1", "a", 403),
        ("POST /images/ HTTP/1.1\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 403),
        ("GET /images/?name=nasa.jpeg&y HTTP/1.1\r\nContent-Length: 9", "x" * 9, 403),
        ("GET /browse/ HTTP/1.1\r\nContent-Length: 9", "x" * 9, 403),
        ("POST /browse HTTP/1.1\r\nContent-Length: 1", "a", 403),
        ("GET /image/nasa.jpeg HTTP/1.1\r\nContent-Length: 9", "x" * 9, 403),
        ("POST /media/nasa.jpeg HTTP/1.1\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 403),
        ("POST /images/-/purge HTTP/1.1\r\nContent-Length: 100000", "", 413),
        (f"{PURGE}\r\nX-Forwarded-For: ::1\r\nAuthorization: Bearer a", "a", 403),
        (f"{PURGE}", "a", 403),
        (f"{PURGE}\r\nAuthorization: Bearer a", "a", 404),  # nobody purges here
        ("POST /images/-/%70urge/ HTTP/1.1\r\nContent-Length: 1", "a", 403),
    ],
)  # fmt: skip
def test_requests_are_limited(apache: Server, request_lines: str, body: str, status: int) -> None:
    assert _raw(apache, f"{request_lines}\r\nHost: x\r\n\r\n{body}")[0] == status


@pytest.mark.apache
def test_what_has_no_headers_is_refused(apache: Server) -> None:
    """HTTP/0.9: an answer without those that say that it is harmless."""
    with socket.create_connection(("127.0.0.1", apache.port), timeout=10) as old:
        old.sendall(f"GET {NASA}\r\n\r\n".encode())
        with old.makefile("rb") as answer:
            assert answer.readline().startswith(b"HTTP/1.1 400 ")


@pytest.mark.apache
def test_vary_names_no_header_that_limits_look_at(apache: Server) -> None:
    vary = apache.ask(f"{NASA}&bandwidth=4g&dpr=1&width=80").headers["vary"]

    assert vary == "Accept"


def test_the_page_has_one_policy_everywhere() -> None:
    assert (
        f'set Content-Security-Policy "{PAGE_SECURITY}"'
        in (ROOT / "apache/imgprocessor.conf").read_text()
    )


# --- Slow clients --------------------------------------------------------------------------------

SLOW = (
    "GET /images/?name=nasa.jpeg HTTP/1.1\r\nHost: x\r\nX-Drop: a",
    "POST /images/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na",
    # By way of a proxy.
    "POST /images/-/purge HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: a\r\nContent-Length: 9\r\n\r\na",
)


@pytest.mark.apache
def test_slow_clients_keep_nobody_waiting_and_are_cut_off(apache: Server) -> None:
    """Five hundred of three kinds at once. A thousand of each: docs/reliability.md."""
    took = []
    with contextlib.ExitStack() as stack:
        begin = time.monotonic()
        slow = []
        for number in range(500):
            one = socket.create_connection(("127.0.0.1", apache.port), timeout=30)
            slow.append(stack.enter_context(one))
            one.sendall(SLOW[number % len(SLOW)].encode())
        for number in range(60):
            asked = time.monotonic()
            assert apache.ask(f"{NASA}&width={100 + number}&dpr=1").status == 200
            took.append(time.monotonic() - asked)
        for one in slow:
            while one.recv(4096):
                pass
        assert time.monotonic() - begin < 25

    # While 500 threads are started, the first may wait; a daemon kept busy would be for 10 seconds.
    assert sorted(took)[len(took) // 2] < 1
    assert max(took) < 8


# --- The sandbox ---------------------------------------------------------------------------------

UNITS = sorted((ROOT / "apache").glob("*.service"))
PYTHON = "/srv/imgprocessor/.venv/bin/python"

ANALYZE = shutil.which("systemd-analyze") or ""


@pytest.mark.skipif(not ANALYZE, reason="no systemd here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_unit_is_one_and_is_as_closed_as_it_says(unit: Path, tmp_path: Path) -> None:
    # It looks whether what is started is there.
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace(f"ExecStart={PYTHON}", f"ExecStart={sys.executable}"))
    verified = subprocess.run(
        [ANALYZE, "verify", here], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    command = [ANALYZE, "security", "--offline=true", "--no-pager", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (exposure,) = re.findall(rf"exposure level for {unit.name}: ([\d.]+)", said)

    assert f"says {exposure} of this file" in unit.read_text()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_every_directive_of_the_sandbox_has_a_reason_above_it(unit: Path) -> None:
    delivery = unit.read_text().partition("\n[Service]\n")[2].partition("\n[Install]\n")[0]
    _, *blocks = delivery.split("\n\n")

    assert len(blocks) >= 5
    assert all(block.startswith("#") for block in blocks if block.strip())


def test_no_unit_removes_what_others_of_its_user_have_in_memory() -> None:
    """The daemons' sockets among it; without User= it counts for nobody."""
    for unit in UNITS:
        lines = unit.read_text().splitlines()
        assert not {"User=www-data", "RemoveIPC=yes"} <= {*lines}


# --- The lock files ------------------------------------------------------------------------------

LOCKS = {
    "requirements.lock": ("server",),
    "requirements-report.lock": ("server", "report"),
    "requirements-test.lock": ("server", "report", "test"),
}


def _locked(name: str) -> dict[str, tuple[str, str]]:
    """Return version and marker by package; fail where one has no hash."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    found: dict[str, tuple[str, str]] = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        package = Requirement(re.sub(r"\\\n.*", "", entry, flags=re.DOTALL).strip())
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
        (version,) = package.specifier
        assert version.operator == "=="
        found[canonicalize_name(package.name)] = version.version, str(package.marker or "")
    return found


def _asked_for(extras: tuple[str, ...]) -> list[Requirement]:
    """Return what setup.py asks for, as it is installed here, and what ./run adds."""
    asked = [Requirement(text) for text in metadata.requires("imgprocessor") or []]
    wanted = [
        one
        for one in asked
        if "extra ==" not in str(one.marker)
        or any(one.marker and one.marker.evaluate({"extra": extra}) for extra in extras)
    ]
    run = (ROOT / "run").read_text()
    if "report" in extras:
        wanted += map(Requirement, re.findall(r"^REPORT_ALONE=\((\S+)\)", run, re.MULTILINE))
    if "test" in extras:
        wanted += map(Requirement, re.findall(r"^TEST_ALONE=\(\S+ (\S+)\)", run, re.MULTILINE))
    return wanted


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_is_what_setup_asks_for(name: str) -> None:
    locked = _locked(name)
    asked = _asked_for(LOCKS[name])

    assert len(asked) >= 9
    for one in asked:
        version, _ = locked[canonicalize_name(one.name)]
        assert one.specifier.contains(version), f"{one}: ./run lock"
    setup = (ROOT / "setup.py").read_text()
    for package, version in re.findall(r'"([\w-]+)==([\w.]+)', setup):
        test_lock = _locked("requirements-test.lock")
        assert test_lock[canonicalize_name(package)][0] == version, f"{package}: ./run lock"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_complete(name: str) -> None:
    """Pip is told to look for nothing else."""
    locked = _locked(name)
    for package, (version, marker) in locked.items():
        if marker and not Requirement(f"x; {marker}").marker.evaluate():  # type: ignore[union-attr]
            continue
        assert metadata.version(package) == version
        for text in metadata.requires(package) or []:
            needed = Requirement(text)
            if needed.name == "pillow":
                continue  # which Pillow-SIMD stands for
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in locked, f"{package} needs {needed}"


@pytest.mark.parametrize("name", [*LOCKS, "requirements-build.lock"])
def test_a_lock_names_no_place(name: str) -> None:
    text = (ROOT / name).read_text()

    assert _locked(name)
    assert not re.search(r"://|--(?:extra-)?index|--find-links|--trusted", text)


def test_nothing_is_installed_but_what_is_locked() -> None:
    run = (ROOT / "run").read_text()
    installs = re.findall(r'^ *(?:CC=\S+ )?"\$\{pip\[@\]\}" (.*(?:\\\n.*)?)', run, re.MULTILINE)

    assert len(installs) == 3
    assert all("--no-deps" in line for line in installs)
    assert sum("--require-hashes" in line for line in installs) == 2
    assert Path(ROOT / "requirements-build.lock").read_text().count("setuptools==") == 1
