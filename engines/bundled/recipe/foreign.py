"""Photographs from a source that training never saw: animals, tools and other things of GCompris."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engines.bundled.recipe.compose import PHOTO_MODE, prepare_pixels
from engines.bundled.recipe.cutouts import LOOKALIKE_BITS, Picture, difference_hash
from engines.bundled.recipe.evaluate import embed_labels
from engines.bundled.recipe.towers_onnx import ImageFeaturizer
from engines.bundled.recipe.train import Heads

_FOLDERS = {  # inside the .rcc files -> the list of names that its photographs share
    "explore_farm_animals/resource/animals": "animals",
    "explore_world_animals/resource/animals": "animals",
    "categorization/resource/images/tools": "objects",
    "categorization/resource/images/others": "objects",
    "categorization/resource/images/renewable": "objects",
}
_NAMES = {  # where the file's own name is no usual one
    "dragon": "komodo dragon",
    "cuttingTool": "pliers",
    "sideCutter": "pliers",
    "plier": "pliers",
    "measuringTape": "tape measure",
    "nailCutter": "nail clippers",
    "screwDriver": "screwdriver",
    "spray": "spray bottle",
    "tweezer": "tweezers",
    "blackslate": "blackboard",
    "buffetset": "cup",
    "bulb": "light bulb",
    "erasers": "eraser",
    "knife": "cutlery",
    "pan": "frying pan",
    "spoons": "spoon",
    "weighingMachine": "weighing scale",
    "solar": "solar panel",
}
_SKIPPED = {"solar1", "solar2", "solar3", "windmill6", "geothermal"}  # solar cookers, a turbine and steam
_MORE_NAMES = {"animals": (), "objects": ("saw", "table", "lamp", "bottle", "drill")}  # of no photograph
_DIRECTORY, _ZLIB = 2, 1  # flags of Qt's resource files


@dataclass(frozen=True, slots=True)
class ForeignPhotos:
    """Photographs with their names, and what the locked tower saw in them."""

    names: tuple[str, ...]
    target: Tensor  # per photograph: index into names
    pooled: Tensor
    class_logits: Tensor


def foreign_photos(
    folder: Path, pictures: Sequence[Picture], featurizer: ImageFeaturizer
) -> dict[str, ForeignPhotos]:
    """Read the photographs that look like none of the training pictures, as animals and objects."""
    found: dict[str, list[tuple[str, Image.Image]]] = {"animals": [], "objects": []}
    hashes = {picture.dhash for picture in pictures}
    for activity in sorted({place.split("/")[0] for place in _FOLDERS}):
        rcc = folder / f"usr/share/gcompris-qt/rcc/{activity}.rcc"
        for path, content in sorted(read_rcc(rcc.read_bytes())):
            group = _FOLDERS.get(path.rpartition("/")[0].partition("/activities/")[2])
            if group is None or not path.endswith(".webp") or Path(path).stem in _SKIPPED:
                continue
            image = Image.open(io.BytesIO(content)).convert("RGB")
            own = difference_hash(image)
            if all((own ^ seen).bit_count() > LOOKALIKE_BITS for seen in hashes):
                found[group].append((photo_name(Path(path).stem), image))
    return {group: _seen(photos, _MORE_NAMES[group], featurizer) for group, photos in found.items()}


def photo_name(stem: str) -> str:
    """Turn a file name into an ordinary name: "measuringTape2" -> "tape measure"."""
    stem = re.sub(r"\d+$", "", stem)
    return _NAMES.get(stem, stem.replace("_", " "))


def read_rcc(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of every file in a resource file of Qt 5 (qtbase: rcc.cpp)."""
    magic, version, tree, data, names = struct.unpack_from(">4sIIII", content)
    if magic != b"qres":
        raise ValueError("This is no Qt resource file.")
    size = 14 if version < 2 else 22  # of a node; version 2 adds a time stamp
    waiting = [(0, "")]
    while waiting:
        index, parent = waiting.pop()
        start = tree + index * size
        name_at, flags = struct.unpack_from(">IH", content, start)
        path = f"{parent}/{_rcc_name(content, names + name_at)}" if index else ""
        if flags & _DIRECTORY:
            count, first = struct.unpack_from(">II", content, start + 6)
            waiting += [(child, path) for child in range(first, first + count)]
        else:
            (data_at,) = struct.unpack_from(">I", content, start + 10)
            (length,) = struct.unpack_from(">I", content, data + data_at)
            raw = content[data + data_at + 4 : data + data_at + 4 + length]
            yield path, zlib.decompress(raw[4:]) if flags & _ZLIB else raw


def _rcc_name(content: bytes, start: int) -> str:
    (length,) = struct.unpack_from(">H", content, start)
    return content[start + 6 : start + 6 + 2 * length].decode("utf-16-be")


def _seen(
    photos: Sequence[tuple[str, Image.Image]], more_names: Sequence[str], featurizer: ImageFeaturizer
) -> ForeignPhotos:
    names = tuple(sorted({*more_names, *(name for name, _ in photos)}))
    parts = [featurizer(prepare_pixels(image, PHOTO_MODE)[None]) for _, image in photos]
    return ForeignPhotos(
        names,
        torch.tensor([names.index(name) for name, _ in photos]),
        *(torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True)),
    )


@torch.no_grad()
def measure_foreign(
    groups: dict[str, ForeignPhotos], heads: Heads, embed: Callable[[list[str]], Tensor]
) -> dict[str, float]:
    """Return top-1 and top-5 by group; every name counts once, however many photographs it has."""
    metrics = {}
    for group, photos in groups.items():
        images = heads.image(photos.pooled, photos.class_logits)
        cosines = images @ embed_labels(photos.names, heads, embed).T
        rank = (cosines > cosines.gather(1, photos.target[:, None])).sum(1)
        for k in (1, 5):
            right = (rank < k).float()
            by_name = [right[photos.target == name].mean() for name in photos.target.unique()]
            metrics[f"{group}_top{k}"] = float(torch.stack(by_name).mean())
    return metrics
