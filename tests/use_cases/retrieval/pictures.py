"""Small pictures on disk, tables of made-up embeddings, and an engine that tells colours apart."""

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from engines.base import normalize
from engines.pool import PooledEngine
from tests.fakes import FakeEngine, fake_batched, fake_spec
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.records import ImageRecord

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


_NO_FILES = tempfile.TemporaryDirectory()  # of the model: they tell its states apart


def stored_spec(name="colours", **changes):
    return fake_spec(name, **{"family": "siglip", "folder": Path(_NO_FILES.name), **changes})


def save_image(path, colour, size=(40, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def save_colours(folder):
    """Write a red, a green and a blue picture; return the folder."""
    for name, colour in (("red", RED), ("green", GREEN), ("blue", BLUE)):
        save_image(folder / f"{name}.png", colour)
    return folder


def record(name, **facts):
    defaults = {
        "source": "folder",
        "content_hash": f"hash of {name}",
        "difference_hash": "0" * 16,
        "width": 40,
        "height": 30,
    }
    return ImageRecord(id=name, **(defaults | facts))


def unit_rows(count, dim=3, seed=0):
    return normalize(np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32))


@asynccontextmanager
async def colour_engine(spec=None, **limits):
    async with fake_batched(FakeEngine(spec or stored_spec()), **limits) as engine:
        yield PooledEngine(engine)


def colour_table(folder, spec=None):
    return ImageIndex(folder, create=True).table(spec or stored_spec(), create=True)


def ids_of(table):
    return sorted(each.id for records, _ in table.scan() for each in records)
