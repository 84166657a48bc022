"""Load a model on an engine by their names; the only file that knows every engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.base import Engine
from engines.checkpoints import find_checkpoint, read_checkpoint_spec
from engines.errors import InvalidInputError, UnknownModelError
from engines.models import ModelSpec, bundled_models


def resolve_model(name: str) -> ModelSpec:
    """Return the facts of a bundled model, a checkpoint folder or a hub id in the local cache.

    Raises:
        UnknownModelError: when nothing of that name is on this machine.
        InvalidInputError: when the folder is not a SigLIP or CLIP checkpoint.
    """
    if name in bundled_models():
        return bundled_models()[name]
    try:
        folder = find_checkpoint(name)
    except UnknownModelError as error:
        raise UnknownModelError(f"{error} The bundled models are {', '.join(bundled_models())}.") from None
    return read_checkpoint_spec(folder, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an engine is loaded; each engine takes what concerns it."""

    cache_dir: Path | None = None  # of built artifacts; the user's cache folder when None
    num_threads: int = 0  # per operator; 0 leaves it to the runtime


def _load_onnx(spec: ModelSpec, options: EngineOptions) -> Engine:
    from engines.onnx_engine import OnnxEngine

    return OnnxEngine(spec, cache_dir=options.cache_dir, num_threads=options.num_threads)


def _load_torch(spec: ModelSpec, options: EngineOptions) -> Engine:
    from engines.torch_engine import TorchEngine

    return TorchEngine(spec, num_threads=options.num_threads)


@dataclass(frozen=True, slots=True)
class _EngineEntry:
    load: Callable[[ModelSpec, EngineOptions], Engine]
    families: frozenset[str]  # of models that it can run


ENGINES: dict[str, _EngineEntry] = {  # the fastest first
    "onnx-fp32": _EngineEntry(_load_onnx, frozenset({"bundled"})),
    "torch-fp32": _EngineEntry(_load_torch, frozenset({"bundled", "siglip", "clip"})),
}


def resolve_engine(spec: ModelSpec, engine: str | None) -> str:
    """Return the engine's name; the first that can run the model when none is given.

    Raises:
        UnknownModelError: when there is no engine of that name.
        InvalidInputError: when that engine cannot run the model.
    """
    able = [name for name, entry in ENGINES.items() if spec.family in entry.families]
    if engine is None:
        return able[0]
    if engine not in ENGINES:
        raise UnknownModelError(f"Unknown engine {engine!r}; the engines are {', '.join(ENGINES)}.")
    if engine not in able:
        raise InvalidInputError(f"The engine {engine} cannot run {spec.name!r}; use {' or '.join(able)}.")
    return engine


def load_engine(
    model: str | ModelSpec, engine: str | None = None, options: EngineOptions | None = None
) -> Engine:
    """Load a model's weights on an engine; blocks, for up to a minute when an artifact is built.

    Args:
        model: what `resolve_model` takes, or what it returned.
        engine: a key of ENGINES; the model's fastest exact one when left out.
        options: how to load it.

    Raises:
        UnknownModelError: when the model or the engine is not known.
        InvalidInputError: when the checkpoint is damaged or the engine cannot run it.
        BackendUnavailableError: when an optional package, a tower's file or the cache folder is missing.
    """
    spec = resolve_model(model) if isinstance(model, str) else model
    return ENGINES[resolve_engine(spec, engine)].load(spec, options or EngineOptions())
