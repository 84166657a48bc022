"""torchvision imports beside any torch, and its own extension is left alone where it loads."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from engines.pytorch import torchvision_ops

SCRIPT = """
from engines.pytorch.torchvision_ops import ensure_torchvision_operators
print(ensure_torchvision_operators(), ensure_torchvision_operators())
import torchvision
from torchvision.transforms import functional, InterpolationMode
from PIL import Image
print(functional.resize(Image.new("RGB", (9, 9)), [4, 4], InterpolationMode.BICUBIC).size)
"""


def test_transforms_import_and_work_in_a_fresh_process():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    first, size = done.stdout.splitlines()
    package = Path(importlib.util.find_spec("torchvision").origin).parent
    assert first == ("False False" if torchvision_ops.extension_loads(package) else "True False")
    assert size == "(4, 4)"


def test_nothing_is_defined_when_the_extension_loads(monkeypatch):
    defined = []
    monkeypatch.setattr(torchvision_ops, "extension_loads", lambda package: True)
    monkeypatch.setattr(torchvision_ops.torch.library, "Library", lambda *args: defined.append(args))
    assert torchvision_ops.ensure_torchvision_operators() is False
    assert defined == []


def test_nothing_is_defined_when_torchvision_is_not_installed(monkeypatch):
    monkeypatch.setattr(torchvision_ops.importlib.util, "find_spec", lambda name: None)
    assert torchvision_ops.ensure_torchvision_operators() is False


@pytest.mark.parametrize("name", ["_C.so", "_C.pyd"])
def test_a_damaged_extension_counts_as_not_loading(tmp_path, name):
    assert not torchvision_ops.extension_loads(tmp_path)
    (tmp_path / name).write_bytes(b"no library")
    assert not torchvision_ops.extension_loads(tmp_path)


def test_an_extension_that_the_loader_accepts_counts_as_loading(tmp_path, monkeypatch):
    (tmp_path / "_C.so").write_bytes(b"")
    monkeypatch.setattr(torchvision_ops.torch.ops, "load_library", lambda path: None)
    assert torchvision_ops.extension_loads(tmp_path)
