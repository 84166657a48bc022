"""Examine an installation: machine, packages, models, artifacts, and which engine fits which model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from engines.artifacts.listing import ArtifactFacts, list_artifacts
from engines.defaults import default_engine
from engines.errors import EngineError
from engines.factory import ENGINES, EngineOptions, resolve_engine, resolve_model
from engines.machine.cpu import Cpu, read_cpu
from engines.models import bundled_models
from engines.quality import Quality, read_quality
from use_cases.results import PACKAGES, package_versions

# What requirements.txt brings and the program cannot do without; the rest of PACKAGES is optional.
REQUIRED_PACKAGES = ("numpy", "pillow", "onnxruntime", "torch", "transformers", "tokenizers", "sentencepiece")
ENGINE_PACKAGES: Mapping[str, Sequence[str]] = MappingProxyType(  # by backend
    {
        "onnx": ("onnxruntime", "onnx", "onnxscript", "torch", "transformers"),  # the export needs torch
        "torch": ("torch", "transformers"),
        "bnb": ("bitsandbytes", "accelerate", "torch", "transformers"),
        "openvino": ("openvino", "onnx", "onnxscript", "torch", "transformers"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """Whether an engine can be built here for a model."""

    name: str
    available: bool
    reason: str
    quality: Quality | None = None  # how close it is to float32, if that was measured here


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One offered model: where it is, which engines can run it here, and which is recommended."""

    name: str
    problem: str | None  # why it cannot be used at all
    family: str | None
    engines: tuple[EngineFacts, ...]
    recommended: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All that the doctor found."""

    cpu: Cpu
    packages: Mapping[str, str | None]  # installed versions; None for a missing package
    bundled: tuple[str, ...]
    cached: tuple[str, ...]  # model repositories in the local Hugging Face cache
    artifacts: tuple[ArtifactFacts, ...]
    models: tuple[ModelFacts, ...]
    problems: tuple[str, ...]  # one sentence each; none when nothing needed is missing


def diagnose(models: Sequence[str], options: EngineOptions, verify: bool = False) -> Diagnosis:
    """Examine this installation; loads no model and imports no runtime.

    Args:
        models: the offered models.
        options: where artifacts live, and which weights may be read.
        verify: also compare the artifacts' checksums.
    """
    packages = package_versions((*PACKAGES, "onnxscript"))
    artifacts = tuple(list_artifacts(options.folder, verify))
    examined = tuple(_examine_model(name, packages, options) for name in models)
    problems = [
        f"The package {name} is missing: pip install -r requirements.txt."
        for name in REQUIRED_PACKAGES
        if packages[name] is None
    ]
    problems += [
        f"The model {model.name} cannot be used: {model.problem or 'no engine can run it here.'}"
        for model in examined
        if model.recommended is None
    ]
    problems += [
        f"The artifact {artifact.name} is damaged; it is built again when it is needed."
        for artifact in artifacts
        if artifact.whole is False
    ]
    return Diagnosis(
        cpu=read_cpu(),
        packages=packages,
        bundled=tuple(bundled_models()),
        cached=_cached_models(),
        artifacts=artifacts,
        models=examined,
        problems=tuple(problems),
    )


def _examine_model(name: str, packages: Mapping[str, str | None], options: EngineOptions) -> ModelFacts:
    try:
        spec = resolve_model(name, options)
    except EngineError as error:
        return ModelFacts(
            name=name, problem=str(error), family=None, engines=(), recommended=None, why="It was not found."
        )
    engines: list[EngineFacts] = []
    for engine in ENGINES:
        try:
            resolve_engine(spec, engine)
        except EngineError as error:
            engines.append(EngineFacts(name=engine, available=False, reason=str(error)))
            continue
        missing = [package for package in needed_packages(engine) if packages.get(package) is None]
        reason = f"missing: {', '.join(missing)}" if missing else "its packages are installed"
        quality = read_quality(spec, engine, options.folder) if ENGINES[engine].gate else None
        engines.append(EngineFacts(name=engine, available=not missing, reason=reason, quality=quality))
    default = default_engine(spec, read_cpu(), options.folder)
    best: str | None = default.name
    why = default.why
    if not any(engine.available for engine in engines if engine.name == best):
        best = next((engine.name for engine in engines if engine.available), None)
        why = f"The default, {default.name}, is not available here."
    return ModelFacts(
        name=name, problem=None, family=spec.family, engines=tuple(engines), recommended=best, why=why
    )


def needed_packages(engine: str) -> Sequence[str]:
    """Return the packages that an engine needs, by the backend that its name begins with."""
    return ENGINE_PACKAGES.get(engine.partition("-")[0], ())


def _cached_models() -> tuple[str, ...]:
    """Return the model repositories in the local hub cache; asks no network."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir()
    except CacheNotFound:
        return ()
    return tuple(sorted(repository.repo_id for repository in cache.repos if repository.repo_type == "model"))
