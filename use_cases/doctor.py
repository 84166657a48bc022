"""Examine an installation: machine, packages, models, artifacts, and which engine fits which model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType

from engines.artifacts.listing import ArtifactFacts, list_artifacts
from engines.bundled.towers import TOWERS
from engines.defaults import default_engine
from engines.errors import EngineError
from engines.factory import ENGINES, EngineOptions, resolve_engine, resolve_model
from engines.machine.cpu import Cpu, read_cpu
from engines.models import Family, bundled_models
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
FAMILY_PACKAGES: Mapping[Family, Sequence[str]] = MappingProxyType(  # what every engine needs for such models
    {
        "bundled": ("efficientnet_lite_pytorch", *(tower.distribution for tower in TOWERS.values())),
        "open_clip": ("open_clip_torch", "timm"),
    }
)
_EXAMINED_PACKAGES = tuple(dict.fromkeys((*PACKAGES, "onnxscript", *chain(*FAMILY_PACKAGES.values()))))


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
    packages = package_versions(_EXAMINED_PACKAGES)
    cached, cache_problem = _cached_models()
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
    problems += [cache_problem] if cache_problem else []
    return Diagnosis(
        cpu=read_cpu(),
        packages=packages,
        bundled=tuple(bundled_models()),
        cached=cached,
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
        missing = [each for each in needed_packages(engine, spec.family) if packages.get(each) is None]
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
        name=name,
        problem=_missing_family_packages(spec.family, packages),
        family=spec.family,
        engines=tuple(engines),
        recommended=best,
        why=why,
    )


def needed_packages(engine: str, family: Family) -> Sequence[str]:
    """Return the packages that an engine needs for a family's models.

    Args:
        engine: whose name begins with its backend.
        family: of the models.
    """
    return *ENGINE_PACKAGES.get(engine.partition("-")[0], ()), *FAMILY_PACKAGES.get(family, ())


def _missing_family_packages(family: Family, packages: Mapping[str, str | None]) -> str | None:
    """Say what a model lacks on every engine; None when it lacks nothing."""
    missing = [name for name in FAMILY_PACKAGES.get(family, ()) if packages.get(name) is None]
    return f"It needs {' and '.join(missing)}: pip install -r requirements.txt." if missing else None


def _cached_models() -> tuple[tuple[str, ...], str | None]:
    """Return the model repositories in the local hub cache, and why it cannot be read; asks no network."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    folder = constants.HF_HUB_CACHE
    try:
        cache = scan_cache_dir(folder)
    except CacheNotFound:
        return (), None
    except (ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or "it is a file"  # that alone is a ValueError
        return (), f"The Hugging Face cache {folder} cannot be read ({reason}); set HF_HUB_CACHE to a folder."
    models = sorted(repository.repo_id for repository in cache.repos if repository.repo_type == "model")
    return tuple(models), None
