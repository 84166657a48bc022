from __future__ import annotations

import struct
import zlib

import pytest
import torch

from engines.bundled.model import FEATURE_DIM, NUM_CLASSES, TEXT_DIM, ImageHead, TextHead
from engines.bundled.recipe.foreign import ForeignPhotos, measure_foreign, photo_name, read_rcc
from engines.bundled.recipe.train import Heads


def _rcc() -> bytes:
    """One folder "a" with a packed file "b" and a plain file "c", as Qt's rcc writes them."""
    files = [zlib.compress(b"packed"), b"plain"]
    files[0] = struct.pack(">I", 6) + files[0]
    names = b"".join(struct.pack(">HI", 1, 0) + name.encode("utf-16-be") for name in "abc")
    data = b"".join(struct.pack(">I", len(file)) + file for file in files)
    second = 4 + len(files[0])
    tree = b"".join(
        (
            struct.pack(">IHIIQ", 0, 2, 1, 1, 0),  # the root: one child, the node 1
            struct.pack(">IHIIQ", 0, 2, 2, 2, 0),  # a: two children, from the node 2
            struct.pack(">IHHHIQ", 8, 1, 0, 0, 0, 0),  # a/b, packed
            struct.pack(">IHHHIQ", 16, 0, 0, 0, second, 0),  # a/c
        )
    )
    start = 20
    offsets = (2, start, start + len(tree), start + len(tree) + len(data))
    return struct.pack(">4sIIII", b"qres", *offsets) + tree + data + names


def test_resource_files_are_unpacked() -> None:
    assert dict(read_rcc(_rcc())) == {"/a/b": b"packed", "/a/c": b"plain"}


def test_other_files_are_refused() -> None:
    with pytest.raises(ValueError, match="Qt"):
        list(read_rcc(b"RIFF" + bytes(16)))


@pytest.mark.parametrize(
    ("stem", "name"),
    [("measuringTape2", "tape measure"), ("polar_bear", "polar bear"), ("hammer9", "hammer")],
)
def test_photographs_get_ordinary_names(stem: str, name: str) -> None:
    assert photo_name(stem) == name


def test_every_name_counts_once() -> None:
    head = ImageHead(1).eval().requires_grad_(False)
    head.table[0, 0] = head.table[1, 1] = 1.0
    logits = torch.full((4, NUM_CLASSES), -100.0)
    logits[:, 0] = 100.0  # everything is seen as the first name: right for three of four photographs
    photos = ForeignPhotos(
        ("first", "second"), torch.tensor([0, 0, 0, 1]), torch.zeros(4, FEATURE_DIM), logits
    )

    def embed(texts: list[str]) -> torch.Tensor:
        return torch.eye(TEXT_DIM)[[int("second" in text) for text in texts]]

    metrics = measure_foreign({"animals": photos}, Heads(head, TextHead(0), 1.0, 0.0), embed)
    assert metrics == {"animals_top1": 0.5, "animals_top5": 1.0}
