"""How fast an ingestion is beside the engine alone, and beside the same work without an index."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.worker.background import in_background
from use_cases.latency import ForeignLoad, summarize
from use_cases.load.inputs import NewImages
from use_cases.request_tasks import LARGE, SMALL
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.ingest import add_images
from use_cases.retrieval.sources import Folder
from use_cases.zero_shot import min_image_side

KINDS = {"640 x 480": SMALL, "12 megapixels": LARGE}
_UNDER_WAY = 48  # as many as an ingestion sends
_DECODED = 64  # in memory for the engine alone; more than are under way, for equal ones are embedded once


async def measure_ingestion(
    pooled: PooledEngine, size: tuple[int, int], seconds: float, rounds: int, seed: int
) -> dict[str, Any]:
    """Return the images a second of ingestions, in turns with the same work without an index.

    "engine" has decoded images in memory; "work" decodes JPEGs in memory, which takes the cores from the
    engine, however well the two overlap.

    Args:
        pooled: the running engine.
        size: of the JPEGs, in pixels.
        seconds: that each should take.
        rounds: of each.
        seed: of the pictures.
    """
    images, min_side = NewImages(seed, size), min_image_side([pooled.engine.spec])
    decoded = [SourceImage.read(images.jpeg(), min_side).decode() for _ in range(_DECODED)]
    count = round(seconds * await _engine_rate(pooled, decoded, _DECODED))
    engine, work, ingestion, foreign = [], [], [], []
    for _ in range(rounds):
        load = ForeignLoad()
        engine.append(await _engine_rate(pooled, decoded, count))
        work.append(await _work_rate(pooled, images, count, min_side))
        ingestion.append(await _ingestion_rate(pooled, images, count))
        foreign.append(load.cores())
    return {
        "images": count,
        "engine_per_s": summarize(engine, foreign),
        "work_per_s": summarize(work, foreign),
        "ingestion_per_s": summarize(ingestion, foreign),
        "of_engine": summarize([a / b for a, b in zip(ingestion, engine, strict=True)], foreign),
        "of_work": summarize([a / b for a, b in zip(ingestion, work, strict=True)], foreign),
    }


async def _engine_rate(pooled: PooledEngine, decoded: Sequence[Image.Image], count: int) -> float:
    """Return the rate with decoded images: what the engine and its preparation do, and no more."""

    async def embed(number: int) -> None:
        image = SourceImage.of_image(decoded[number % len(decoded)])
        await pooled.engine.embed_images([image], background=True)

    return await _rate(embed, count)


async def _work_rate(pooled: PooledEngine, images: NewImages, count: int, min_side: int) -> float:
    """Return the rate with JPEGs in memory: what embedding them takes, and no more."""

    async def embed(_: int) -> None:
        image = await in_background(SourceImage.read, images.jpeg(), min_side)
        await pooled.engine.embed_images([image], background=True)

    return await _rate(embed, count)


async def _rate(work: Callable[[int], Coroutine[Any, Any, None]], count: int) -> float:
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    start_s = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(_UNDER_WAY)))
    return count / (time.perf_counter() - start_s)


async def _ingestion_rate(pooled: PooledEngine, images: NewImages, count: int) -> float:
    with tempfile.TemporaryDirectory() as place:
        folder, index = Path(place) / "images", ImageIndex(Path(place) / "index", create=True)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:06}.jpg").write_bytes(images.jpeg())
        progress = await add_images(Folder(folder), index, [pooled])
    assert progress.added == count, progress.failed
    return count / progress.elapsed_s
