"""Profile a model's engines: a fresh process for each, one for the arithmetic, one for the machine's peak."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engines.errors import BackendUnavailableError, InvalidInputError
from engines.factory import EngineOptions, resolve_engine, resolve_model
from engines.onnx.allocator import Allocator
from engines.profiling.blocks import Tower
from engines.profiling.profilers import profiler_module
from use_cases.benchmark import Samples, Worker, model_source, public_name
from use_cases.profiling.results import (
    INT8_ENGINES,
    EngineProfile,
    MachinePeak,
    MemoryRow,
    Profile,
    RequestStages,
    block_rows,
    operator_rows,
)
from use_cases.workers import run_worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePlan:
    """What to profile and how long."""

    model: str
    engines: tuple[str, ...]
    tower: Tower = "image"
    batch_size: int = 1
    seconds: float = 3.0  # of each engine's plain calls, of its profiled ones, and of its requests
    num_threads: int = 2
    allocator: Allocator = field(default_factory=Allocator)  # of ONNX Runtime
    trace: Path | None = None
    allow_pickled_weights: bool = False  # torch's own format, where there is nothing safer

    def trace_of(self, engine: str) -> Path | None:
        """Return the file of an engine's trace: the one that was named, or one beside it for each engine."""
        if self.trace is None or len(self.engines) == 1:
            return self.trace
        return self.trace.with_name(f"{self.trace.stem}-{engine}{self.trace.suffix}")


def run_profile(plan: ProfilePlan, samples: Samples, worker: Worker = run_worker) -> Profile:
    """Profile every engine of the plan.

    Args:
        plan: what to profile.
        samples: the images and captions of the batches and requests.
        worker: runs a job in a process of its own.

    Raises:
        UnknownModelError: when the model or an engine is not known.
        InvalidInputError: when an engine cannot run the model or has no profiler, or the plan contradicts
            itself.
        BackendUnavailableError: when an engine is not available, with its own sentence.
    """
    source = _check(plan)
    job = {
        "model": source,
        "allow_pickled_weights": plan.allow_pickled_weights,
        "tower": plan.tower,
        "batch_size": plan.batch_size,
        "seconds": plan.seconds,
        "threads": plan.num_threads,
        "images": [str(path) for path in samples.images],
        "captions": list(samples.captions),
    }
    before = _ask_peak(plan, worker)
    answers = {engine: _ask_engine(plan, engine, job, worker) for engine in plan.engines}
    logger.info("Counting the arithmetic of %s.", public_name(plan.model))
    flops = worker({**job, "task": "profile_flops"})["flops"]
    peak = best_peak(before, _ask_peak(plan, worker))
    return Profile(
        model=public_name(plan.model),
        tower=plan.tower,
        batch_size=plan.batch_size,
        num_threads=plan.num_threads,
        peak=peak,
        engines=tuple(_read_engine(engine, flops, peak, *rows) for engine, rows in answers.items()),
    )


def best_peak(first: MachinePeak, second: MachinePeak) -> MachinePeak:
    """Return the higher of each rate: a neighbour can only make it less.

    A peak that products beat is none: they used other instructions than those that were measured.
    """
    best = max(first, second, key=lambda peak: peak.float32_gflops)
    rate = max((first.int8_gops, second.int8_gops), key=_or_zero)
    peak = max((first.int8_peak_gops, second.int8_peak_gops), key=_or_zero)
    is_known = peak is not None and peak >= _or_zero(rate)
    return replace(best, int8_gops=rate, int8_peak_gops=peak if is_known else None)


def _or_zero(rate: float | None) -> float:
    return rate or 0.0


def _check(plan: ProfilePlan) -> str:
    """Return what `resolve_model` takes for the plan's model, after a look at the names and switches."""
    source = model_source(plan.model)
    spec = resolve_model(source, EngineOptions(allow_pickled_weights=plan.allow_pickled_weights))
    for engine in plan.engines:
        resolve_engine(spec, engine)
        profiler_module(engine)
    if plan.allocator != Allocator() and not any(map(_on_onnx_runtime, plan.engines)):
        raise InvalidInputError(
            "The switches of the arena and of memory patterns are ONNX Runtime's; name an engine whose name"
            " begins with onnx-."
        )
    return source


def _ask_peak(plan: ProfilePlan, worker: Worker) -> MachinePeak:
    logger.info("Measuring this machine's arithmetic.")
    int8 = not set(plan.engines).isdisjoint(INT8_ENGINES)
    return MachinePeak(**worker({"task": "profile_peak", "threads": plan.num_threads, "int8": int8}))


def _ask_engine(
    plan: ProfilePlan, engine: str, job: Mapping[str, Any], worker: Worker
) -> tuple[dict[str, Any], list[MemoryRow]]:
    """Return the answer of an engine's process, and its memory: with the defaults, then as the plan says.

    Raises:
        BackendUnavailableError: when a process failed; the sentence names the engine.
    """
    logger.info("Profiling %s; it is built first if that was never done.", engine)
    job = {**job, "engine": engine}
    rows, foreign_cores = [], 0.0
    trace = plan.trace_of(engine)
    try:
        if _on_onnx_runtime(engine) and plan.allocator != Allocator():
            answer = worker({**job, "task": "profile_memory", "allocator": asdict(Allocator())})
            rows.append(_memory_row(engine, Allocator(), answer))
            foreign_cores = answer["foreign_cores"]
        answer = worker(
            {
                **job,
                "task": "profile",
                "allocator": asdict(plan.allocator),
                "trace": None if trace is None else str(trace.resolve()),
            }
        )
    except BackendUnavailableError as error:
        raise BackendUnavailableError(f"{engine}: {error}") from error
    rows.append(_memory_row(engine, plan.allocator, answer))
    return answer | {"foreign_cores": max(foreign_cores, answer["foreign_cores"])}, rows


def _memory_row(engine: str, allocator: Allocator, answer: Mapping[str, Any]) -> MemoryRow:
    switches = asdict(allocator) if _on_onnx_runtime(engine) else {"arena": None, "mem_pattern": None}
    return MemoryRow(**switches, **answer["memory"], call_ms=answer["call_ms"])


def _read_engine(
    engine: str,
    flops: Mapping[str, int],
    peak: MachinePeak,
    answer: Mapping[str, Any],
    memory: list[MemoryRow],
) -> EngineProfile:
    profile = answer["profile"]
    blocks, total = block_rows(profile["block_ms"], flops, peak, engine)
    return EngineProfile(
        engine=engine,
        call_ms=answer["call_ms"],
        foreign_cores=answer["foreign_cores"],
        num_calls=profile["num_calls"],
        profiled_ms=profile["wall_ms"],
        blocks=blocks,
        total=total,
        operators=operator_rows(profile["operators"], sum(flops.values()), peak),
        request=RequestStages(**answer["request"]),
        memory=tuple(memory),
    )


def _on_onnx_runtime(engine: str) -> bool:
    return engine.startswith("onnx-")
