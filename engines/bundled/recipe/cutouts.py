"""Render every source picture once: a trimmed RGBA cut-out of at most 320 pixels, free of duplicates."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from engines.bundled.recipe.items import Item

LONG_SIDE = 320  # pixels
LOOKALIKE_BITS = 6  # of 64 hash bits; two renderings of one picture differ by no more
_SMALLEST = 16  # pixels; anything smaller shows nothing
_OPAQUE = 16  # alpha from 0 to 255
_SVG_ERRORS = (ValueError, OSError)


@dataclass(frozen=True, slots=True)
class Picture:
    """A captioned cut-out on disk."""

    item: Item
    path: Path
    dhash: int  # 64-bit difference hash of the picture on white


def cut_out(items: Sequence[Item], work_dir: Path) -> list[Picture]:
    """Render all items, two at a time; drop what cannot be rendered and exact look-alikes of one source."""
    folder = work_dir / "cutouts"
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        rendered = list(pool.map(_render, items, [folder] * len(items), chunksize=32))
    pictures, seen = [], set()
    for picture in rendered:
        if picture is not None and (picture.item.source, picture.dhash) not in seen:
            seen.add((picture.item.source, picture.dhash))
            pictures.append(picture)
    return pictures


def load_cutout(picture: Picture) -> Image.Image:
    """Read the rendered cut-out as RGBA."""
    with Image.open(picture.path) as file:
        return file.convert("RGBA")


def difference_hash(image: Image.Image) -> int:
    """Hash what an image looks like: 64 comparisons of neighbouring grey levels (dHash)."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BILINEAR), np.int16)
    return int("".join("1" if bit else "0" for bit in (grey[:, 1:] > grey[:, :-1]).ravel()), 2)


def _render(item: Item, folder: Path) -> Picture | None:
    path = folder / f"{hashlib.sha256(item.key.encode()).hexdigest()[:16]}.png"
    if not path.exists():
        try:
            image = _trim(_read(item))
        except _SVG_ERRORS:
            return None  # a few old SVG files have no size, a few PNG files are broken
        if min(image.size) < _SMALLEST:
            return None
        whole = path.with_suffix(".part")  # an interrupted recipe leaves no broken cut-out behind
        image.save(whole, "PNG")
        whole.replace(path)
    with Image.open(path) as cutout:
        ground = Image.new("RGB", cutout.size, "white")
        ground.paste(cutout, (0, 0), cutout)
    return Picture(item, path, difference_hash(ground))


def _read(item: Item) -> Image.Image:
    if item.path.endswith(".svg"):
        import resvg_py  # only here: the recipe's tests run without its extra requirements

        png = bytes(resvg_py.svg_to_bytes(svg_path=item.path, width=LONG_SIDE))
        return Image.open(io.BytesIO(png)).convert("RGBA")
    with Image.open(item.path) as file:
        return file.convert("RGBA")


def _trim(image: Image.Image) -> Image.Image:
    image.thumbnail((4 * LONG_SIDE, 4 * LONG_SIDE), Image.Resampling.BILINEAR)
    box = image.getchannel("A").point(lambda alpha: 255 * (alpha > _OPAQUE)).getbbox()
    image = image.crop(box) if box else image
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BICUBIC)
    return image
