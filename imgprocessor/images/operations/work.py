"""A picture on its way through the operations, and what they may need to know."""

from dataclasses import dataclass

from PIL import Image

from imgprocessor.geometry import Layout
from imgprocessor.images.decode import Metadata
from imgprocessor.policy.plan import Plan


@dataclass
class Work:
    """What an operation is given; it returns the image that the next one is given."""

    image: Image.Image
    metadata: Metadata
    """Of the original."""
    plan: Plan
    layout: Layout
    """In the pixels of the original's level."""
