"""All of a node that takes uploads, without the web."""

import hashlib
from dataclasses import dataclass

from imgprocessor.config.settings import Settings
from imgprocessor.load import load_policy
from imgprocessor.parts import direct_renderer, make_delivery, make_uploads
from imgprocessor.request.sizes import read_sizes
from imgprocessor.service.delivery import Answer, Delivery
from imgprocessor.service.understanding import Incoming
from imgprocessor.service.uploads import Accepted, Uploads

MODERN = "image/avif,image/webp,image/*,*/*;q=0.8"
WEBP = "image/webp,*/*;q=0.8"
PLAIN = "*/*"


@dataclass
class House:
    """Uploads, and what shows them."""

    uploads: Uploads
    delivery: Delivery
    settings: Settings

    def upload(self, body: bytes, sizes: str = "") -> Accepted:
        """Hand in a file."""
        file = self.uploads.new_file()
        file.write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        accepted = self.uploads.accept(file, digest, read_sizes(sizes, 99, 4096), "somebody")
        assert not file.exists()
        return accepted

    def ask(self, path: str, query: str = "", accept: str = PLAIN, **hints: str) -> Answer:
        """Ask for a picture."""
        asked = self.delivery.understand(Incoming(query, {"accept": accept, **hints}, path))
        return self.delivery.answer(self.delivery.find(asked))

    @property
    def kept(self) -> list[str]:
        """What is kept for good of all uploads, but for the file and the record."""
        files = self.settings.uploads.folder.rglob("kept/*/*/*x*.*")
        return sorted(file.name for file in files)


def house(settings: Settings) -> House:
    """Make it, in this process alone."""
    policy = load_policy(settings)
    renderer = direct_renderer(settings)
    delivery = make_delivery(settings, policy=policy, keeps=True, renderer=renderer)
    uploads = make_uploads(settings, delivery, renderer, policy)
    assert uploads is not None
    return House(uploads, delivery, settings)
