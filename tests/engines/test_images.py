"""Every door decodes images here: formats, modes, orientation, limits and damage."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from engines.errors import InvalidInputError
from engines.preparation.images import MAX_IMAGE_PIXELS, decode_image, image_size
from tests.images import png_header

FORMAT_OF_MODE = {"CMYK": "TIFF", "YCbCr": "JPEG", "I": "TIFF", "F": "TIFF", "PA": "TIFF"}


def encoded(image, image_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def colour(image):
    return tuple(np.asarray(image).reshape(-1, 3).mean(axis=0).round().astype(int))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_common_formats_are_read(image_format, red_image):
    image = decode_image(encoded(red_image, image_format))
    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert np.abs(np.subtract(colour(image), (255, 0, 0))).max() <= 4


def test_a_path_and_its_bytes_give_the_same_image(red_png):
    assert decode_image(red_png) == decode_image(red_png.read_bytes())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(mode):
    grey = Image.new("L", (8, 8), 200)
    image = {
        "I;16": lambda: Image.fromarray(np.full((8, 8), 200 * 257, np.uint16)),
        "I": lambda: Image.fromarray(np.full((8, 8), 200 * 257, np.int32)),
        "F": lambda: Image.fromarray(np.tile(np.array([0, 1], np.float32), (8, 4))),
        "PA": lambda: grey.convert("RGBA").convert("PA"),
    }.get(mode, lambda: grey.convert(mode))()
    decoded = decode_image(encoded(image, FORMAT_OF_MODE.get(mode, "PNG")))
    expected = {"1": colour(grey.convert("1").convert("RGB"))[0], "F": 128}.get(mode, 200)
    assert decoded.mode == "RGB"
    assert np.abs(np.subtract(colour(decoded), expected)).max() <= 2


def test_float_pixels_without_a_number_leave_the_others_as_they_are():
    values = np.tile(np.array([0, 1, np.inf, -np.inf, np.nan], np.float32), (5, 1))
    decoded = decode_image(encoded(Image.fromarray(values), "TIFF"))
    assert np.asarray(decoded)[0, :, 0].tolist() == [0, 255, 255, 0, 0]
    nothing = Image.fromarray(np.full((5, 5), np.nan, np.float32))
    assert colour(decode_image(encoded(nothing, "TIFF"))) == (0, 0, 0)


def test_transparency_turns_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0])
    assert colour(decode_image(encoded(clear, "PNG"))) == (255, 255, 255)
    assert colour(decode_image(encoded(palette, "PNG", transparency=0))) == (255, 255, 255)


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (40, 20), "blue")
    exif = image.getexif()
    exif[274] = 6  # turn by 90 degrees
    assert decode_image(encoded(image, "JPEG", exif=exif)).size == (20, 40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_in_the_header_is_that_of_the_decoded_image(orientation, kind, red_image):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(red_image, kind, exif=exif)
    assert image_size(data) == decode_image(data).size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_turned_as_pillow_turns_it(orientation):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(pixels), "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(np.asarray(decode_image(data)), np.asarray(upright))


def test_damaged_exif_data_leave_an_image_readable(red_image):
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # turn by 90 degrees
    entries += struct.pack("<HHI4s", 0x011A, 2, 3, b"72")  # the resolution: text, where a fraction belongs
    directory = b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    odd = encoded(red_image, "JPEG", exif=b"Exif\x00\x00" + directory)
    assert decode_image(odd).size == image_size(odd) == (30, 40)
    broken = encoded(red_image, "PNG", exif=b"Exif\x00\x00no TIFF file at all")
    assert decode_image(broken).size == image_size(broken) == (40, 30)


def test_a_header_that_cannot_be_read_gets_one_sentence():
    with pytest.raises(InvalidInputError, match="image"):
        image_size(b"no image")


def test_the_first_frame_of_an_animation_is_used(red_image):
    blue = Image.new("RGB", red_image.size, "blue")
    data = encoded(red_image, "GIF", save_all=True, append_images=[blue])
    assert colour(decode_image(data)) == (255, 0, 0)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_large_image_comes_back_smaller_but_never_below_min_side(image_format):
    data = encoded(Image.new("RGB", (4000, 3000)), image_format)
    assert decode_image(data).size == (4000, 3000)
    width, height = decode_image(data, min_side=448).size
    assert 448 <= height <= 2 * 448
    assert width == pytest.approx(height * 4 / 3, abs=1)
    assert decode_image(data, min_side=3000).size == (4000, 3000)


def test_shrinking_changes_little():
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    large = Image.fromarray(noise).resize((1600, 1200), Image.Resampling.BICUBIC)
    data = encoded(large, "PNG")
    whole, shrunk = (
        np.asarray(decode_image(data, side).resize((224, 224), Image.Resampling.BICUBIC), np.float32)
        for side in (None, 448)
    )
    assert np.abs(whole - shrunk).mean() < 2  # of 255


@pytest.mark.parametrize("side", [8_100, 10_000, 30_000])
def test_a_decompression_bomb_is_refused_from_its_header(side):
    assert side * side > MAX_IMAGE_PIXELS
    with pytest.raises(InvalidInputError, match="pixels; at most 64 million"):
        decode_image(png_header(side, side))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: data[: len(data) // 2], "damaged or incomplete"),
        (lambda data: b"", "is empty"),
        (lambda data: b"just some text", "is not a JPEG, PNG"),
        (lambda data: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a JPEG, PNG"),
        (lambda data: b"\0" * 50_000_001, "has 50 MB"),
    ],
)
def test_bad_bytes_get_one_sentence(damage, sentence):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    with pytest.raises(InvalidInputError, match=sentence):
        decode_image(damage(encoded(noise, "JPEG")))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"nothing\.png.*No such file"):
        decode_image(tmp_path / "nothing.png")
