"""Tiny checkpoints; and torchvision's operators, before any test imports transformers."""

import pytest

from engines.torchvision_ops import ensure_torchvision_operators

ensure_torchvision_operators()

from tests.checkpoints import build_tiny_clip, build_tiny_siglip  # noqa: E402


@pytest.fixture(scope="session")
def tiny_siglip(tmp_path_factory):
    return build_tiny_siglip(tmp_path_factory.mktemp("siglip"))


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    return build_tiny_clip(tmp_path_factory.mktemp("clip"))
