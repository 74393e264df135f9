"""Pages that nodes share, over a real bucket: what one worker drew, or failed over, all know."""

from dataclasses import replace
from pathlib import Path

import pytest
from weeds import S3Server, needs_weed, place_in

from imgprocessor.config.settings import Settings
from imgprocessor.config.store_settings import StoreSettings
from imgprocessor.errors import NoSuchPage
from imgprocessor.geometry import Page
from imgprocessor.originals.folder import Folder
from imgprocessor.originals.pages import KnownPage, Pages
from imgprocessor.originals.source import Original
from imgprocessor.reporting import complain
from imgprocessor.storage.generation import Generations
from imgprocessor.storage.locks import Locks
from imgprocessor.storage.plain_files import PlainFiles
from imgprocessor.storage.shared.configured import make_shared
from imgprocessor.storage.shared.entries import SharedEntries

pytestmark = needs_weed

KNOWN = KnownPage(4, "pdf", 3)


class Node:
    """A node's pages."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        shared = make_shared(settings)
        assert shared is not None
        self.shared: SharedEntries = shared
        files = PlainFiles(folder, max_bytes=100_000, min_free_percent=0, complain=complain)
        self.pages = Pages(files, Locks(folder / "locks"), ["pdf"], Generations(folder), shared)
        self.generations = Generations(folder)

    def draw(self, document: Original, page: Page | None, body: bytes | NoSuchPage) -> None:
        """Do as a worker does."""
        shared = self.pages.look_elsewhere(document, page, self.generations.current())
        if isinstance(body, bytes):
            self.pages.keep(document, page, body, KNOWN, shared=shared)
        else:
            self.pages.fail(document, page, body, shared=shared)
        self.shared.finish()

    def found(self, document: Original, page: Page | None) -> bytes | None:
        """Do as a daemon does that knows nothing yet."""
        self.pages.look_elsewhere(document, page, self.generations.current())
        there = self.pages.page_of(document, page)
        if there is None:
            return None
        with there.source.open(there) as (file, _):
            return file.read()


@pytest.fixture
def document(tmp_path: Path) -> Original:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n")
    return Folder(tmp_path, 1000).find("a.pdf")


@pytest.fixture
def nodes(settings: Settings, s3_server: S3Server, tmp_path: Path) -> list[Node]:
    url, buckets = place_in(s3_server, tmp_path, tmp_path.name)
    key = tmp_path / "key"
    key.write_text("k" * 40)
    key.chmod(0o600)
    store = StoreSettings(bucket=url, key_file=key)
    there = replace(settings, store=store, buckets=buckets)
    return [Node(tmp_path / name, there) for name in ("one", "two")]


def test_what_one_node_drew_another_one_has(nodes: list[Node], document: Original) -> None:
    one, two = nodes
    assert two.found(document, None) is None
    one.draw(document, None, b"body")

    assert two.found(document, None) == b"body"
    assert two.pages.known(document, None) == KNOWN
    assert two.found(document, Page(2)) is None
    assert two.found(replace(document, version="other"), None) is None


def test_what_one_node_failed_over_no_other_tries(nodes: list[Node], document: Original) -> None:
    one, two = nodes
    one.draw(document, Page(9), NoSuchPage("It has three."))

    with pytest.raises(NoSuchPage) as failed:
        two.found(document, Page(9))
    assert failed.value.public == "It has three."


def test_what_is_purged_no_node_has(nodes: list[Node], document: Original) -> None:
    one, two = nodes
    one.draw(document, None, b"body")
    assert one.shared.close([document.shared_group]) == {}
    assert one.shared.open([document.shared_group]) == {}

    assert two.found(document, None) is None
