"""Load a model on an engine by their names; the only file that knows every engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import psutil

from engines.artifacts.store import default_cache_dir
from engines.base import Engine
from engines.checkpoints.find import find_checkpoint, read_checkpoint_spec
from engines.checkpoints.registry import KNOWN_MODELS
from engines.defaults import default_engine
from engines.errors import InvalidInputError, QualityGateError, UnknownModelError
from engines.machine.cpu import limited_threads, read_cpu
from engines.models import Family, ModelSpec, bundled_models
from engines.onnx.graphs import METHODS
from engines.optional_packages import require_packages
from engines.quality import GATE_4_BIT, GATE_8_BIT, Gate, ensure_quality


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How a model is found and an engine loaded; each engine takes what concerns it."""

    cache_dir: Path | None = None  # of built artifacts; the user's cache folder when None
    num_threads: int = 0  # per operator; 0 leaves it to the runtime
    gated: bool = True  # refuse a quantized engine whose figures are too far from float32's
    allow_download: bool = False  # of models from the hub; for names that strangers cannot choose
    allow_pickled_weights: bool = False  # torch's own format, where there are no safetensors

    @property
    def folder(self) -> Path:
        """Return the folder of built artifacts."""
        return self.cache_dir or default_cache_dir()


def resolve_model(name: str, options: EngineOptions | None = None) -> ModelSpec:
    """Return the facts of a bundled model, a checkpoint folder or a model of the hub.

    Raises:
        UnknownModelError: when nothing of that name can be found.
        InvalidInputError: when the folder is not a checkpoint that can be loaded.
        BackendUnavailableError: when a download was allowed and failed.
    """
    options = options or EngineOptions()
    if name in bundled_models():
        return bundled_models()[name]
    try:
        folder = find_checkpoint(
            name, allow_download=options.allow_download, allow_pickled=options.allow_pickled_weights
        )
    except UnknownModelError as error:
        known = ", ".join([*bundled_models(), *(model.name for model in KNOWN_MODELS)])
        raise UnknownModelError(f"{error} Known models are {known}.") from None
    return read_checkpoint_spec(folder, name, allow_pickled=options.allow_pickled_weights)


def resolve_for_builder(name: str) -> ModelSpec:
    """Do what `resolve_model` does where who started the process has found the model already.

    That one has also refused weights in torch's own format, if they are not allowed.
    """
    return resolve_model(name, EngineOptions(allow_pickled_weights=True))


def _load_onnx(spec: ModelSpec, options: EngineOptions) -> Engine:
    from engines.onnx.artifacts import ensure_exported

    return _on_onnx_runtime("onnx-fp32", spec, ensure_exported(spec, options.folder), options)


def _load_quantized_onnx(engine: str, spec: ModelSpec, options: EngineOptions) -> Engine:
    from engines.onnx.artifacts import ensure_quantized

    return _on_onnx_runtime(engine, spec, ensure_quantized(spec, engine, options.folder), options)


def _on_onnx_runtime(name: str, spec: ModelSpec, folder: Path, options: EngineOptions) -> Engine:
    from engines.onnx.engine import GraphEngine
    from engines.onnx.ort_runtime import OrtRuntime

    return GraphEngine(spec, name=name, folder=folder, runtime=OrtRuntime(options.num_threads))


def _load_torch(spec: ModelSpec, options: EngineOptions) -> Engine:
    from engines.pytorch.engine import load_torch_engine

    return load_torch_engine(spec, options.num_threads)


def _load_torch_bf16(spec: ModelSpec, options: EngineOptions) -> Engine:
    from engines.pytorch.engine import load_torch_bf16_engine

    return load_torch_bf16_engine(spec, options.num_threads)


def _load_torch_int8(spec: ModelSpec, options: EngineOptions) -> Engine:
    from engines.pytorch.int8 import load_torch_int8_engine

    return load_torch_int8_engine(spec, options.num_threads)


def _bitsandbytes(number_format: str) -> Callable[[ModelSpec, EngineOptions], Engine]:
    def load(spec: ModelSpec, options: EngineOptions) -> Engine:
        from engines.bnb.engine import load_bitsandbytes_engine

        cache_dir = options.folder
        return load_bitsandbytes_engine(spec, number_format, cache_dir, options.num_threads)

    return load


def _load_openvino(spec: ModelSpec, options: EngineOptions) -> Engine:
    require_packages("openvino", "openvino")
    from engines.onnx.artifacts import ensure_exported
    from engines.onnx.engine import GraphEngine
    from engines.onnx.openvino_runtime import OpenVinoRuntime

    folder = ensure_exported(spec, options.folder)
    return GraphEngine(spec, name="openvino", folder=folder, runtime=OpenVinoRuntime(options.num_threads))


_SMALL_NOT_FAST = "saves memory, not time, on processors without"
_ALL_FAMILIES: frozenset[Family] = frozenset(get_args(Family))


@dataclass(frozen=True, slots=True)
class _EngineEntry:
    load: Callable[[ModelSpec, EngineOptions], Engine]
    families: frozenset[Family] = _ALL_FAMILIES  # of models that it can run
    gate: Gate | None = None  # None: as exact as float32
    note: str = ""  # what a user should know before choosing it


def _quantized_onnx(name: str, gate: Gate) -> _EngineEntry:
    return _EngineEntry(partial(_load_quantized_onnx, name), gate=gate)


def _memory_mode(number_format: str, gate: Gate) -> _EngineEntry:
    return _EngineEntry(_bitsandbytes(number_format), gate=gate, note=f"{_SMALL_NOT_FAST} AVX-512")


ENGINES: dict[str, _EngineEntry] = {
    "onnx-fp32": _EngineEntry(_load_onnx),
    **{
        name: _quantized_onnx(name, GATE_4_BIT if method == "4bit" else GATE_8_BIT)
        for name, method in METHODS.items()
    },
    "torch-fp32": _EngineEntry(_load_torch),
    "torch-int8": _EngineEntry(_load_torch_int8, gate=GATE_8_BIT),
    "torch-bf16": _EngineEntry(
        _load_torch_bf16, gate=GATE_8_BIT, note=f"{_SMALL_NOT_FAST} AVX-512 BF16 or AMX"
    ),
    "bnb-int8": _memory_mode("int8", GATE_8_BIT),
    "bnb-nf4": _memory_mode("nf4", GATE_4_BIT),
    "bnb-fp4": _memory_mode("fp4", GATE_4_BIT),
    "openvino": _EngineEntry(
        _load_openvino, note="" if find_spec("openvino") else "needs the package openvino"
    ),
}


def check_engines(names: Iterable[str]) -> None:
    """Check that there are engines of these names.

    Raises:
        UnknownModelError: when there is none of a name; the sentence has the first such name.
    """
    for name in names:
        if name not in ENGINES:
            raise UnknownModelError(f"Unknown engine {name[:80]!r}; the engines are {', '.join(ENGINES)}.")


def resolve_engine(spec: ModelSpec, engine: str | None, options: EngineOptions | None = None) -> str:
    """Return the engine's name; the model's default on this machine when none is given.

    Raises:
        UnknownModelError: when there is no engine of that name.
        InvalidInputError: when that engine cannot run the model.
    """
    if engine is None:
        return default_engine(spec, read_cpu(), (options or EngineOptions()).folder).name
    check_engines([engine])
    able = [name for name, entry in ENGINES.items() if spec.family in entry.families]
    if engine not in able:
        raise InvalidInputError(f"The engine {engine} cannot run {spec.name!r}; use {' or '.join(able)}.")
    return engine


def load_engine(
    model: str | ModelSpec, engine: str | None = None, options: EngineOptions | None = None
) -> Engine:
    """Load a model's weights on an engine; blocks, for up to a minute when an artifact is built.

    Args:
        model: what `resolve_model` takes, or what it returned.
        engine: a key of ENGINES; the model's default on this machine when left out.
        options: how to load it.

    Raises:
        UnknownModelError: when the model or the engine is not known.
        InvalidInputError: when the checkpoint is damaged or the engine cannot run it.
        QualityGateError: when the engine is too far from float32 for this model, unless ungated.
        BackendUnavailableError: when an optional package, a tower's file or the cache folder is missing.
    """
    options = options or EngineOptions()
    spec = resolve_model(model, options) if isinstance(model, str) else model
    name = resolve_engine(spec, engine, options)
    if not options.num_threads:
        cores = os.cpu_count(), psutil.cpu_count(logical=False)
        options = replace(options, num_threads=limited_threads(read_cpu(), *cores))
    entry = ENGINES[name]
    loaded = entry.load(spec, options)
    if entry.gate and options.gated:
        failures = entry.gate.failures(ensure_quality(spec, name, options.folder))
        if failures:
            raise QualityGateError(
                f"The engine {name} failed its quality gate for {spec.name!r}: {', '.join(failures)};"
                " choose another engine, or force this one with SIGLIP_GATED=false."
            )
    return loaded
