"""The demo gallery: complete, licensed, described, varied and small."""

import json
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from engines.gallery import GALLERY_DIR, gallery
from engines.preparation.images import decode_image
from tests.images import perceptual_hash

LISTING = json.loads((GALLERY_DIR / "gallery.json").read_text("utf-8"))
LICENSES = {
    "Public domain",
    "CC0-1.0",
    "CC-BY-2.0",
    "CC-BY-2.5",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "Apache-2.0",
    "MIT",
    "BSD-3-Clause",
}
KEYS = {
    *("file", "caption", "tags", "split", "kind", "license", "author", "title", "source", "url_or_package"),
    "seen_in_training",
}
MAY_BE_EMPTY = {"split", "title", "seen_in_training"}


def test_every_file_is_listed_once_and_exists():
    files = sorted(f"images/{path.name}" for path in (GALLERY_DIR / "images").iterdir())
    assert sorted(entry["file"] for entry in LISTING) == files


@pytest.mark.parametrize("entry", LISTING, ids=lambda entry: entry["file"])
def test_every_picture_is_described_and_credited(entry):
    assert set(entry) == KEYS
    assert all(entry[key] for key in KEYS - MAY_BE_EMPTY)
    texts = [value for value in entry.values() if isinstance(value, str)]
    assert [text.strip() for text in texts] == texts
    assert entry["license"] in LICENSES
    assert entry["kind"] in {"photo", "drawing", "print", "painting"}
    assert entry["split"] in {"calibration", "held_out", ""}
    assert isinstance(entry["seen_in_training"], bool)


def test_the_reader_keeps_order_and_fields():
    images = gallery()
    assert [f"images/{image.path.name}" for image in images] == [entry["file"] for entry in LISTING]
    assert [image.caption for image in images] == [entry["caption"] for entry in LISTING]
    assert [list(image.tags) for image in images] == [entry["tags"] for entry in LISTING]
    assert gallery() is images


def test_captions_are_single_sentences_and_distinct():
    captions = [image.caption for image in gallery()]
    assert len({caption.casefold() for caption in captions}) == len(captions)
    assert all(5 <= len(caption.split()) <= 20 for caption in captions)
    assert all(caption[0].isupper() and caption.endswith(".") for caption in captions)


def test_tags_are_a_small_vocabulary_that_most_pictures_share():
    counts = Counter(tag for image in gallery() for tag in image.tags)
    assert len(counts) <= 70
    assert all(tag.isalpha() and tag.islower() for tag in counts)
    assert all(1 <= len(set(image.tags)) == len(image.tags) <= 4 for image in gallery())
    assert sum(count >= 4 for count in counts.values()) >= 40


def test_there_are_enough_of_every_kind_and_mostly_photographs():
    kinds = Counter(image.kind for image in gallery())
    assert len(gallery()) >= 200
    assert kinds["photo"] >= 0.5 * len(gallery())
    assert 20 <= kinds["drawing"] <= 0.35 * len(gallery())
    assert min(kinds["print"], kinds["painting"]) >= 5


def test_most_pictures_are_new_to_the_bundled_pair():
    assert sum(image.seen_in_training for image in gallery()) <= 0.1 * len(gallery())


def test_the_pictures_are_small():
    sizes = [image.path.stat().st_size for image in gallery()]
    assert max(sizes) <= 100_000  # bytes
    assert sum(sizes) <= 12_000_000


def test_every_picture_decodes_and_no_two_look_the_same():
    hashes = {}
    for image in gallery():
        pixels = decode_image(image.path)
        assert pixels.mode == "RGB"
        assert 300 <= max(pixels.size) <= 640
        hashes[image.path.name] = perceptual_hash(pixels)
    near = [(a, b) for a, b in combinations(hashes, 2) if np.count_nonzero(hashes[a] != hashes[b]) <= 24]
    assert near == []
