"""Compare engines on one machine: fresh processes in alternating rounds, against plain transformers.

Every round runs each engine once in a process of its own, so that all meet the same conditions and
none profits from another's warm memory. Results are medians of the processes' medians.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from engines.base import Embeddings
from engines.checkpoints.random_weights import PREFIX, ensure_random_checkpoint
from engines.errors import EngineError, InvalidInputError
from engines.factory import EngineOptions, resolve_model
from use_cases.benchmark_subjects import PLAIN
from use_cases.latency import Effort, Summary, summarize
from use_cases.workers import run_worker

REFERENCE = "torch-fp32"
TOWERS = ("image", "text")
T = TypeVar("T")
Worker: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
logger = logging.getLogger(__name__)


class Samples(Protocol):
    """Pictures and sentences; a `SampleSet` of engines.calibration is one."""

    @property
    def images(self) -> tuple[Path, ...]:
        """Return image files."""
        ...

    @property
    def captions(self) -> tuple[str, ...]:
        """Return sentences, the images' own first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkPlan:
    """What to measure and how long."""

    models: tuple[str, ...]
    engines: tuple[str, ...]
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8)
    num_rounds: int = 3
    num_threads: int = 2
    effort: Effort = field(default_factory=Effort)
    allow_pickled_weights: bool = False  # torch's own format, where there is nothing safer


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How an engine's embeddings of the held-out samples compare with torch-fp32's."""

    image_cosine_mean: float
    image_cosine_min: float
    text_cosine_mean: float
    text_cosine_min: float
    top1: float  # share of images whose best caption is the same


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineResult:
    """One engine on one model; what could not be measured is None, and `reason` says why all of it."""

    model: str
    engine: str
    reason: str | None = None
    artifact_bytes: int | None = None
    load_ms: Summary | None = None
    first_embedding_ms: Summary | None = None
    rss_bytes: Summary | None = None  # after the first image and the first text
    text_rss_bytes: Summary | None = None  # of a process that embedded a text and no image
    peak_rss_bytes: Summary | None = None
    agreement: Agreement | None = None
    p50_ms: dict[str, dict[str, Summary]] = field(default_factory=dict)  # tower -> batch size -> ...
    p95_ms: dict[str, dict[str, Summary]] = field(default_factory=dict)
    items_per_s: dict[str, dict[str, Summary]] = field(default_factory=dict)
    times_plain: dict[str, dict[str, float | None]] = field(
        default_factory=dict
    )  # speed, 2.0 is twice as fast


def check_plan(plan: BenchmarkPlan) -> dict[str, str]:
    """Return what `resolve_model` takes for each model of the plan, writing random checkpoints.

    Raises:
        UnknownModelError: when a model is not on this machine.
        InvalidInputError: when a folder is not a checkpoint, or two models have the same public name.
    """
    sources: dict[str, str] = {}
    folders: dict[str, Path] = {}  # one folder may be written in several ways
    for model in plan.models:
        name, source = public_name(model), model_source(model)
        spec = resolve_model(source, EngineOptions(allow_pickled_weights=plan.allow_pickled_weights))
        folder = spec.folder.resolve()
        if folders.setdefault(name, folder) != folder:
            raise InvalidInputError(f"Two models are called {name!r}; rename the folder of one.")
        sources[name] = source
    return sources


def model_source(model: str) -> str:
    """Return what `resolve_model` takes for a model; "random:NAME" stands for a checkpoint that is written.

    Raises:
        UnknownModelError: when there is no recipe of that name.
        BackendUnavailableError: when the checkpoint cannot be written.
    """
    if model.startswith(PREFIX):
        return str(ensure_random_checkpoint(model.removeprefix(PREFIX)))
    return model


def public_name(model: str) -> str:
    """Return a model's name for a record: a folder's last part, because its path is nobody's business."""
    return Path(os.path.abspath(model)).name if os.path.isdir(model) else model


def run_benchmark(plan: BenchmarkPlan, samples: Samples, worker: Worker = run_worker) -> list[EngineResult]:
    """Measure every engine of the plan on every model, and plain transformers between them.

    Raises:
        UnknownModelError: when a model is not on this machine.
        InvalidInputError: when a folder is not a checkpoint.
    """
    return [
        result
        for model, source in check_plan(plan).items()
        for result in _ModelBenchmark(plan, samples, worker, model, source).run()
    ]


class _ModelBenchmark:
    def __init__(
        self, plan: BenchmarkPlan, samples: Samples, worker: Worker, model: str, source: str
    ) -> None:
        self._plan, self._worker, self._model = plan, worker, model
        self._names = (*plan.engines, PLAIN)
        self._reasons: dict[str, str] = {}
        self._job = {
            "model": source,
            "allow_pickled_weights": plan.allow_pickled_weights,
            "threads": plan.num_threads,
            "images": [str(path) for path in samples.images],
            "captions": list(samples.captions),
        }

    def run(self) -> list[EngineResult]:
        agreements = self._compare()  # first, because it builds what engines build once
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in self._names}
        for number in range(self._plan.num_rounds):
            for name in self._names:
                if name not in self._reasons:
                    logger.info(
                        "%s, round %d of %d: %s", self._model, number + 1, self._plan.num_rounds, name
                    )
                    rounds[name] += self._try(name, self._towers)
        plain = self._result(PLAIN, rounds[PLAIN], agreements.get(PLAIN), None)
        engines = [
            self._result(name, rounds[name], agreements.get(name), plain) for name in self._plan.engines
        ]
        return [*engines, plain]

    def _towers(self, name: str) -> dict[str, Any]:
        plan = {"batch_sizes": list(self._plan.batch_sizes), "effort": asdict(self._plan.effort)}
        job = {**self._job, **plan, "engine": name}
        return self._worker({**job, "task": "towers"}) | self._worker({**job, "task": "text_memory"})

    def _compare(self) -> dict[str, Agreement]:
        with tempfile.TemporaryDirectory() as folder:
            found: dict[str, tuple[Embeddings, Embeddings]] = {}
            for name in dict.fromkeys((REFERENCE, *self._names)):
                logger.info("%s: embedding the held-out samples with %s", self._model, name)
                for rows in self._try(name, partial(self._embeddings, folder)):
                    found[name] = rows
        if REFERENCE not in found:
            return {}
        return {name: compare(*found[REFERENCE], *rows) for name, rows in found.items()}

    def _embeddings(self, folder: str, name: str) -> tuple[Embeddings, Embeddings]:
        output = str(Path(folder) / f"{name}.npz")
        self._worker({**self._job, "task": "embeddings", "engine": name, "output": output})
        with np.load(output) as rows:
            return rows["images"], rows["texts"]

    def _try(self, name: str, measure: Callable[[str], T]) -> list[T]:
        """Return the one measurement; none, and the reason is kept, when the engine is not available."""
        try:
            return [measure(name)]
        except EngineError as error:
            self._reasons[name] = str(error)
            return []

    def _result(
        self,
        name: str,
        rounds: Sequence[dict[str, Any]],
        agreement: Agreement | None,
        plain: EngineResult | None,
    ) -> EngineResult:
        if name in self._reasons:
            return EngineResult(model=self._model, engine=name, reason=self._reasons[name])
        p50_ms = self._towers_summary(rounds, "p50_ms")
        return EngineResult(
            model=self._model,
            engine=name,
            artifact_bytes=rounds[0]["artifact_bytes"],
            load_ms=_summary(rounds, "load_ms"),
            first_embedding_ms=_summary(rounds, "first_embedding_ms"),
            rss_bytes=_summary(rounds, "rss_bytes"),
            text_rss_bytes=_summary(rounds, "text_rss_bytes"),
            peak_rss_bytes=_summary(rounds, "peak_rss_bytes"),
            agreement=agreement,
            p50_ms=p50_ms,
            p95_ms=self._towers_summary(rounds, "p95_ms"),
            items_per_s=self._towers_summary(rounds, "items_per_s"),
            times_plain={
                tower: {
                    size: _times(plain.p50_ms[tower][size], own) if plain and not plain.reason else None
                    for size, own in sizes.items()
                }
                for tower, sizes in p50_ms.items()
            },
        )

    def _towers_summary(self, rounds: Sequence[dict[str, Any]], key: str) -> dict[str, dict[str, Summary]]:
        def summary(tower: str, size: str) -> Summary:
            cells = [measured["towers"][tower][size] for measured in rounds]
            return summarize([cell[key] for cell in cells], [cell["foreign_cores"] for cell in cells])

        sizes = [str(size) for size in self._plan.batch_sizes]
        return {tower: {size: summary(tower, size) for size in sizes} for tower in TOWERS}


def compare(
    reference_images: Embeddings, reference_texts: Embeddings, images: Embeddings, texts: Embeddings
) -> Agreement:
    """Compare embeddings of the same samples row by row, and which caption fits each image best."""
    image_cosines = (reference_images * images).sum(axis=1)
    text_cosines = (reference_texts * texts).sum(axis=1)
    best = (images @ texts.T).argmax(axis=1)
    reference_best = (reference_images @ reference_texts.T).argmax(axis=1)
    return Agreement(
        image_cosine_mean=float(image_cosines.mean()),
        image_cosine_min=float(image_cosines.min()),
        text_cosine_mean=float(text_cosines.mean()),
        text_cosine_min=float(text_cosines.min()),
        top1=float((best == reference_best).mean()),
    )


def _summary(rounds: Sequence[dict[str, Any]], key: str) -> Summary | None:
    values = [measured[key] for measured in rounds]
    if None in values:
        return None
    return summarize(values, [measured["start_foreign_cores"] for measured in rounds])


def _times(plain: Summary, own: Summary) -> float:
    return plain.median / own.median
