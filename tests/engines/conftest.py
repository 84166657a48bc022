"""Tiny checkpoints of every family."""

import pytest

from tests.checkpoints import (
    build_tiny_clip,
    build_tiny_naflex,
    build_tiny_siglip,
    build_tiny_siglip_with_gemma,
)
from tests.open_clip_checkpoints import (
    build_tiny_open_clip,
    build_tiny_open_clip_conv,
    build_tiny_open_clip_siglip,
)


@pytest.fixture(scope="session")
def tiny_siglip(build_once):
    return build_once(build_tiny_siglip, "siglip")


@pytest.fixture(scope="session")
def tiny_clip(build_once):
    return build_once(build_tiny_clip, "clip")


@pytest.fixture(scope="session")
def tiny_naflex(build_once):
    return build_once(build_tiny_naflex, "naflex")


@pytest.fixture(scope="session")
def tiny_siglip_with_gemma(build_once):
    return build_once(build_tiny_siglip_with_gemma, "gemma")


@pytest.fixture(scope="session")
def tiny_open_clip(build_once):
    return build_once(build_tiny_open_clip, "open_clip")


@pytest.fixture(scope="session")
def tiny_open_clip_siglip(build_once):
    return build_once(build_tiny_open_clip_siglip, "open_clip_siglip")


@pytest.fixture(scope="session")
def tiny_open_clip_conv(build_once):
    return build_once(build_tiny_open_clip_conv, "open_clip_conv")
