"""What load tests send: images and texts that never come twice."""

import base64
import hashlib
import io

from PIL import Image

from engines.preparation.source import SourceImage
from use_cases.load.inputs import NewImages, NewTexts


def pixel_digest(jpeg, min_side=None):
    return SourceImage.read(jpeg, min_side).pixel_digest()


def test_no_two_images_have_the_same_pixels_even_when_the_decoder_shrinks_them():
    images = NewImages(seed=1)
    files = [images.jpeg() for _ in range(60)]
    assert {Image.open(io.BytesIO(file)).size for file in files} == {(640, 480)}
    for min_side in (None, 64):
        assert len({pixel_digest(file, min_side) for file in files}) == len(files)


def test_every_step_of_every_varied_entry_makes_another_picture():
    images = NewImages(seed=1)
    digests = set()
    for digit in range(8):
        for step in range(1, 8):
            images._numbers = iter([4 * step * 8**digit])
            digests.add(pixel_digest(images.jpeg(), min_side=200))
    assert len(digests) == 8 * 7


def test_another_seed_gives_other_pictures_and_texts():
    assert pixel_digest(NewImages(seed=1).jpeg()) != pixel_digest(NewImages(seed=2).jpeg())
    assert not set(NewTexts(1).take(5)) & set(NewTexts(2).take(5))


def test_a_data_uri_holds_the_file():
    file, uri = NewImages(seed=1).jpeg(), NewImages(seed=1).data_uri()
    head, _, body = uri.partition(b",")
    assert head == b"data:image/jpeg;base64"
    assert hashlib.sha256(base64.b64decode(body, validate=True)).digest() == hashlib.sha256(file).digest()


def test_texts_never_repeat():
    texts = NewTexts(1)
    assert len({*texts.take(20), *texts.take(20)}) == 40
