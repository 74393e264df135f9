"""A file on its way in: checked, and written anew beside itself, so that a death costs nothing."""

import contextlib
import multiprocessing
import resource
import signal
from pathlib import Path

import images
import pytest

from imgprocessor.config.settings import OriginalsSettings
from imgprocessor.errors import UploadsUnavailable
from imgprocessor.originals.source import Original
from imgprocessor.originals.uploads import UploadedOriginals
from imgprocessor.rendering.check import Check, Checked, check_file
from imgprocessor.storage.uploads.folder import UploadFolder

TRAILER = b"what follows the picture"


def check(file: Path) -> Checked:
    """Check a file."""
    store = UploadFolder(file.parent, max_uploads=1, max_bytes=1, min_free_bytes=0)
    original = Original(UploadedOriginals(store), "incoming:x", "x", file.stat().st_size, 0)
    job = Check(original, file, "none")
    return check_file(job, OriginalsSettings(), lambda _: contextlib.nullcontext())


def die_while_writing(file: Path) -> None:
    """Be killed by the kernel halfway through a file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size // 2,) * 2)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    check(file)


def test_a_check_that_dies_as_it_writes_is_done_again_over_the_same_bytes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    picture = images.encoded(images.texture((640, 480)), "JPEG", quality=90)
    file.write_bytes(picture + TRAILER)
    first = multiprocessing.get_context("fork").Process(target=die_while_writing, args=(file,))
    first.start()
    first.join()
    assert first.exitcode == -signal.SIGXFSZ
    assert file.read_bytes() == picture + TRAILER

    checked = check(file)

    assert file.read_bytes() == picture
    assert checked.size_bytes == len(picture)
    # What the first left goes with the folder, or where uploads arrive after a while.
    left = [path for path in tmp_path.iterdir() if path.suffix != ".clean"]
    assert left == [file]


def test_what_cannot_be_read_is_the_disks_fault(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(UploadsUnavailable):
        check(tmp_path / "folder")
