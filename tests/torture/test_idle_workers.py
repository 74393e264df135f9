"""What workers keep for the next picture goes back where none comes."""

from pathlib import Path

import images
import pytest
import servers
from servers import await_true, serving

pytestmark = pytest.mark.apache


def test_a_worker_without_jobs_gives_memory_back(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    originals = tmp_path_factory.mktemp("originals")
    servers.open_up(originals)
    images.save(originals / "nasa.jpeg", images.texture((3000, 2000)), "JPEG", quality=92)
    with serving(tmp_path, originals) as server:
        for width in (500, 600):
            assert server.ask(f"/images/?name=nasa.jpeg&width={width}").status == 200
        busy = servers.memory_bytes(server.workers())

        await_true(lambda: servers.memory_bytes(server.workers()) < busy - 10_000_000, 90)
        assert server.ask("/images/?name=nasa.jpeg&width=700").status == 200
