"""Load a model on an engine by their names; the only file that knows every engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.base import Engine
from engines.checkpoints import find_checkpoint, read_checkpoint_spec
from engines.errors import UnknownModelError
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


def _load_torch(spec: ModelSpec, cache_dir: Path | None, num_threads: int) -> Engine:
    from engines.torch_engine import TorchEngine

    return TorchEngine(spec, num_threads=num_threads)


def _load_onnx(spec: ModelSpec, cache_dir: Path | None, num_threads: int) -> Engine:
    from engines.onnx_engine import OnnxEngine

    return OnnxEngine(spec, cache_dir=cache_dir, num_threads=num_threads)


ENGINES: dict[str, Callable[[ModelSpec, Path | None, int], Engine]] = {
    "onnx-fp32": _load_onnx,
    "torch-fp32": _load_torch,
}


def resolve_engine(spec: ModelSpec, engine: str | None) -> str:
    """Return the engine's name; the fastest exact one that can run the model when none is given.

    Raises:
        UnknownModelError: when there is no engine of that name.
    """
    if engine is None:
        return "onnx-fp32" if spec.family == "bundled" else "torch-fp32"
    if engine not in ENGINES:
        raise UnknownModelError(f"Unknown engine {engine!r}; the engines are {', '.join(ENGINES)}.")
    return engine


def load_engine(
    model: str | ModelSpec, engine: str | None = None, *, cache_dir: Path | None = None, num_threads: int = 0
) -> Engine:
    """Load a model's weights on an engine; blocks, for up to half a minute when an artifact is built.

    Args:
        model: what `resolve_model` takes, or what it returned.
        engine: a key of ENGINES; the model's default when left out.
        cache_dir: where built artifacts are kept; the user's cache folder when left out.
        num_threads: threads per operator; 0 leaves it to the runtime.

    Raises:
        UnknownModelError: when the model or the engine is not known.
        InvalidInputError: when the checkpoint is damaged or the engine cannot run it.
        BackendUnavailableError: when an optional package or a tower's file is missing.
    """
    spec = resolve_model(model) if isinstance(model, str) else model
    return ENGINES[resolve_engine(spec, engine)](spec, cache_dir, num_threads)
