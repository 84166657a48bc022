"""Fixtures that several test folders share; and torchvision's operators, which transformers imports."""

import pytest
from PIL import Image

from engines.pytorch.torchvision_ops import ensure_torchvision_operators

ensure_torchvision_operators()


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
