"""Every engine of one model, measured here: accuracy kept against float32, time, memory, size."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engines.base import Embeddings
from engines.calibration import held_out_set
from engines.errors import EngineError
from engines.factory import EngineOptions, resolve_model
from engines.models import ModelSpec
from engines.quality import REFERENCE_ENGINE, Quality, compare_embeddings
from engines.worker.background import in_background_to_the_end
from use_cases.background_workers import Run
from use_cases.comparison.badge import Badge, judge
from use_cases.comparison.engine_quality import (
    GalleryEmbeddings,
    HeldOutGallery,
    measure_changes,
    measure_tasks,
    split_embeddings,
)
from use_cases.latency import Effort
from use_cases.resampling import Estimate

EFFORT = Effort(num_warmup=2, min_iters=5, min_duration_s=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosines:
    """Of an engine's embeddings to float32's of the same inputs."""

    image_mean: float
    image_min: float
    text_mean: float
    text_min: float

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> Cosines:
        """Take them from the fields of a `Quality`, which records share."""
        return cls(**{name: figures[name.replace("_", "_cosine_")] for name in cls.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """One engine on one model; what was not measured is None."""

    engine: str
    badge: Badge
    reason: str | None = None  # why nothing could be measured
    cosines: Cosines | None = None  # to float32
    top1_agreement: float | None = None  # as in `Quality`, 0 to 1
    tasks: Mapping[str, Estimate] = field(default_factory=dict)  # on held-out pictures, by task
    changes: Mapping[str, Estimate] = field(default_factory=dict)  # the same minus float32's
    image_ms: float | None = None  # p50, one at a time
    text_ms: float | None = None
    load_ms: float | None = None  # both towers
    rss_bytes: float | None = None  # after the first image and the first text, of a process of its own
    artifact_bytes: int | None = None
    foreign_cores: float | None = None  # that other processes kept busy meanwhile

    @property
    def pair_ms(self) -> float | None:
        """Return how long one image and one text take together."""
        return None if self.image_ms is None or self.text_ms is None else self.image_ms + self.text_ms

    @property
    def cosine(self) -> float | None:
        """Return the mean cosine to float32 of the tower that lost more."""
        if self.cosines is None:
            return None
        return float(np.min([self.cosines.image_mean, self.cosines.text_mean]))  # NaN if one of them is


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """What to measure of which model."""

    model: str
    engines: tuple[str, ...]
    held_out: HeldOutGallery
    num_threads: int
    cache_dir: Path
    allow_pickled_weights: bool = False  # torch's own format, where there is nothing safer


def closeness(quality: Quality | None) -> dict[str, Any]:
    """Return the fields of a row that say how close an engine is to float32."""
    if quality is None:
        return {}
    return {"cosines": Cosines.of(asdict(quality)), "top1_agreement": quality.top1_agreement}


async def measure_engines(plan: EnginePlan, run: Run) -> AsyncIterator[EngineRow]:
    """Measure one engine after the other, the reference first; yield each as soon as it is done.

    An engine that cannot run here is a row with the reason. Ending the iteration ends the measurement.

    Raises:
        UnknownModelError: when the model is not on this machine.
        InvalidInputError: when its folder is not a checkpoint.
    """
    options = EngineOptions(cache_dir=plan.cache_dir, allow_pickled_weights=plan.allow_pickled_weights)
    spec = await in_background_to_the_end(resolve_model, plan.model, options)
    measurement = _Measurement(plan, spec, run)
    await measurement.read_reference()
    for engine in in_order(plan.engines):
        yield await measurement.measure(engine)


async def reference_vectors(plan: EnginePlan, model: str, run: Run) -> tuple[Embeddings, Embeddings]:
    """Return the stored float32 vectors of the gate's samples, computing them when they are missing.

    That may have to build the engine first; a caller that is cancelled ends it.

    Args:
        plan: of the measurement.
        model: its name, as it was resolved.
        run: what runs jobs.

    Raises:
        BackendUnavailableError: with the process's own sentence, or its last line when it died.
    """
    job = {
        "task": "reference",
        "model": model,
        "allow_pickled_weights": plan.allow_pickled_weights,
        "threads": plan.num_threads,
    }
    answer = await run(job, plan.cache_dir)
    with np.load(answer["path"]) as rows:
        return rows["images"], rows["texts"]


def in_order(engines: Sequence[str]) -> list[str]:
    """Return the engines as they are measured: the reference, which is always there, comes first."""
    return list(dict.fromkeys((REFERENCE_ENGINE, *engines)))


class _Measurement:
    def __init__(self, plan: EnginePlan, spec: ModelSpec, run: Run) -> None:
        self._plan, self._spec, self._run = plan, spec, run
        self._vectors: tuple[Embeddings, Embeddings] | None = None  # stored, of the gate's samples
        self._no_vectors = ""  # why there are none
        self._reference: GalleryEmbeddings | None = None
        gate, held_out = held_out_set(), plan.held_out
        self._job: dict[str, Any] = {
            "model": spec.name,
            "allow_pickled_weights": plan.allow_pickled_weights,
            "threads": plan.num_threads,
            "images": [str(path) for path in (*gate.images, *(each.path for each in held_out.pictures))],
            "captions": [
                *gate.captions,
                *(each.caption for each in held_out.pictures),
                *held_out.prompts(spec),
            ],
        }

    async def read_reference(self) -> None:
        try:
            self._vectors = await reference_vectors(self._plan, self._spec.name, self._run)
        except EngineError as error:
            self._no_vectors = f"There are no float32 vectors to compare with: {error}"

    async def measure(self, engine: str) -> EngineRow:
        job = {**self._job, "engine": engine}
        try:
            timed = await self._run(
                {**job, "task": "towers", "batch_sizes": [1], "effort": asdict(EFFORT)}, self._plan.cache_dir
            )
            images, texts = await self._embed(job)
        except EngineError as error:
            return EngineRow(engine=engine, badge=judge(engine, None, str(error)), reason=str(error))
        towers = timed["towers"]
        return EngineRow(
            engine=engine,
            image_ms=towers["image"]["1"]["p50_ms"],
            text_ms=towers["text"]["1"]["p50_ms"],
            load_ms=timed["load_ms"],
            rss_bytes=timed["rss_bytes"],
            artifact_bytes=timed["artifact_bytes"],
            foreign_cores=max(tower["1"]["foreign_cores"] for tower in towers.values()),
            **self._accuracy(engine, images, texts),
        )

    async def _embed(self, job: dict[str, Any]) -> tuple[Embeddings, Embeddings]:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "embeddings.npz"
            await self._run({**job, "task": "embeddings", "output": str(output)}, self._plan.cache_dir)
            with np.load(output) as rows:
                return rows["images"], rows["texts"]

    def _accuracy(self, engine: str, images: Embeddings, texts: Embeddings) -> dict[str, Any]:
        """Return the fields of the row that say how right the embeddings are."""
        gate, held_out = held_out_set(), self._plan.held_out
        num_images, num_texts = len(gate.images), len(gate.captions)
        embedded = split_embeddings(
            images[num_images:], texts[num_texts:], held_out, len(self._spec.prompt_templates)
        )
        if engine == REFERENCE_ENGINE:
            self._reference = embedded
        quality = None
        if self._vectors is not None:
            quality = compare_embeddings(images[:num_images], texts[:num_texts], *self._vectors)
        return {
            "badge": judge(engine, quality, self._no_vectors),
            **closeness(quality),
            "tasks": measure_tasks(embedded, held_out),
            "changes": measure_changes(embedded, self._reference, held_out) if self._reference else {},
        }
