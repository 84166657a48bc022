"""Fixtures that several test folders share."""

import pytest
from PIL import Image


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def red_image():
    return Image.new("RGB", (40, 30), "red")


@pytest.fixture
def red_png(tmp_path, red_image):
    red_image.save(tmp_path / "red.png")
    return tmp_path / "red.png"
