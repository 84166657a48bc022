"""The gallery that is shipped with the project, as a source of images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from engines.gallery import GalleryImage, gallery
from engines.preparation.images import read_image_file
from use_cases.retrieval.sources import ImageFile

DEMO = "demo"  # the gallery's name, and the source of its images


class DemoGallery:
    """The shipped pictures with their captions; see `ImageFiles`."""

    source = DEMO
    complete = True

    def count(self) -> int:
        """Return how many there are."""
        return len(gallery())

    def __iter__(self) -> Iterator[ImageFile]:
        for image in gallery():
            yield ImageFile(image.path.name, partial(_read, image), partial(_caption, image))


def _read(image: GalleryImage) -> bytes:
    return read_image_file(image.path)[0]


def _caption(image: GalleryImage) -> str:
    return image.caption
