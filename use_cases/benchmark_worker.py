"""One fresh process of a benchmark: python -m use_cases.benchmark_worker; a job on stdin, JSON on stdout.

Imports little, because the time from process start to the first embedding is one of the results.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import psutil

from engines.errors import EngineError
from engines.preparation.images import decode_image
from use_cases.benchmark_subjects import artifact_bytes, job_model, load_subject
from use_cases.latency import Effort, ForeignLoad, measure_latency

ERROR_CODE = 2
_CHUNK = 8  # images embedded at a time for the comparison


def run_towers(job: dict[str, Any]) -> dict[str, Any]:
    """Load an engine, time its first answers, then both towers at every batch size."""
    foreign = ForeignLoad()
    first_image = decode_image(job["images"][0])
    load_start_s = time.perf_counter()
    spec = job_model(job)
    subject = load_subject(spec, job["engine"], job["threads"])
    subject.embed_images(subject.prepare_images([first_image]))
    first_embedding_ms = (time.time() - job["started_s"]) * 1000
    subject.embed_texts(subject.prepare_texts(job["captions"][:1]))
    result: dict[str, Any] = {
        # Runtimes that open a tower when it is first asked would otherwise load in no time.
        "load_ms": (time.perf_counter() - load_start_s) * 1000,
        "first_embedding_ms": first_embedding_ms,
        "start_foreign_cores": foreign.cores(),
        "rss_bytes": psutil.Process().memory_info().rss,
        "artifact_bytes": artifact_bytes(spec, subject),
    }
    largest = max(job["batch_sizes"])
    images = [decode_image(path) for path in _cycle(job["images"], largest)]
    texts = _cycle(job["captions"], largest)
    effort = Effort(**job["effort"])
    towers: dict[str, dict[str, Any]] = {"image": {}, "text": {}}
    for size in job["batch_sizes"]:
        pixels, tokens = subject.prepare_images(images[:size]), subject.prepare_texts(texts[:size])
        for tower, embed, prepared in (
            ("image", subject.embed_images, pixels),
            ("text", subject.embed_texts, tokens),
        ):
            profile = measure_latency(partial(embed, prepared), size, effort)
            towers[tower][str(size)] = asdict(profile)
    return result | {"peak_rss_bytes": peak_rss_bytes(), "towers": towers}


def run_text_memory(job: dict[str, Any]) -> dict[str, Any]:
    """Embed one text and no image; an engine with separate towers then holds the text tower alone."""
    subject = load_subject(job_model(job), job["engine"], job["threads"])
    subject.embed_texts(subject.prepare_texts(job["captions"][:1]))
    return {"text_rss_bytes": psutil.Process().memory_info().rss}


def run_embeddings(job: dict[str, Any]) -> dict[str, Any]:
    """Embed every image and caption into an .npz file, so that engines can be compared."""
    spec = job_model(job)
    subject = load_subject(spec, job["engine"], job["threads"])
    paths, captions = job["images"], job["captions"]
    images = [
        subject.embed_images(
            subject.prepare_images([decode_image(path) for path in paths[start : start + _CHUNK]])
        )
        for start in range(0, len(paths), _CHUNK)
    ]
    texts = [
        subject.embed_texts(subject.prepare_texts(captions[start : start + _CHUNK]))
        for start in range(0, len(captions), _CHUNK)
    ]
    np.savez(job["output"], images=np.concatenate(images), texts=np.concatenate(texts))
    return {}


def peak_rss_bytes(pid: int | None = None) -> int | None:
    """Return the most memory that a process ever held; None where the system does not say.

    Not getrusage's ru_maxrss, which on Linux remembers the parent's size across fork and exec.

    Args:
        pid: of the process; None: this one.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    with suppress(OSError):  # another process may end meanwhile
        for line in status.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if pid is None and sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def _elsewhere(module: str, name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function of another module, whose imports would delay the first embedding of a tower."""

    def run(job: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = getattr(importlib.import_module(module), name)(job)
        return result

    return run


def _cycle(items: list[str], count: int) -> list[str]:
    return [items[index % len(items)] for index in range(count)]


TASKS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = MappingProxyType(
    {
        "towers": run_towers,
        "text_memory": run_text_memory,
        "embeddings": run_embeddings,
        "reference": _elsewhere("use_cases.comparison.engine_quality", "run_reference"),
        "prepare": _elsewhere("use_cases.request_tasks", "run_prepare"),
        "zero_shot": _elsewhere("use_cases.request_tasks", "run_zero_shot"),
        "clients": _elsewhere("use_cases.request_tasks", "run_clients"),
        "tracing": _elsewhere("use_cases.request_tasks", "run_tracing"),
        "int8_rate": _elsewhere("use_cases.request_tasks", "run_int8_rate"),
        "profile": _elsewhere("use_cases.profiling.tasks", "run_profile"),
        "profile_memory": _elsewhere("use_cases.profiling.tasks", "run_memory"),
        "profile_flops": _elsewhere("use_cases.profiling.tasks", "run_flops"),
        "profile_peak": _elsewhere("use_cases.profiling.tasks", "run_peak"),
        "load_loop": _elsewhere("use_cases.load.tight_loop", "run_loop"),
        "load_policies": _elsewhere("use_cases.load.policies", "run_policies"),
    }
)


def main() -> int:
    """Run the job on stdin; the last line of stdout is its result, or {"error": one sentence}."""
    job = json.load(sys.stdin)
    try:
        result = TASKS[job["task"]](job)
    except EngineError as error:
        print(json.dumps({"error": str(error)}))
        return ERROR_CODE
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
