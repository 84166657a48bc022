"""How long measuring a model's engines will take, before anybody waits for it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from engines.artifacts.listing import list_artifacts
from engines.calibration import held_out_set
from engines.models import ModelSpec
from engines.pool import PooledEngine
from engines.preparation.images import colour_ramps
from use_cases.comparison.engine_quality import HeldOutGallery
from use_cases.comparison.engines import EFFORT

_PROCESS_S = 3.0  # start of Python and loading of a base-size model, twice an engine
_NUM_PROBES = 3
_BUILT = ("onnx-", "bnb-")  # engines that run files which are built at their first use


async def probe_ms(pooled: PooledEngine) -> tuple[float, float]:
    """Return how long one image and one text take on a running engine, as requests see it.

    Raises:
        EngineError: when the engine fails or its queue is full.
    """
    engine = pooled.engine
    pixels = engine.preprocessor.prepare_image(colour_ramps(engine.spec.image_size))
    tokens = engine.preprocessor.prepare_text("a red and green pattern")
    image_ms: list[float] = []
    text_ms: list[float] = []
    for _ in range(_NUM_PROBES):
        start_s = time.perf_counter()
        await engine.images.submit([pixels])
        between_s = time.perf_counter()
        await engine.texts.submit([tokens])
        image_ms.append((between_s - start_s) * 1000)
        text_ms.append((time.perf_counter() - between_s) * 1000)
    return statistics.median(image_ms), statistics.median(text_ms)


def estimate_s(
    spec: ModelSpec, held_out: HeldOutGallery, num_engines: int, image_ms: float, text_ms: float
) -> float:
    """Return about how long measuring takes, if all engines are as fast and all are built.

    Args:
        spec: of the model.
        held_out: the pictures.
        num_engines: to measure, the reference included.
        image_ms: of one image.
        text_ms: of one text.
    """
    gate = held_out_set()
    num_images = len(gate.images) + len(held_out.pictures)
    num_texts = len(gate.captions) + len(held_out.pictures) + len(held_out.prompts(spec))
    embedding_s = (num_images * image_ms + num_texts * text_ms) / 1000
    calls = EFFORT.num_warmup + EFFORT.min_iters
    timing_s = sum(max(EFFORT.min_duration_s, calls * ms / 1000) for ms in (image_ms, text_ms))
    return num_engines * (2 * _PROCESS_S + embedding_s + timing_s)


def not_built(spec: ModelSpec, engines: Sequence[str], cache_dir: Path) -> list[str]:
    """Return the engines of which the cache has no files; those of other versions count as built."""
    names = [artifact.name for artifact in list_artifacts(cache_dir)]

    def is_built(engine: str) -> bool:
        prefix = f"{spec.slug}-{engine}-"
        return any(name.startswith(prefix) and "-quality-" not in name for name in names)

    return [engine for engine in engines if engine.startswith(_BUILT) and not is_built(engine)]
