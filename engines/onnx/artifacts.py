"""Build a model's ONNX graphs once and keep them: exported ones, and quantized ones made of those."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from engines.artifacts.builders import run_builder
from engines.artifacts.store import code_sha256, keep_artifact, package_versions
from engines.calibration import calibration_set
from engines.checkpoints.find import fingerprint
from engines.errors import UnknownModelError
from engines.machine.cpu import read_cpu
from engines.models import Family, ModelSpec
from engines.onnx.graphs import BLOCKS, METHODS, OPSET, REPORT

_EXPORT_CODE = (
    "onnx/export.py",
    "onnx/files.py",
    "pytorch/towers.py",
    "pytorch/siglip2_towers.py",
    "pytorch/open_clip_towers.py",
    "preparation/naflex.py",
    "preparation/inputs.py",
    "bundled/model.py",
    "bundled/text_tower.py",
)
_QUANTIZE_CODE = (
    "onnx/build.py",
    "onnx/files.py",
    "onnx/quantize.py",
    "onnx/ranges.py",
    "onnx/weights.py",
    "onnx/sensitivity.py",
)
_EXPORT_PACKAGES = ("torch", "onnxscript")
_FAMILY_PACKAGES: dict[Family, tuple[str, ...]] = {
    "bundled": (),
    "siglip": ("transformers",),
    "siglip2": ("transformers",),
    "clip": ("transformers",),
    "open_clip": ("open_clip_torch", "timm"),
}
logger = logging.getLogger(__name__)


def ensure_exported(spec: ModelSpec, cache_dir: Path) -> Path:
    """Return the folder with a model's float32 graphs, exporting them when they are missing or damaged.

    Raises:
        BackendUnavailableError: when the export fails or the cache folder cannot be written.
    """
    facts: dict[str, object] = {
        "model": fingerprint(spec),
        "image_size": spec.image_size,
        "opset": OPSET,
        "versions": package_versions(*_EXPORT_PACKAGES, *_FAMILY_PACKAGES[spec.family]),
        "code_sha256": code_sha256(*_EXPORT_CODE),
    }

    def export(folder: Path) -> None:
        logger.info("Exporting %s to ONNX; this happens once and takes up to two minutes.", spec.name)
        run_builder("engines.onnx.export", spec.name, str(folder.resolve()))

    return keep_artifact(cache_dir, f"{spec.slug}-onnx-fp32", facts, export)


def ensure_quantized(spec: ModelSpec, engine: str, cache_dir: Path) -> Path:
    """Return the folder with a quantized engine's graphs, building them when they are missing or damaged.

    Raises:
        BackendUnavailableError: when the build fails or the cache folder cannot be written.
    """
    source = ensure_exported(spec, cache_dir)
    facts: dict[str, object] = {
        "source": source.name,
        "engine": engine,
        "calibration": calibration_set().sha256,
        "int8_dot_product": read_cpu().has_int8_dot_product,
        "versions": package_versions("onnx", "onnxruntime"),
        "code_sha256": code_sha256(*_QUANTIZE_CODE),
    }

    def quantize(folder: Path) -> None:
        logger.info("Quantizing %s to %s; this happens once and takes some minutes.", spec.name, engine)
        run_builder("engines.onnx.build", spec.name, engine, str(source.resolve()), str(folder.resolve()))

    return keep_artifact(cache_dir, f"{spec.slug}-{engine}", facts, quantize)


def ensure_block_losses(
    spec: ModelSpec, engine: str, cache_dir: Path
) -> tuple[dict[str, object], dict[str, object]]:
    """Return what each block of a quantized engine loses alone, and the engine's own report, by tower.

    Raises:
        UnknownModelError: when the engine is not a quantized ONNX one.
        BackendUnavailableError: when the build fails or the cache folder cannot be written.
    """
    if engine not in METHODS:
        raise UnknownModelError(f"Unknown quantized engine {engine!r}; known are {', '.join(METHODS)}.")
    built, source = ensure_quantized(spec, engine, cache_dir), ensure_exported(spec, cache_dir)

    def measure(folder: Path) -> None:
        logger.info("Quantizing %s block by block; this happens once and takes minutes.", spec.name)
        arguments = (spec.name, engine, str(source.resolve()), str(folder.resolve()))
        run_builder("engines.onnx.build", "--blocks", *arguments)

    name = f"{spec.slug}-{engine}-blocks"
    folder = keep_artifact(cache_dir, name, {"artifact": built.name}, measure)
    losses, report = (json.loads(path.read_text("utf-8")) for path in (folder / BLOCKS, built / REPORT))
    return losses, report
