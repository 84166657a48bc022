"""Home folders: one that is not known must not become a folder called ~."""

import os
from pathlib import Path

import pytest

from engines.artifacts.store import default_cache_dir
from engines.errors import InvalidInputError
from engines.home import expand_home


def test_a_known_home_is_put_in_its_place(monkeypatch):
    monkeypatch.setenv("HOME", os.sep + "home")
    monkeypatch.setenv("USERPROFILE", os.sep + "home")
    assert expand_home("~/models") == Path(os.sep, "home", "models")
    assert expand_home(Path("a~b")) == Path("a~b")


def test_an_unknown_home_is_refused(monkeypatch):
    with pytest.raises(InvalidInputError, match="'~nobody-of-that-name/x' begins with a home folder"):
        expand_home("~nobody-of-that-name/x")
    monkeypatch.setenv("SIGLIP_CACHE_DIR", "~nobody-of-that-name/cache")
    with pytest.raises(InvalidInputError, match="is not known"):
        default_cache_dir()
