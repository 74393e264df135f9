"""The sandbox holds, by each of its ways, and ends all that was begun in it; real processes."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import ROOT
from servers import await_true

import imgprocessor
from imgprocessor.errors import JobOver, NoPreview, UndrawableDocument
from imgprocessor.images.previews.kind import TOO_LARGE, TOO_SLOW, Ended, SandboxStep
from imgprocessor.jobs.previews import sandbox as sandbox_module
from imgprocessor.jobs.previews.results import remove_tree
from imgprocessor.jobs.previews.sandbox import NoSandbox, Sandbox, find_sandbox
from imgprocessor.jobs.previews.visible import readable
from imgprocessor.jobs.previews.ways import Bubblewrap, Confinement, Landlock, Visible

BUBBLEWRAP = Bubblewrap.found()
IS_ROOT = os.geteuid() == 0
MARK = f"imgprocessor-mark-{os.getpid()}"

UNCONFINED = """
import json, os, sys
wanted = json.loads(sys.argv[1])
os.chdir(wanted["folder"])
os.set_inheritable(wanted["status"], False)
os.write(wanted["status"], b"confined\\n")
os.execve(wanted["command"][0], wanted["command"], wanted["environment"])
"""


class Unconfined:
    """No sandbox at all."""

    name: ClassVar[str] = "nothing"
    needs_landlock: ClassVar[bool] = True
    counts_processes: ClassVar[bool] = False

    def command(self, shown: Visible, status: int, wanted: str) -> Sequence[str]:
        """Return what does as if it had confined itself."""
        del shown, status
        return [sys.executable, "-c", UNCONFINED, wanted]


class Broken(Unconfined):
    """One that cannot be set up."""

    def command(self, shown: Visible, status: int, wanted: str) -> Sequence[str]:
        """Return what fails."""
        del shown, status, wanted
        return ["/bin/sh", "-c", "echo no such luck >&2; exit 1"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user of this machine may come to, with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="sandbox-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "document.pdf").write_bytes(b"%PDF")
    (folder / "originals").mkdir()
    (folder / "originals/secret").write_text("canary")
    (folder / "within").mkdir()
    yield folder
    remove_tree(folder)


@pytest.fixture(
    params=[
        pytest.param(
            BUBBLEWRAP,
            marks=pytest.mark.skipif(BUBBLEWRAP is None, reason="no bubblewrap"),
            id="bubblewrap",
        ),
        pytest.param(Landlock(), id="landlock"),
    ]
)
def way(request: pytest.FixtureRequest) -> Confinement:
    """Each of the ways."""
    chosen: Confinement = request.param
    return chosen


@pytest.fixture
def sandbox(way: Confinement, place: Path) -> Sandbox:
    return Sandbox(way, [place / "originals"])


def run(sandbox: Sandbox, place: Path, step: SandboxStep, seconds: float = 10) -> Ended:
    return sandbox.running(place / "document.pdf", place / "within", seconds)(step)


def python(code: str, **how: object) -> SandboxStep:
    command = [sys.executable, "-I", "-S", "-B", "-c", f"{code}\n#{MARK}"]
    return SandboxStep(command, **how)  # type: ignore[arg-type]


def left_running(mark: str = MARK) -> list[str]:
    """Processes of steps that are still there, and dead ones that nobody has reaped."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if mark.encode() in command or (not command and parent == str(os.getpid())):
            found.append(f"{process.name}: {command!r}")
    return found


def test_a_step_reads_its_document_and_writes_in_its_folder(sandbox: Sandbox, place: Path) -> None:
    step = python(
        "import os, sys; print(sorted(os.environ), os.getcwd());"
        f"open('copy', 'wb').write(open({str(place / 'document.pdf')!r}, 'rb').read())",
        environment={"OWN": "1"},
    )

    ended = run(sandbox, place, step)

    names = ["HOME", "LANG", "OWN", "PATH", "TEMP", "TMP", "TMPDIR"]
    assert ended == Ended(0, f"{names} {place / 'within'}\n")
    assert (place / "within/copy").read_bytes() == b"%PDF"


def test_it_has_libraries_and_fonts(sandbox: Sandbox, place: Path) -> None:
    code = "import PIL.Image, pypdfium2; print(open(__import__('sys').argv[1]).readline())"
    step = SandboxStep([sys.executable, "-I", "-B", "-c", code, imgprocessor.__file__])

    assert run(sandbox, place, step) == Ended(0, f'"""{imgprocessor.__doc__}"""\n\n')
    assert "ttf" in run(sandbox, place, SandboxStep(["/usr/bin/fc-list"])).said


@pytest.mark.parametrize(
    "path",
    [
        "{place}/originals/secret",
        "{root}/conf/imgprocessor.ini",
        "{root}/setup.py",
        "/etc/passwd",
        "/etc/hostname",
        "/proc/{worker}/environ",
        "/proc/{worker}/root/etc/passwd",
        "/proc/self/environ",
        "/dev/shm",  # noqa: S108 - what it may not
        "/var/lib/dpkg/status",
        "/",
    ],
)
def test_it_cannot_read_anything_else(sandbox: Sandbox, place: Path, path: str) -> None:
    path = path.format(place=place, root=ROOT, worker=os.getpid())
    code = f"import os; p = {path!r}\nos.listdir(p) if os.path.isdir(p) else open(p).read()"

    ended = run(sandbox, place, python(code))

    if path == "/" and ended.status == 0:  # bubblewrap's, where Landlock is not there as well
        return
    assert ended.status == 1
    assert "Error" in ended.said
    assert "canary" not in ended.said


def test_what_it_may_read_is_nobodys(place: Path, way: Confinement) -> None:
    """Where originals lie in the middle of software, what is around them can be read."""
    software = place / "software"
    (software / "share/pictures").mkdir(parents=True)
    (software / "share/pictures/secret").write_text("canary")
    (software / "share/font").write_text("font")
    (software / "link").symlink_to("share")
    (software / "out").symlink_to(place / "originals")
    sandbox = Sandbox(way, [software / "share/pictures", place / "originals"])

    def read(path: str) -> Ended:
        code = f"print(open({str(software / path)!r}).read())"
        return run(sandbox, place, python(code, reads=[software]))

    assert read("share/font").said == "font\n"
    assert read("link/font").said == "font\n"
    for path in ("share/pictures/secret", "link/pictures/secret", "out/secret"):
        assert read(path).status == 1
    with pytest.raises(ValueError, match="software is in it"):
        readable([software], [place])


@pytest.mark.parametrize(
    "code",
    [
        "open('{place}/originals/new', 'w')",
        "open('{place}/document.pdf', 'r+')",
        "import os; os.unlink('{place}/originals/secret')",
        "import os; os.truncate('{place}/originals/secret', 0)",
        "import os; os.chmod('{place}/originals/secret', 0o777)",
        "import os; os.utime('{place}/originals/secret', (0, 0))",
        "import os; os.open('{place}/document.pdf', os.O_RDONLY | os.O_TRUNC)",
        "import os; open('own', 'w').close(); os.open('own', os.O_RDONLY | os.O_TRUNC)",
        "import os; open('own', 'w').close(); os.open('own', os.O_ACCMODE | os.O_TRUNC)",
        "import os; os.setxattr('{place}/originals/secret', 'user.x', b'')",
        "import os; os.link('{place}/originals/secret', 'link')",
        "import os; os.rename('{place}/document.pdf', 'document')",
        "open('/tmp/{mark}', 'w')",
        "open('/dev/shm/{mark}', 'w')",
        "import os; os.mkfifo('pipe')",
        "import os; os.memfd_create('memory')",
        "import socket; socket.socket()",
        "import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
        "import socket; socket.send_fds(socket.socketpair()[0], [b'x'], [0])",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "import os; os.kill({worker}, 0)",
        "import os; os.kill(os.getppid() or 1 << 20, 0)",
        "import os; os.kill(-1, 0)",
        "import os; os.kill(0, 0)",
        "import os; os.fork()",
        "import subprocess; subprocess.run(['/bin/true'])",
        "import os; os.posix_spawn('/bin/true', ['true'], {{}})",
        "import os; os.setsid()",
        "import os; os.setpgid(0, 0)",
        "import os; os.pidfd_open(os.getpid())",
        "import os; os.sched_setaffinity({worker}, [0])",
        "import os; os.setpriority(os.PRIO_PROCESS, {worker}, 19)",
        "import resource; resource.prlimit({worker}, resource.RLIMIT_CORE, (0, 0))",
        "import fcntl; fcntl.fcntl(1, fcntl.F_SETOWN, {worker})",
        "import fcntl; fcntl.fcntl(1, 10, 9)",
        "import fcntl, struct; fcntl.ioctl(1, 0x8901, struct.pack('i', 1))",
        "import ctypes; assert ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0",
        "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
        "import ctypes; assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0",
        "import ctypes; assert ctypes.CDLL(None).syscall(425, 1, 0) != -1",
        "import ctypes; assert ctypes.CDLL(None).syscall(0x40000000 + 39) != -1",
        "import ctypes; assert ctypes.CDLL(None).setuid(1) == 0",
        "import ctypes; assert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, 0) == 0",
    ],
)
def test_it_cannot_do_anything_else(sandbox: Sandbox, place: Path, code: str) -> None:
    code = code.format(place=place, worker=os.getpid(), mark=MARK)

    ended = run(sandbox, place, python(f"print('begun', flush=True)\n{code}"))

    assert ended.status == 1
    assert ended.said.startswith("begun\n")
    assert "Error" in ended.said
    assert (place / "originals/secret").read_text() == "canary"
    assert (place / "document.pdf").read_bytes() == b"%PDF"
    assert not list(Path("/tmp").glob(f"{MARK}*"))  # noqa: S108 - what it may not


def test_it_has_threads_and_streams_and_may_signal_itself(sandbox: Sandbox, place: Path) -> None:
    code = """
import os, resource, signal, socket, threading
thread = threading.Thread(target=lambda: print("thread", flush=True))
thread.start(); thread.join()
one, two = socket.socketpair()
one.send(b"x"); assert two.recv(1) == b"x"
signal.signal(signal.SIGUSR1, lambda *_: print("signal", flush=True))
os.kill(os.getpid(), signal.SIGUSR1)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
os.abort()
"""
    ended = run(sandbox, place, python(code))

    assert ended.said == "thread\nsignal\n"
    assert ended.status in {-signal.SIGABRT, -signal.SIGSEGV}  # the first of its namespace


MAPS = """
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] + [ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
def map_and_close(name, flags=1):
    with open(name, 'w+b') as file:
        file.write(bytes(9_000))
        return libc.mmap(None, 4096, 3, flags, file.fileno(), 0)
"""
"""By hand, since Python's `mmap` keeps the file open."""

RUNS_WILD = {
    "while True: pass": TOO_SLOW,
    "import time; time.sleep(100)": TOO_SLOW,
    "import signal; signal.pthread_sigmask(0, range(1, 65)); signal.sigwait([1])": TOO_SLOW,
    "import os\nwhile True: os.write(1, b'x' * 65536)": TOO_SLOW,
    "import os\nos.close(1), os.close(2)\nwhile True: pass": TOO_SLOW,
    "f = [open(str(n), 'wb') for n in range(9)]\nfor o in f: o.write(bytes(9_000_000))\n"
    "while True: pass": TOO_LARGE,
    "import os\nf = [open(str(n), 'wb') for n in range(9)]\nfor n in range(9): os.unlink(str(n))\n"
    "for o in f: o.write(bytes(9_000_000))\nwhile True: pass": TOO_LARGE,
    "import os\nos.mkdir('d', 0o300)\n"
    "for n in range(9): open(f'd/{n}', 'wb').write(bytes(9_000_000))\n"
    "while True: pass": TOO_LARGE,
    # Mapped, closed and removed; and many by turns, which no two looks find.
    f"{MAPS}\nmap_and_close('f'); os.unlink('f'); time.sleep(100)": TOO_LARGE,
    f"{MAPS}\nfor n in range(10**9):\n"
    " at = [map_and_close(f'{n % 8}') for n in range(8)]\n"
    " for n in range(8): os.unlink(f'{n}')\n"
    " time.sleep(.04)\n"
    " for one in at: libc.munmap(one, 4096)": TOO_LARGE,
    # The first thread ends, and what it has open is not seen by it any more.
    f"{MAPS}\nf = [open(str(n), 'wb') for n in range(9)]\n"
    "for n in range(9): os.unlink(str(n))\n"
    "def write():\n for o in f: o.write(bytes(9_000_000))\n time.sleep(100)\n"
    "threading.Thread(target=write).start()\n"
    "libc.syscall({'x86_64': 60}.get(os.uname().machine, 93), 0)": TOO_LARGE,
    "for n in range(10**9): open(str(n), 'w').close()": TOO_LARGE,
    "import os\nwhile True: os.mkdir('d', 0o700); os.chdir('d')": TOO_LARGE,
    "import os, time\nfor n in range(40): os.mkdir('d', 0o700); os.chdir('d')\n"
    "time.sleep(100)": TOO_LARGE,
    "import threading, time\nthreading.stack_size(65536)\nfor n in range(2000):\n"
    " threading.Thread(target=time.sleep, args=(100,)).start()\n": TOO_LARGE,
}


@pytest.mark.parametrize(("code", "public"), RUNS_WILD.items())
def test_what_runs_wild_is_ended(sandbox: Sandbox, place: Path, code: str, public: str) -> None:
    begun = time.monotonic()

    seconds = 1.0 if public == TOO_SLOW else 20.0
    with pytest.raises(UndrawableDocument) as caught:
        run(sandbox, place, python(code, output_bytes=50_000_000), seconds)

    assert caught.value.public == public
    assert time.monotonic() - begun < seconds + 15  # the machine may be busy
    assert not left_running()
    remove_tree(place / "within")
    assert not (place / "within").exists()


def test_files_may_be_mapped(sandbox: Sandbox, place: Path) -> None:
    """Removed ones too, which are open or soon given up; and memory that threads share."""
    code = f"""{MAPS}
import mmap
shared = mmap.mmap(-1, 100_000)
map_and_close('kept', 2)
file = open('open', 'w+b'); file.write(bytes(9_000)); file.flush()
mapped = mmap.mmap(file.fileno(), 9_000); os.unlink('open')
for n in range(100):
    at = map_and_close('soon')
    os.unlink('soon')
    libc.munmap(at, 4096)
    time.sleep(0.005)
"""
    assert run(sandbox, place, python(code)) == Ended(0, "")


@pytest.mark.parametrize("owner", [0, 65534])
def test_a_program_that_nobody_may_look_at_is_ended(
    way: Confinement, place: Path, owner: int
) -> None:
    """Where its file cannot be read, the kernel hides what it has open, but not from root."""
    sleeper = place / "sleep"
    shutil.copy("/bin/sleep", sleeper)
    sleeper.chmod(0o111)
    program = (
        "import os, sys; from pathlib import Path\n"
        "if not os.geteuid(): os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "from imgprocessor.errors import UndrawableDocument\n"
        "from imgprocessor.images.previews.kind import SandboxStep\n"
        "from imgprocessor.jobs.previews.sandbox import Sandbox\n"
        "from imgprocessor.jobs.previews.ways import Bubblewrap, Landlock\n"
        "way = {'bubblewrap': Bubblewrap.found(), 'landlock': Landlock()}[sys.argv[2]]\n"
        "place = Path(sys.argv[1])\n"
        "run = Sandbox(way, []).running(place / 'document.pdf', place / 'within', 20)\n"
        "step = SandboxStep([f'{place}/sleep', '15'], reads=[place / 'sleep'])\n"
        "try: print(run(step))\n"
        "except UndrawableDocument as error: print(error.public)\n"
    )
    if IS_ROOT:
        shutil.chown(place / "within", 65534, 65534)
        os.chown(sleeper, owner, owner)
        sleeper.chmod(0o111)
    command = [sys.executable, "-B", "-c", program, str(place), way.name]

    done = subprocess.run(
        command,
        capture_output=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )

    if IS_ROOT and b"ModuleNotFoundError" in done.stderr:
        pytest.skip("no other user may read this program")
    assert (done.stdout.decode().strip(), done.stderr) == (TOO_LARGE, b"")


def test_a_signal_that_ended_it_is_told(sandbox: Sandbox, place: Path) -> None:
    """In both ways alike, though bubblewrap says it as shells do."""
    step = python("open('begun', 'w').close(); import time; time.sleep(60)")
    own = "\0".join(step.command[:-1]).encode()
    ended: list[Ended] = []
    thread = threading.Thread(target=lambda: ended.append(run(sandbox, place, step, 60)))
    thread.start()
    await_true((place / "within/begun").exists)

    for process in left_running():
        pid, _, command = process.partition(": ")
        if eval(command).startswith(own):  # noqa: S307 - of this very test
            os.kill(int(pid), signal.SIGKILL)
    thread.join()

    assert ended == [Ended(-signal.SIGKILL, "")]


@pytest.mark.parametrize("spare", range(12))
def test_nothing_is_left_where_no_more_files_can_be_opened(
    sandbox: Sandbox, place: Path, spare: int
) -> None:
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + spare, limits[1]))
    try:
        run(sandbox, place, python("pass"))
    except OSError as error:
        assert error.errno == errno.EMFILE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - numbers
    await_true(lambda: not left_running(), seconds=10)  # what is killed may take a moment


@pytest.mark.parametrize("calls", [0, 1])
def test_a_step_that_cannot_be_watched_is_ended(
    sandbox: Sandbox, place: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """Which is so where another thread has just opened the last file that the worker may."""
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers
    opened = iter([os.pidfd_open] * calls)

    def pidfd_open(pid: int) -> int:
        if opener := next(opened, None):
            return opener(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    # Landlock has no second process to watch.
    with pytest.raises(UndrawableDocument if calls > sandbox.way.counts_processes else OSError):
        run(sandbox, place, python("import time; time.sleep(60)"), 2)

    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - numbers
    await_true(lambda: not left_running(), seconds=10)  # what is killed may take a moment


def test_memory_and_one_files_size_are_bounded(sandbox: Sandbox, place: Path) -> None:
    eater = "x = []\nwhile True: x.append(bytearray(10_000_000))"
    writer = "open('large', 'wb').truncate(60_000_000)"

    assert "MemoryError" in run(sandbox, place, python(eater, memory_bytes=200_000_000)).said
    assert run(sandbox, place, python(writer, output_bytes=50_000_000)).status != 0


def test_what_was_left_counts_after_the_end_too(sandbox: Sandbox, place: Path) -> None:
    code = "for n in range(3): open(str(n), 'wb').write(bytes(9_000))"

    with pytest.raises(UndrawableDocument, match="left too much"):
        run(sandbox, place, python(code, output_bytes=20_000))


def test_only_the_end_is_kept_of_what_it_says(sandbox: Sandbox, place: Path) -> None:
    ended = run(sandbox, place, python("print('x' * 1_000_000 + 'end')"))

    assert len(ended.said) < 5_000
    assert ended.said.endswith("xend\n")


def test_time_is_one_for_all_steps(sandbox: Sandbox, place: Path) -> None:
    steps = sandbox.running(place / "document.pdf", place / "within", 6.0)
    steps(python("import time; time.sleep(3)"))

    with pytest.raises(UndrawableDocument, match="too long"):
        steps(python("import time; time.sleep(3)"))


def test_what_nobody_wants_any_more_is_ended(sandbox: Sandbox, place: Path) -> None:
    steps = sandbox.running(place / "document.pdf", place / "within", 10, lambda: False)

    with pytest.raises(JobOver):
        steps(python("import time; time.sleep(9)"))

    assert not left_running()


KILLED = """
import sys, threading
from pathlib import Path
from imgprocessor.images.previews.kind import SandboxStep
from imgprocessor.jobs.previews.sandbox import Sandbox
from imgprocessor.jobs.previews.ways import Bubblewrap, Landlock
place, way = Path(sys.argv[1]), {"bubblewrap": Bubblewrap.found(), "landlock": Landlock()}
code = f"open('begun', 'w'); import time; time.sleep(60) # {place}"
step = SandboxStep([sys.executable, "-I", "-S", "-c", code])
run = Sandbox(way[sys.argv[2]], []).running(place / "document.pdf", place / "within", 60)
thread = threading.Thread(target=run, args=[step])
thread.start()
thread.join()
"""


def test_all_ends_with_a_worker_that_is_killed(way: Confinement, place: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", KILLED, str(place), way.name], cwd=ROOT)
    await_true((place / "within/begun").exists)
    assert len(left_running(str(place))) >= 2

    worker.kill()
    worker.wait()

    await_true(lambda: not left_running(str(place)), seconds=10)


def test_all_ends_wherever_in_its_start_a_worker_is_killed(way: Confinement, place: Path) -> None:
    for milliseconds in range(0, 60, 2):
        worker = subprocess.Popen([sys.executable, "-c", KILLED, str(place), way.name], cwd=ROOT)
        await_true(lambda: len(left_running(str(place))) >= 1)
        time.sleep(milliseconds / 1000)
        worker.kill()
        worker.wait()
        await_true(lambda: not left_running(str(place)), seconds=10)


def test_what_it_left_can_be_removed(sandbox: Sandbox, place: Path) -> None:
    code = "import os; os.makedirs('a/b', 0o700); os.mkdir('c', 0); open('a/b/d', 'w')"

    with suppress(UndrawableDocument):  # only root can look into all of it
        assert run(sandbox, place, python(code)).status == 0
    assert (place / "within/a/b/d").exists()
    remove_tree(place / "within")

    assert not (place / "within").exists()


def test_nothing_is_left_of_many(sandbox: Sandbox, place: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(5):
        assert run(sandbox, place, SandboxStep(["/bin/true"])).status == 0

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not left_running()


def test_a_program_that_is_not_there_is_a_fault_of_the_set_up(
    sandbox: Sandbox, place: Path
) -> None:
    with pytest.raises(NoPreview, match="No such file"):
        run(sandbox, place, SandboxStep(["/usr/bin/no-such-program"]))


def test_nothing_runs_where_the_sandbox_breaks(place: Path) -> None:
    with pytest.raises(NoPreview, match="no such luck"):
        run(Sandbox(Broken(), []), place, python("open('ran', 'w')"))

    assert not (place / "within/ran").exists()


def test_the_probe_sees_each_thing_that_gets_out(place: Path) -> None:
    could = sandbox_module._try(Sandbox(Unconfined(), []), place)  # noqa: SLF001 - what counts

    assert set(could) == {
        "read a file beside originals",
        "list a folder",
        "write outside of its folder",
        "change the document",
        "empty the document",
        "change a file's mode",
        "shorten a file",
        "make a link to a file",
        "read the worker's environment",
        "connect over the network",
        "send over the network",
        "connect to a socket of a name alone",
        "connect to a socket",
        "signal the worker",
        "begin a process",
        "remove a file",
        "use an open file of the worker",  # the pipe of bubblewrap's
    }


def test_a_way_that_does_not_hold_is_not_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bubblewrap, "found", Unconfined)
    assert find_sandbox([], place).way.name == "landlock"
    monkeypatch.setattr(sandbox_module, "Landlock", Broken)

    with pytest.raises(NoSandbox) as caught:
        find_sandbox([], place)

    assert "nothing does not hold: a program in it could read a file" in str(caught.value)
    assert "no such luck" in str(caught.value)


FINDS = """
import json, sys
from pathlib import Path
from imgprocessor.jobs.previews.sandbox import NoSandbox, find_sandbox
folder = Path(sys.argv[1])
try:
    print(json.dumps([find_sandbox([folder / "originals"], folder / "within").way.name, ""]))
except NoSandbox as error:
    print(json.dumps(["", str(error)]))
"""


@pytest.mark.parametrize("user", [pytest.param("", id="this"), "www-data"])
@pytest.mark.parametrize(
    ("bwrap", "refused", "name", "reason"),
    [
        pytest.param("real", "", "bubblewrap", "", id="all"),
        pytest.param("false", "", "landlock", "", id="false"),
        pytest.param("", "", "landlock", "", id="not there"),
        pytest.param("real", "namespaces", "landlock", "", id="no namespaces"),
        pytest.param("real", "landlock", "bubblewrap", "", id="no landlock"),
        pytest.param("real", "namespaces,landlock", "", "bubblewrap does not run", id="neither"),
        pytest.param("", "landlock", "", "is not installed (Debian: bubblewrap)", id="old"),
    ],
)
def test_the_best_sandbox_is_found(
    place: Path, bwrap: str, refused: str, name: str, reason: str, user: str
) -> None:
    if user and not IS_ROOT:
        pytest.skip("only root can be somebody else")
    if bwrap == "real" and not BUBBLEWRAP:
        pytest.skip("no bubblewrap")
    programs = place / "programs"
    programs.mkdir()
    if bwrap:
        found = shutil.which("bwrap" if bwrap == "real" else "false")
        assert found is not None
        (programs / "bwrap").symlink_to(found)
    command = [sys.executable, "-B", "-c", FINDS, str(place)]
    if refused:
        command = [sys.executable, "-B", str(ROOT / "tests/refusing.py"), refused, *command]
    if user:
        shutil.chown(place / "within", user, user)

    done = subprocess.run(
        command,
        capture_output=True,
        cwd="/",
        env={"PATH": str(programs), "PYTHONPATH": str(ROOT)},
        check=False,
        user=user or None,
        group=user or None,
        extra_groups=[] if user else None,
    )

    if user and b"Permission denied" in done.stderr and not done.stdout:
        pytest.skip("no other user may read this program")
    assert done.stderr == b""
    found_name, why = json.loads(done.stdout)
    assert found_name == name
    assert reason in why
    assert not name or why == ""
    if not name:
        assert "no Landlock" in why
    assert list((place / "within").iterdir()) == []


def test_the_first_process_of_a_container_finds_it_too(place: Path) -> None:
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
    if not BUBBLEWRAP or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("no namespaces")

    done = subprocess.run(
        [*alone, sys.executable, "-B", "-c", FINDS, str(place)],
        capture_output=True,
        cwd=ROOT,
        check=True,
    )

    assert json.loads(done.stdout) == ["bubblewrap", ""]


def test_lower_limits_of_the_worker_stay(way: Confinement, place: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from imgprocessor.images.previews.kind import SandboxStep\n"
        "from imgprocessor.jobs.previews.sandbox import Sandbox\n"
        "from imgprocessor.jobs.previews.ways import Bubblewrap, Landlock\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))\n"
        "way = {'bubblewrap': Bubblewrap.found(), 'landlock': Landlock()}[sys.argv[2]]\n"
        "place = Path(sys.argv[1])\n"
        "run = Sandbox(way, []).running(place / 'document.pdf', place / 'within', 10)\n"
        "print(run(SandboxStep(['/bin/sh', '-c', 'ulimit -Hn'])))\n"
    )
    command = [sys.executable, "-c", program, str(place), way.name]

    done = subprocess.run(command, capture_output=True, cwd=ROOT, check=True)

    assert b"said='99" in done.stdout
