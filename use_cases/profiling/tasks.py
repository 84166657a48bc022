"""What the fresh processes of a profile do: an engine's life and its profile, a model's FLOPs, the peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from engines.machine.malloc import keep_freed_memory
from engines.models import ModelSpec
from engines.onnx.allocator import Allocator
from engines.preparation.images import decode_image
from engines.preparation.inputs import image_inputs, text_inputs
from engines.preparation.preprocess import Preprocessor
from engines.profiling.calls import CallLimits, summarize_calls
from engines.profiling.profilers import (
    ProfilerOptions,
    TowerProfiler,
    embed_items,
    import_runtime,
    load_profiler,
)
from use_cases.benchmark_subjects import job_model
from use_cases.latency import Effort, ForeignLoad, measure_latency
from use_cases.profiling.requests import sample_requests


def run_profile(job: dict[str, Any]) -> dict[str, Any]:
    """Load an engine, watch its memory, profile one of its towers, then sample whole requests."""
    life = _Life(job)
    facts = life.measure()
    trace = Path(job["trace"]) if job["trace"] else None
    foreign = ForeignLoad()
    calls = life.profiler.record(life.items, CallLimits(seconds=job["seconds"]), trace)
    profile = summarize_calls(calls, life.spec.family)
    images = [Path(path) for path in job["images"]]
    stages = sample_requests(life.profiler, life.preprocessor, images, job["captions"], job["seconds"])
    facts["foreign_cores"] = max(facts["foreign_cores"], foreign.cores())
    return facts | {"profile": asdict(profile), "request": asdict(stages)}


def run_memory(job: dict[str, Any]) -> dict[str, Any]:
    """Load an engine and watch its memory and its time, without a profiler."""
    return _Life(job).measure()


def run_flops(job: dict[str, Any]) -> dict[str, Any]:
    """Count the tower's arithmetic for the very batch that the engines are given."""
    from engines.profiling.flops import count_flops

    spec = job_model(job)
    items = tower_items(Preprocessor(spec), job)
    inputs = image_inputs(spec, items) if job["tower"] == "image" else text_inputs(spec, items)
    return {"flops": count_flops(spec, job["tower"], inputs)}


def run_peak(job: dict[str, Any]) -> dict[str, Any]:
    """Measure the machine's float32 arithmetic, and that of 8-bit integers where an engine has such."""
    from engines.profiling.peak import measure_float32_peak

    foreign = ForeignLoad()
    peak = measure_float32_peak(job["threads"])
    facts: dict[str, Any] = {"float32_gflops": peak.gflops, "library": peak.library}
    if job["int8"]:
        from engines.machine.int8_rate import measure_int8_gops, measure_int8_peak_gops

        facts["int8_gops"] = measure_int8_gops(job["threads"])
        facts["int8_peak_gops"] = measure_int8_peak_gops(job["threads"])
    return facts | {"foreign_cores": foreign.cores()}


def tower_items(preprocessor: Preprocessor, job: dict[str, Any]) -> Sequence[Any]:
    """Return the prepared batch of a job, the same in each of its processes."""
    size = range(job["batch_size"])
    if job["tower"] == "image":
        paths = job["images"]
        images = (decode_image(paths[index % len(paths)]) for index in size)
        return [preprocessor.prepare_image(image) for image in images]
    captions = job["captions"]
    return [preprocessor.prepare_text(captions[index % len(captions)]) for index in size]


class _Life:
    """An engine's process from its imports to its steady state."""

    profiler: TowerProfiler

    def __init__(self, job: dict[str, Any]) -> None:
        keep_freed_memory()  # as the server does
        self._job = job
        self.spec: ModelSpec = job_model(job)
        self.preprocessor = Preprocessor(self.spec)
        self.items = tower_items(self.preprocessor, job)  # before the memory is first read: it is no engine's

    def measure(self) -> dict[str, Any]:
        """Load the engine and call it until it is steady; return times and resident memory."""
        job = self._job
        import_runtime(job["engine"])
        memory = {"import_bytes": _resident_bytes()}
        options = ProfilerOptions(num_threads=job["threads"], allocator=Allocator(**job["allocator"]))
        self.profiler = load_profiler(self.spec, job["engine"], job["tower"], options)
        memory["load_bytes"] = _resident_bytes()
        embed = partial(embed_items, self.profiler.engine, job["tower"], self.items)
        embed()
        memory["first_bytes"] = _resident_bytes()
        effort = Effort(num_warmup=1, min_iters=3, min_duration_s=job["seconds"])
        latency = measure_latency(embed, job["batch_size"], effort)
        memory["steady_bytes"] = _resident_bytes()
        return {"memory": memory, "call_ms": latency.p50_ms, "foreign_cores": latency.foreign_cores}


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)
