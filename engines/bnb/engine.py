"""bnb-int8, bnb-nf4 and bnb-fp4: towers with bitsandbytes' layers, loaded from weights stored in that format.

The model is quantized once, in another process, and kept; this one never holds the float32 weights.
Layers are expanded one at a time to compute in float32, so that memory is saved and, without AVX-512,
time is lost.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from engines.artifacts.builders import run_builder
from engines.artifacts.store import code_sha256, keep_artifact, package_versions
from engines.checkpoints.find import fingerprint
from engines.models import ModelSpec
from engines.optional_packages import require_packages
from engines.pytorch.engine import TorchEngine
from engines.pytorch.layers import replace_linear
from engines.pytorch.towers import (
    Towers,
    load_towers,
    load_transformers_model,
    split_model,
    uses_transformers,
)

_CODE = (
    "bnb/build.py",
    "bnb/layers.py",
    "pytorch/layers.py",
    "pytorch/towers.py",
    "bundled/model.py",
    "bundled/text_tower.py",
)
logger = logging.getLogger(__name__)


def load_bitsandbytes_engine(
    spec: ModelSpec, number_format: str, cache_dir: Path, num_threads: int = 0
) -> TorchEngine:
    """Load a model's quantized weights, making them first where they are missing.

    Args:
        spec: the model.
        number_format: int8, nf4 or fp4.
        cache_dir: where the quantized weights are kept.
        num_threads: threads per operator; 0 leaves PyTorch's choice.

    Raises:
        BackendUnavailableError: when a package is missing or the cache folder cannot be written.
        InvalidInputError: when the checkpoint's files are damaged.
    """
    name = f"bnb-{number_format}"
    require_packages(name, "bitsandbytes", "accelerate")
    logging.getLogger("bitsandbytes.autograd").setLevel(logging.ERROR)  # a warning a layer and call
    folder = _ensure_quantized(spec, number_format, cache_dir)
    load = (
        _load_transformers if uses_transformers(spec) else partial(_load_towers, number_format=number_format)
    )
    from engines.bnb.layers import keep_odd_layers_unpacked

    towers = load(spec, folder)
    for tower in towers:
        keep_odd_layers_unpacked(tower)
    return TorchEngine(spec, name=name, towers=towers, num_threads=num_threads, folder=folder)


def _ensure_quantized(spec: ModelSpec, number_format: str, cache_dir: Path) -> Path:
    facts: dict[str, object] = {
        "model": fingerprint(spec),
        "format": number_format,
        "versions": package_versions("torch", "transformers", "bitsandbytes"),
        "code_sha256": code_sha256(*_CODE),
    }

    def quantize(folder: Path) -> None:
        logger.info("Quantizing %s to %s; this happens once.", spec.name, number_format)
        run_builder("engines.bnb.build", number_format, spec.name, str(folder.resolve()))

    return keep_artifact(cache_dir, f"{spec.slug}-bnb-{number_format}", facts, quantize)


def _load_transformers(spec: ModelSpec, folder: Path) -> Towers:
    stored = dataclasses.replace(spec, folder=folder, pickled_weights=False)  # they were saved anew
    return split_model(stored, load_transformers_model(stored, device_map={"": "cpu"}))


def _load_towers(spec: ModelSpec, folder: Path, number_format: str) -> Towers:
    from engines.bnb.layers import STORED_TOWERS, empty_layer, fill_tower

    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*which is a no-op", UserWarning)  # weights read into empty towers
        towers = load_towers(spec)
    for name, tower in zip(STORED_TOWERS, towers, strict=True):
        replace_linear(tower, partial(empty_layer, number_format=number_format))
        fill_tower(tower, load_file(folder / name))
    return towers
