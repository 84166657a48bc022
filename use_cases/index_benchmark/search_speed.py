"""How long it takes to add to an index and to search it, and what the ANN index finds, by its size."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from engines.base import Embeddings
from engines.errors import InvalidInputError
from engines.models import ModelSpec
from use_cases.benchmark_worker import peak_rss_bytes
from use_cases.index_benchmark.vectors import ExactNearest, SyntheticVectors
from use_cases.latency import ForeignLoad, summarize
from use_cases.retrieval import ann_process
from use_cases.retrieval.ann import between
from use_cases.retrieval.duplicates import find_duplicates
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.records import ImageRecord
from use_cases.retrieval.snapshot import Effort

logger = logging.getLogger(__name__)

NEAREST = 10
ADDED = 256  # images that one commit of an ingestion adds
_QUERIES = 200  # of a round; a percentile of 95 needs some
_TIDY_BLOCKS = 10
_LOOK_S = 0.05  # between two looks at the builder's memory
_THUMBNAIL = bytes(9_000)  # what a thumbnail takes


def measure_sizes(
    spec: ModelSpec, folder: Path, sizes: Sequence[int], rounds: int, seed: int
) -> list[dict[str, Any]]:
    """Fill an index to one size after the other, and measure it at each.

    Args:
        spec: whose dimension the vectors have; its name stands for nothing.
        folder: for the index; what an earlier run left there is taken as it is, and only added to.
        sizes: ascending numbers of images, from as many on as it has already.
        rounds: of searching and adding at each size.
        seed: of the vectors.
    """
    if not sizes:
        return []
    table = ImageIndex(folder, create=True).table(spec, create=True)
    held = len(table)
    if held > sizes[0]:
        raise InvalidInputError(f"The index has {held:,} images already, more than {sizes[0]:,}.")
    vectors = SyntheticVectors(seed, spec.dim)
    images = vectors.take(rounds * _QUERIES)
    queries: dict[Effort, Embeddings] = {"image": images, "full": between(images, vectors.take(len(images)))}
    results: list[dict[str, Any]] = []
    for size in sizes:
        logger.info("%s images", f"{size:,}")
        start_s = time.perf_counter()
        for number, block in enumerate(vectors.blocks(held, size - held)):
            table.add(_records(held, len(block)), block)
            held += len(block)
            if number % _TIDY_BLOCKS == 0:
                table.tidy()
        table.tidy()
        fill_s = time.perf_counter() - start_s
        build_peak = asyncio.run(_build(table)) if table.needs_ann() else None
        exact = _exact(table, queries)
        row = _facts(table) | {"fill_s": fill_s} | _measure(table, exact["image"], "image", rounds)
        texts = _measure(table, exact["full"], "full", rounds)
        results.append(row | {f"between_{name}": value for name, value in texts.items()})
        results[-1]["add"] = _measure_adding(table, vectors, rounds)
        start_s = time.perf_counter()
        table.tidy()
        results[-1]["tidy_s"] = time.perf_counter() - start_s
        results[-1]["disk_bytes"] = _size(folder)
        results[-1]["peak_rss_bytes"] = peak_rss_bytes()
        # Older records' "build_peak_rss_bytes" is this process's peak, which its children inherited.
        results[-1]["builder_peak_rss_bytes"] = build_peak
    return results


async def _build(table: ImageTable) -> int | None:
    """Build the ANN index; return the most memory that its process was seen to have had, in bytes.

    None where the system does not say.
    """
    building = asyncio.ensure_future(ann_process.build_ann(table))
    builder, peak = None, None
    while not building.done():
        await asyncio.wait([building], timeout=_LOOK_S)
        builder = builder or _builder()
        peak = (peak_rss_bytes(builder) if builder else None) or peak  # none when it has ended
    await building
    return peak


def _builder() -> int | None:
    """Return the id of the process that builds the index; None when it is not there."""
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it may end meanwhile
            if ann_process.__name__ in child.cmdline():
                return int(child.pid)
    return None


def _exact(table: ImageTable, queries: Mapping[Effort, Embeddings]) -> dict[Effort, ExactNearest]:
    """Compare queries with all images, which takes a while."""
    exact = {effort: ExactNearest(rows, NEAREST) for effort, rows in queries.items()}
    for records, embeddings in table.scan():
        numbers = np.array([int(record.id) for record in records])
        for each in exact.values():
            each.see(embeddings, numbers)
    return exact


def _facts(table: ImageTable) -> dict[str, Any]:
    return {"images": len(table), "exact": table.snapshot().is_exact, "ann": table.stats()["ann"]}


def _measure(table: ImageTable, exact: ExactNearest, effort: Effort, rounds: int) -> dict[str, Any]:
    """Return the latencies of searches for the nearest rows, and the recall."""
    snapshot, queries, truth = table.snapshot(), exact.queries, exact.places()
    snapshot.nearest(queries[:1], NEAREST)  # the first one loads
    p50s, p95s, foreign = [], [], []
    found: list[int] = []
    for number in range(rounds):
        load, times_ms = ForeignLoad(), []
        for place in range(number * _QUERIES, (number + 1) * _QUERIES):
            start_s = time.perf_counter()
            (nearest,) = snapshot.nearest(queries[place : place + 1], NEAREST, effort=effort)
            times_ms.append((time.perf_counter() - start_s) * 1000)
            found.append(len(truth[place] & set(map(int, snapshot.ids(nearest)))))
        p50s.append(float(np.percentile(times_ms, 50)))
        p95s.append(float(np.percentile(times_ms, 95)))
        foreign.append(load.cores())
    return {
        "p50_ms": summarize(p50s, foreign),
        "p95_ms": summarize(p95s, foreign),
        # Fewer than NEAREST images have fewer neighbours to find.
        "recall": sum(found) / sum(map(len, truth)),
    }


def _measure_adding(table: ImageTable, vectors: SyntheticVectors, rounds: int) -> Any:
    """Return the milliseconds of a commit, the search for duplicates included; the table keeps its size."""
    times_ms, foreign = [], []
    for number in range(rounds + 1):
        records, embeddings = _records(-ADDED, ADDED), vectors.take(ADDED)
        load, start_s = ForeignLoad(), time.perf_counter()
        find_duplicates(table, records, embeddings)
        table.add(records, embeddings)
        if number:  # the first one is slow
            times_ms.append((time.perf_counter() - start_s) * 1000)
            foreign.append(load.cores())
        table.remove([record.id for record in records])
    return summarize(times_ms, foreign)


def _records(start: int, count: int) -> list[ImageRecord]:
    """Return records with numbers as ids; their hashes are as unlike as those of photos."""
    hashes = np.random.default_rng(start + ADDED).integers(0, 2**63, count)
    return [
        ImageRecord(
            id=str(number),
            source="synthetic",
            content_hash=f"{number:064x}",
            difference_hash=f"{hash_:016x}",
            width=640,
            height=480,
            thumbnail=_THUMBNAIL,
        )
        for number, hash_ in zip(range(start, start + count), hashes.tolist(), strict=True)
    ]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
