"""Where the time of whole requests goes: files, decoding, preparing, the engine, and the Python around it.

A sampling profiler looks at the stack of Python's functions a thousand times a second. What it cannot look
into, such as a runtime at work, belongs to the function that called it.
"""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from engines.base import Engine
from engines.preparation.images import decode_image, read_image_file
from engines.preparation.preprocess import Preprocessor
from engines.profiling.profilers import TowerProfiler
from use_cases.profiling.results import RequestStages
from use_cases.zero_shot import fill_template, min_image_side, scores_from_cosines

IO, DECODE, PREPARE, ENGINE, PYTHON = "I/O", "decode", "prepare", "engine call", "Python"
STAGES = (IO, DECODE, PREPARE, ENGINE, PYTHON)
NUM_LABELS = 5  # of a request, new to the engine in each: the tool knows no cache
_MISSING = (
    "The stages of a request are not measured: they need the package pyinstrument; run: pip install"
    " pyinstrument"
)
_INTERVAL_S = 0.001
_MIN_REQUESTS = 2
Marks: TypeAlias = Mapping[tuple[str, str | None], str]  # a function's name and file -> its stage


def sample_requests(
    profiler: TowerProfiler,
    preprocessor: Preprocessor,
    images: Sequence[Path],
    captions: Sequence[str],
    seconds: float,
) -> RequestStages:
    """Ask zero-shot requests for some time and return what their stages took.

    Args:
        profiler: holds the engine, and says which function is its runtime.
        preprocessor: of the engine's model.
        images: files, one a request, in turn.
        captions: the first ones are the labels.
        seconds: to spend; two requests at least are asked.
    """
    try:
        from pyinstrument import Profiler
    except ImportError:
        return RequestStages(reason=_MISSING)
    engine = profiler.engine
    labels = [fill_template(engine.spec.prompt_templates[0], label) for label in captions[:NUM_LABELS]]
    path = itertools.cycle(images)
    ask_zero_shot(engine, preprocessor, next(path), labels)  # opens what is opened at the first call
    sampler = Profiler(interval=_INTERVAL_S, async_mode="disabled")
    num_requests, start_s = 0, time.perf_counter()
    with sampler:
        while num_requests < _MIN_REQUESTS or time.perf_counter() - start_s < seconds:
            ask_zero_shot(engine, preprocessor, next(path), labels)
            num_requests += 1
    elapsed_s = time.perf_counter() - start_s
    session = sampler.last_session
    root = session.root_frame() if session else None
    totals_s = stage_seconds(root, stage_marks(profiler)) if root else dict.fromkeys(STAGES, 0.0)
    sampled_s = sum(totals_s.values()) or 1.0
    return RequestStages(
        num_requests=num_requests,
        ms=elapsed_s / num_requests * 1000,
        shares={stage: totals_s[stage] / sampled_s for stage in STAGES},
    )


def ask_zero_shot(engine: Engine, preprocessor: Preprocessor, path: Path, labels: Sequence[str]) -> Any:
    """Score labels for an image file as a request does, on one thread; return the scores [1, labels]."""
    image = decode_image(path, min_image_side([engine.spec]))
    rows = engine.embed_pixels([preprocessor.prepare_image(image)])
    texts = engine.embed_tokens([preprocessor.prepare_text(label) for label in labels])
    return scores_from_cosines(rows @ texts.T, engine.spec)[1]


def stage_marks(profiler: TowerProfiler) -> Marks:
    """Return the stage of each function that begins one."""
    functions: dict[Callable[..., Any], str] = {
        read_image_file: IO,
        decode_image: DECODE,
        Preprocessor.prepare_image: PREPARE,
        Preprocessor.prepare_text: PREPARE,
        profiler.runtime_function: ENGINE,
    }
    marks: dict[tuple[str, str | None], str] = {}
    for function, stage in functions.items():
        code = inspect.unwrap(function).__code__
        marks[code.co_name, code.co_filename] = stage
    return marks


def stage_seconds(frame: Any, marks: Marks, stage: str = PYTHON) -> dict[str, float]:
    """Return the seconds of each stage below a frame, a `pyinstrument.frame.Frame`.

    A frame belongs to the innermost function around it that begins a stage.
    """
    stage = marks.get((frame.function, frame.file_path), stage)
    totals = dict.fromkeys(STAGES, 0.0)
    totals[stage] = frame.time - sum(child.time for child in frame.children)
    for child in frame.children:
        for name, seconds in stage_seconds(child, marks, stage).items():
            totals[name] += seconds
    return totals
