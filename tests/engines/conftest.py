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
def cache_dir(tmp_path_factory):
    """Return where the artifacts of tiny checkpoints go, which shall not outlive the tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_siglip(tmp_path_factory):
    return build_tiny_siglip(tmp_path_factory.mktemp("siglip"))


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def tiny_naflex(tmp_path_factory):
    return build_tiny_naflex(tmp_path_factory.mktemp("naflex"))


@pytest.fixture(scope="session")
def tiny_siglip_with_gemma(tmp_path_factory):
    return build_tiny_siglip_with_gemma(tmp_path_factory.mktemp("gemma"))


@pytest.fixture(scope="session")
def tiny_open_clip(tmp_path_factory):
    return build_tiny_open_clip(tmp_path_factory.mktemp("open_clip"))


@pytest.fixture(scope="session")
def tiny_open_clip_siglip(tmp_path_factory):
    return build_tiny_open_clip_siglip(tmp_path_factory.mktemp("open_clip_siglip"))


@pytest.fixture(scope="session")
def tiny_open_clip_conv(tmp_path_factory):
    return build_tiny_open_clip_conv(tmp_path_factory.mktemp("open_clip_conv"))
