"""The calibration and the held-out set: complete, apart from one another and small."""

from itertools import combinations

import numpy as np
import pytest

from engines.calibration import CALIBRATION_DIR, SampleSet, calibration_set, held_out_set, noise_images
from engines.gallery import gallery
from engines.preparation.images import decode_image
from tests.images import perceptual_hash

CALIBRATION_SHA256 = "f18d9b16136fe31cebf307f4a57023fab834476a5eeda273d22dd499515cd7ad"
HELD_OUT_SHA256 = "bf9d33abfd81a24a076c7496371580b3b8b4a338a772cead689670b097d34d2f"
SETS = [calibration_set, held_out_set]


def of_split(split, key):
    return {getattr(image, key) for image in gallery() if image.split == split}


def test_the_sets_are_the_ones_that_artifacts_and_records_name():
    assert calibration_set().sha256 == CALIBRATION_SHA256
    assert held_out_set().sha256 == HELD_OUT_SHA256


def test_every_smaller_version_shows_what_the_gallery_shows():
    shown = {image.path.name: image.path for image in gallery() if image.split == "held_out"}
    for path in (CALIBRATION_DIR / "images").iterdir():
        assert path in held_out_set().images
        assert path.stat().st_size < shown[path.name].stat().st_size
        smaller, larger = perceptual_hash(decode_image(path)), perceptual_hash(decode_image(shown[path.name]))
        assert np.count_nonzero(smaller != larger) <= 10


def test_the_splits_share_no_collection():
    assert of_split("calibration", "source").isdisjoint(of_split("held_out", "source"))
    assert of_split("calibration", "url_or_package").isdisjoint(of_split("held_out", "url_or_package"))


def test_no_two_pictures_look_the_same():
    hashes = {
        path.name: perceptual_hash(image)
        for sample in (calibration_set(), held_out_set())
        for path, image in zip(sample.images, sample.load_images(), strict=True)
    }
    near = [(a, b) for a, b in combinations(hashes, 2) if np.count_nonzero(hashes[a] != hashes[b]) <= 10]
    assert near == []


def test_no_caption_is_used_twice():
    captions = [text.casefold() for sample in (calibration_set(), held_out_set()) for text in sample.captions]
    assert len(set(captions)) == len(captions)


@pytest.mark.parametrize("read", SETS)
def test_a_set_has_enough_of_both_kinds(read):
    sample = read()
    assert len(sample.images) >= 32
    assert len(sample.captions) >= 64
    assert len(sample.captions) - len(sample.images) >= 32


@pytest.mark.parametrize("read", SETS)
def test_the_images_come_as_rgb_in_the_order_of_their_captions(read):
    sample = read()
    images = sample.load_images()
    assert {image.mode for image in images} == {"RGB"}
    assert all(300 <= max(image.size) <= 400 for image in images)
    caption_of = {image.path.name: image.caption for image in gallery()}
    assert [caption_of[path.name] for path in sample.images] == list(sample.captions[: len(images)])


def test_the_digest_tells_files_captions_and_their_order(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"1")
    second.write_bytes(b"23")
    sets = [
        SampleSet((first, second), ("x", "yz")),
        SampleSet((second, first), ("x", "yz")),
        SampleSet((first, second), ("xy", "z")),
        SampleSet((first,), ("23", "x", "yz")),
    ]
    assert len({sample.sha256 for sample in sets}) == len(sets)
    assert sets[0].sha256 == SampleSet((first, second), ("x", "yz")).sha256


def test_noise_repeats_and_a_longer_list_only_appends():
    assert noise_images(8, 16) == noise_images(12, 16)[:8]
    assert noise_images(4, 16, seed=1)[0] != noise_images(4, 16)[0]


def test_noise_has_every_kind():
    images = noise_images(12, 64)
    assert {(image.mode, image.size) for image in images} == {("RGB", (64, 64))}
    steps = [np.abs(np.diff(np.asarray(image, dtype=int), axis=1)).mean() for image in images]
    uniform, smooth, flat, gradient = (steps[kind::4] for kind in range(4))
    assert min(uniform) > 60
    assert all(0 < step < 60 for step in smooth)
    assert set(flat) == {0}
    assert max(gradient) < 8
    assert [image.getpixel((0, 0)) for image in images[2:7:4]] == [(0, 0, 0), (255, 255, 255)]
