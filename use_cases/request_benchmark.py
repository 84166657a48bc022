"""Compare whole requests with plain transformers, side by side in alternating fresh processes."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.checkpoints.random_weights import SEED
from engines.errors import EngineError
from use_cases.benchmark import BenchmarkPlan, Worker, check_plan
from use_cases.benchmark_subjects import PLAIN
from use_cases.latency import Summary, summarize
from use_cases.workers import run_worker

PREPARER = "preprocessor"  # ours, whatever the engine
ZERO_SHOT = ("zero_shot_known", "zero_shot_new")
_RATE = ("int8_rate", "onnxruntime")  # a task and whose products it measures
_PEAK_TOO_LOW = "Products are faster than the int8 peak that was measured, so it is not this CPU's."
Rounds = dict[tuple[str, str], list[dict[str, Any]]]  # (task, engine) -> answers
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResult:
    """One quantity of one model on one engine; None where it could not be measured."""

    model: str
    measurement: str
    engine: str
    unit: str
    value: Summary | None = None
    times_plain: float | None = None  # speed; 2.0 is twice as fast
    max_pixel_error: float | None = None  # of pixels in [-1, 1], against transformers' image processor
    reason: str | None = None


def run_request_benchmark(plan: BenchmarkPlan, worker: Worker = run_worker) -> list[RequestResult]:
    """Measure requests of every model of the plan; batch sizes play no part.

    Raises:
        UnknownModelError: when a model is not on this machine.
        InvalidInputError: when a folder is not a checkpoint.
    """
    return [
        result
        for model, source in check_plan(plan).items()
        for result in _RequestBenchmark(plan, worker, model, source).run()
    ]


class _RequestBenchmark:
    def __init__(self, plan: BenchmarkPlan, worker: Worker, model: str, source: str) -> None:
        self._plan, self._worker, self._model = plan, worker, model
        self._job = {
            "model": source,
            "allow_pickled_weights": plan.allow_pickled_weights,
            "threads": plan.num_threads,
            "effort": asdict(plan.effort),
            "seed": SEED,
        }
        self._rounds: Rounds = {}
        self._reasons: dict[tuple[str, str], str] = {}

    def run(self) -> list[RequestResult]:
        steps = [
            ("prepare", PREPARER),
            ("prepare", PLAIN),
            *(("zero_shot", name) for name in (*self._plan.engines, PLAIN)),
            *(("clients", name) for name in self._plan.engines),
            *(("tracing", name) for name in self._plan.engines),
            _RATE,
        ]
        with tempfile.TemporaryDirectory() as folder:
            for number in range(self._plan.num_rounds):
                for task, name in steps:
                    logger.info("%s, round %d: %s of %s", self._model, number + 1, task, name)
                    self._measure(task, name, Path(folder))
            error = self._pixel_error(Path(folder))
        results = [self._latency("prepare", "prepare_large", PREPARER, max_pixel_error=error)]
        results.append(self._latency("prepare", "prepare_large", PLAIN))
        results += [
            self._latency("zero_shot", measurement, name)
            for measurement in ZERO_SHOT
            for name in (*self._plan.engines, PLAIN)
        ]
        for name in self._plan.engines:
            results += [self._two_clients(name), self._tracing(name), self._int8_share(name)]
        return [*results, *self._int8_rates()]

    def _measure(self, task: str, name: str, folder: Path) -> None:
        key = (task, name)
        if key in self._reasons:
            return
        job = {**self._job, "task": task, "engine": name, "output": str(folder / f"{name}.npy")}
        try:
            self._rounds.setdefault(key, []).append(self._worker(job))
        except EngineError as error:  # an engine that is not available is a result, not an end
            self._reasons[key] = str(error)

    def _pixel_error(self, folder: Path) -> float | None:
        paths = [folder / f"{name}.npy" for name in (PREPARER, PLAIN)]
        if not all(path.exists() for path in paths):
            return None
        ours, plain = (np.load(path) for path in paths)
        return float(np.abs(ours - plain).max())

    def _cells(self, task: str, key: str, name: str) -> list[dict[str, Any]]:
        if (task, name) in self._reasons:
            return []
        return [answer[key] for answer in self._rounds[(task, name)]]

    def _result(
        self, measurement: str, task: str, name: str, unit: str, reason: str | None = None, **values: Any
    ) -> RequestResult:
        reason = self._reasons.get((task, name), reason)
        return RequestResult(
            model=self._model, measurement=measurement, engine=name, unit=unit, reason=reason, **values
        )

    def _latency(self, task: str, key: str, name: str, max_pixel_error: float | None = None) -> RequestResult:
        own, plain = (_summary(self._cells(task, key, each), "p50_ms") for each in (name, PLAIN))
        times = plain.median / own.median if own and plain and name != PLAIN else None
        return self._result(
            key, task, name, "ms", value=own, times_plain=times, max_pixel_error=max_pixel_error
        )

    def _two_clients(self, name: str) -> RequestResult:
        value = _summary(self._cells("clients", "two_clients", name), "ratio")
        return self._result("two_clients", "clients", name, "x one client", value=value)

    def _tracing(self, name: str) -> RequestResult:
        value = _summary(self._cells("tracing", "tracing", name), "ratio")
        return self._result("tracing", "tracing", name, "x untraced", value=value)

    def _int8_share(self, name: str) -> RequestResult:
        """Return the image tower's rate as a share of the int8 instructions' peak in the same round.

        None where the tower, or a mere product, was faster than the peak.
        """
        towers = self._cells("clients", "image_tower", name)
        shares = [
            {
                "share": rate["image_gflop"] / (tower["p50_ms"] / 1000) / rate["peak_gops"],
                "foreign_cores": max(tower["foreign_cores"], rate["foreign_cores"]),
            }
            for tower, rate in zip(towers, self._rate_rounds(), strict=False)
            if rate["image_gflop"] is not None and rate["peak_gops"] is not None
        ]
        value = _summary(shares, "share")
        reason = None
        if value is not None and (value.max > 1 or self._peak_is_too_low()):
            value, reason = None, _PEAK_TOO_LOW
        return self._result(
            "image_tower_share", "clients", name, "of the int8 peak", reason=reason, value=value
        )

    def _int8_rates(self) -> list[RequestResult]:
        peak, reason = _summary(self._peak_rounds(), "peak_gops"), None
        if self._peak_is_too_low():
            peak, reason = None, _PEAK_TOO_LOW
        rate = _summary(self._rate_rounds(), "gops")
        return [
            self._result("int8_peak", *_RATE, "Gop/s", reason=reason, value=peak),
            self._result("int8_rate", *_RATE, "Gop/s", value=rate),
        ]

    def _peak_is_too_low(self) -> bool:
        """Tell whether a product was faster than the instructions that were measured, so used others."""
        ratios = [rate | {"ratio": rate["gops"] / rate["peak_gops"]} for rate in self._peak_rounds()]
        ratio = _summary(ratios, "ratio")
        return ratio is not None and ratio.max > 1

    def _peak_rounds(self) -> list[dict[str, Any]]:
        return [rate for rate in self._rate_rounds() if rate["peak_gops"] is not None]

    def _rate_rounds(self) -> list[dict[str, Any]]:
        return [] if _RATE in self._reasons else self._rounds[_RATE]


def _summary(cells: Sequence[dict[str, Any]], key: str) -> Summary | None:
    if not cells:
        return None
    return summarize([cell[key] for cell in cells], [cell["foreign_cores"] for cell in cells])
