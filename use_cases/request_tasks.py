"""What one fresh process measures of whole requests: photos prepared, zero-shot answers, two clients.

The counterparts of plain transformers are measured in processes of their own, with the same photos and
labels, which are drawn from seeds so that every process sees the same.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from engines.machine.malloc import keep_freed_memory
from engines.pool import PooledEngine
from engines.preparation.images import decode_image
from engines.preparation.preprocess import Preprocessor
from engines.preparation.source import SourceImage
from engines.tracing import Trace, tracing
from engines.worker.batched_engine import BatchedEngine
from engines.worker.cache import CachedRow, CacheKey, EmbeddingCache
from engines.worker.shared import Worker
from use_cases.benchmark_subjects import PLAIN, EngineSubject, job_model, load_subject
from use_cases.images import read_image
from use_cases.latency import Effort, ForeignLoad, measure_latency
from use_cases.telemetry.telemetry import Telemetry
from use_cases.zero_shot import classify, min_image_side

LARGE, SMALL = (4000, 3000), (640, 480)  # 12 megapixels, and a web picture
NUM_LABELS = 10
TEMPLATE = "This is a photo of {label}."
_THINGS = (
    "cat", "dog", "lion", "bus", "street", "cup", "table", "rocket", "helmet", "fox",
    "garage", "coin", "woman", "house", "tree", "bird", "plate", "map", "mountain", "boat",
)  # fmt: skip


def synthetic_jpeg(size: tuple[int, int], seed: int) -> bytes:
    """Return a JPEG with what photos have: large soft areas, edges, and some grain."""
    rng = np.random.default_rng(seed)
    width, height = size
    image = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((4, 0.5), (16, 0.25), (64, 0.15), (256, 0.1)):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        image += weight * np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.float32)
    image += rng.normal(0, 3, (height, width, 1)).astype(np.float32)
    file = io.BytesIO()
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def label_sets() -> Iterator[list[str]]:
    """Yield lists of labels of which none repeats one that was yielded before."""
    for number in itertools.count():
        pairs = [(_THINGS[(number + index) % len(_THINGS)], index) for index in range(NUM_LABELS)]
        yield [f"a {thing} number {number} {index}" for thing, index in pairs]


def run_prepare(job: dict[str, Any]) -> dict[str, Any]:
    """Time decoding and preparing a 12-megapixel JPEG, and keep the pixels for comparison."""
    spec = job_model(job)
    data = synthetic_jpeg(LARGE, job["seed"])
    if job["engine"] == PLAIN:
        processor = _plain(job).prepare_images

        def prepare() -> Any:
            return processor([Image.open(io.BytesIO(data)).convert("RGB")])["pixel_values"][0].numpy()
    else:
        keep_freed_memory()  # as the server does
        preprocessor = Preprocessor(spec)
        min_side = min_image_side([spec])

        def prepare() -> Any:
            return preprocessor.prepare_image(decode_image(data, min_side))

    profile = measure_latency(prepare, 1, Effort(**job["effort"]))
    std, mean = (np.reshape(values, (3, 1, 1)) for values in (spec.image_std, spec.image_mean))
    np.save(job["output"], (prepare() * std + mean) * 2 - 1)  # in [-1, 1] whatever the model's statistics
    return {"prepare_large": asdict(profile)}


def run_zero_shot(job: dict[str, Any]) -> dict[str, Any]:
    """Time requests of one new photo and ten labels: labels known from before, and all new."""
    photos = [synthetic_jpeg(SMALL, job["seed"] + index) for index in range(8)]
    photo = itertools.cycle(photos)
    labels = label_sets()
    known = next(labels)
    effort = Effort(**job["effort"])
    if job["engine"] == PLAIN:
        pipeline = _plain(job).zero_shot_pipeline()
        template = TEMPLATE.format(label="{}")

        def ask_plain(texts: list[str]) -> Any:
            image = Image.open(io.BytesIO(next(photo))).convert("RGB")
            return pipeline(image, candidate_labels=texts, hypothesis_template=template)

        return _ask_both(ask_plain, known, labels, effort)
    with _running(job) as (loop, batched):
        min_side = min_image_side([batched.spec])

        async def answer(texts: list[str]) -> Any:
            image = await read_image(next(photo), min_side, batched.worker.cache)
            return await classify(PooledEngine(batched), [image], texts, [TEMPLATE])

        return _ask_both(lambda texts: loop.run_until_complete(answer(texts)), known, labels, effort)


def run_clients(job: dict[str, Any]) -> dict[str, Any]:
    """Compare how many images a second one client gets answered, and two that ask at the same time."""
    photos = [decode_image(synthetic_jpeg(SMALL, job["seed"] + index)) for index in range(8)]
    # No photo is both clients': the worker would embed one that both ask for at the same time once.
    own_photos = photos[:4], photos[4:]
    with _running(job) as (loop, batched):

        async def client(images: Sequence[Image.Image], num_requests: int) -> None:
            for index in range(num_requests):
                await batched.embed_images([SourceImage.of_image(images[index % len(images)])])

        async def clients(count: int, num_requests: int) -> float:
            start_s = time.perf_counter()
            await asyncio.gather(*(client(images, num_requests) for images in own_photos[:count]))
            return count * num_requests / (time.perf_counter() - start_s)

        pixels = [batched.preprocessor.prepare_image(photos[0])]
        effort = Effort(**job["effort"])
        tower = measure_latency(lambda: batched.engine.embed_pixels(pixels), 1, effort)
        loop.run_until_complete(clients(2, tower.num_iters))  # the worker learns what pays for two
        foreign = ForeignLoad()
        one = loop.run_until_complete(clients(1, 2 * tower.num_iters))
        two = loop.run_until_complete(clients(2, tower.num_iters))
        return {
            "image_tower": asdict(tower),
            "two_clients": {"ratio": two / one, "items_per_s": two, "foreign_cores": foreign.cores()},
        }


def run_tracing(job: dict[str, Any]) -> dict[str, Any]:
    """Compare requests of one new photo and known labels, traced and not, in turns.

    What is counted later, when somebody looks, is added to each traced one.
    """
    photo = itertools.cycle(synthetic_jpeg(SMALL, job["seed"] + index) for index in range(8))
    known, telemetry, effort = next(label_sets()), Telemetry(), Effort(**job["effort"])
    times_ms: dict[bool, list[float]] = {True: [], False: []}
    with _running(job) as (loop, batched):
        min_side = min_image_side([batched.spec])

        async def ask() -> None:
            image = await read_image(next(photo), min_side, batched.worker.cache)
            await classify(PooledEngine(batched), [image], known, [TEMPLATE])

        async def ask_traced() -> None:
            trace = Trace("benchmark", "classify")
            with tracing(trace):
                await ask()
            trace.end("ok")
            telemetry.keep(trace)

        foreign, start_s = ForeignLoad(), time.perf_counter()
        for number in itertools.count():
            for traced in (True, False) if number % 2 else (False, True):
                call_start_s = time.perf_counter()
                loop.run_until_complete(ask_traced() if traced else ask())
                times_ms[traced].append((time.perf_counter() - call_start_s) * 1000)
            if number >= 2 * effort.min_iters and time.perf_counter() - start_s > 2 * effort.min_duration_s:
                break
        cores, start_s = foreign.cores(), time.perf_counter()
        telemetry.count()
        count_ms = (time.perf_counter() - start_s) * 1000 / len(times_ms[True])
    traced_ms, plain_ms = (statistics.median(times_ms[each][effort.num_warmup :]) for each in (True, False))
    return {"tracing": {"ratio": (traced_ms + count_ms) / plain_ms, "foreign_cores": cores}}


def run_int8_rate(job: dict[str, Any]) -> dict[str, Any]:
    """Measure what int8 instructions and ONNX Runtime's products reach here, and count the tower's work."""
    from engines.machine.int8_rate import measure_int8_gops, measure_int8_peak_gops
    from engines.pytorch.plain_transformers import image_tower_gflop

    foreign = ForeignLoad()
    gops, peak_gops = measure_int8_gops(job["threads"]), measure_int8_peak_gops(job["threads"])
    cores = foreign.cores()
    return {
        "gops": gops,
        "peak_gops": peak_gops,
        "foreign_cores": cores,
        "image_gflop": image_tower_gflop(job_model(job)),
    }


def _ask_both(
    ask: Callable[[list[str]], Any], known: list[str], labels: Iterator[list[str]], effort: Effort
) -> dict[str, Any]:
    known_profile = measure_latency(partial(ask, known), 1, effort)  # the warm-up makes them known
    new_profile = measure_latency(lambda: ask(next(labels)), 1, effort)
    return {"zero_shot_known": asdict(known_profile), "zero_shot_new": asdict(new_profile)}


def _plain(job: dict[str, Any]) -> Any:
    return load_subject(job_model(job), PLAIN, job["threads"])


class _TextsOnly(EmbeddingCache):
    """Forgets images, so that each request brings one that is new to the server."""

    def put(self, key: CacheKey, row: CachedRow) -> None:
        if not key.is_image:
            super().put(key, row)


@contextmanager
def _running(job: dict[str, Any]) -> Iterator[tuple[asyncio.AbstractEventLoop, BatchedEngine]]:
    """Yield a running BatchedEngine and the event loop that it belongs to, in a process like the server's."""
    keep_freed_memory()
    subject = load_subject(job_model(job), job["engine"], job["threads"])
    assert isinstance(subject, EngineSubject)
    loop = asyncio.new_event_loop()
    batched = BatchedEngine(subject.engine, subject.preprocessor, Worker(cache=_TextsOnly()))
    try:
        loop.run_until_complete(batched.__aenter__())
        yield loop, batched
        loop.run_until_complete(batched.close())
    finally:
        loop.close()
