"""A tower under its runtime's own profiler: the contract, and which engine has which profiler."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from engines.base import Embeddings, Engine
from engines.errors import InvalidInputError
from engines.models import ModelSpec
from engines.onnx.allocator import Allocator
from engines.profiling.blocks import Tower
from engines.profiling.calls import Call, CallLimits

_MODULES = MappingProxyType(  # by what an engine's name begins with
    {
        "onnx": "engines.profiling.ort_profile",
        "torch": "engines.profiling.torch_profile",
        "bnb": "engines.profiling.torch_profile",
    }
)


class TowerProfiler(Protocol):
    """One tower of a loaded engine, to be called plainly or under the profiler."""

    engine: Engine
    runtime_function: Callable[..., Any]  # a Python function that does nothing but compute a tower

    def record(self, items: Sequence[Any], limits: CallLimits, trace: Path | None = None) -> list[Call]:
        """Call the tower with a batch under the profiler; return the calls after the warm-up.

        Args:
            items: prepared images or texts.
            limits: how many calls.
            trace: where to keep the profile in Chrome's Trace Event Format, the warm-up included.

        Raises:
            InferenceError: when the batch fails.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilerOptions:
    """How the engine is loaded; each takes what concerns it."""

    num_threads: int
    allocator: Allocator = field(default_factory=Allocator)  # of ONNX Runtime


def has_profiler(engine: str) -> bool:
    """Tell whether an engine can be profiled."""
    return _prefix(engine) in _MODULES


def profiler_module(engine: str) -> str:
    """Return the module that profiles an engine; imports nothing.

    Raises:
        InvalidInputError: when there is none.
    """
    module = _MODULES.get(_prefix(engine))
    if module is None:
        raise InvalidInputError(
            f"The engine {engine} has no profiler here; those whose names begin with"
            f" {', '.join(f'{name}-' for name in _MODULES)} have one."
        )
    return module


def _prefix(engine: str) -> str:
    return engine.partition("-")[0]


def import_runtime(engine: str) -> None:
    """Import the runtime that an engine computes with, so that its memory can be told from the weights'.

    What reads a checkpoint or makes its layers, such as transformers or bitsandbytes, counts as loading.
    """
    importlib.import_module(profiler_module(engine))


def load_profiler(spec: ModelSpec, engine: str, tower: Tower, options: ProfilerOptions) -> TowerProfiler:
    """Load an engine, ungated, with the tower ready for its first call.

    Raises:
        InvalidInputError: when the engine has no profiler, or the checkpoint is damaged.
        BackendUnavailableError: when an optional package, a tower's file or the cache folder is missing.
    """
    module = importlib.import_module(profiler_module(engine))
    profiler: TowerProfiler = module.load(spec, engine, tower, options)
    return profiler


def embed_items(engine: Engine, tower: Tower, items: Sequence[Any]) -> Embeddings:
    """Embed prepared images or texts, as a request would."""
    return engine.embed_pixels(items) if tower == "image" else engine.embed_tokens(items)
