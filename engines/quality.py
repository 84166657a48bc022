"""The quality gate: how close an engine's embeddings are to float32's, and how close is enough.

An engine is measured once on images and captions that nothing was calibrated on, in a process of its
own (`python -m engines.quality MODEL ENGINE FOLDER`); the figures are kept and shown wherever the
engine can be chosen.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.artifacts.builders import builder_main, run_builder
from engines.artifacts.store import code_sha256, find_artifact, installed_versions, keep_artifact
from engines.base import Embeddings, Engine
from engines.calibration import SampleSet, held_out_set
from engines.checkpoints.find import fingerprint
from engines.machine.cpu import read_cpu
from engines.models import ModelSpec
from engines.preparation.preprocess import Preprocessor

_FILE = "quality.json"
_REFERENCE_FILE = "reference.npz"
_CODE = ("onnx", "pytorch", "bnb", "preparation")
_PACKAGES = ("torch", "transformers", "onnxruntime", "bitsandbytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How an engine's embeddings of the held-out set compare with those of float32."""

    image_cosine_mean: float
    image_cosine_min: float
    text_cosine_mean: float
    text_cosine_min: float
    # Share of images whose nearest caption, and of captions whose nearest image, stays the same.
    top1_agreement: float
    num_images: int
    num_texts: int

    @property
    def summary(self) -> str:
        """Return the figures in one line for people."""
        return (
            f"cosine to float32 {self.image_cosine_mean:.4f} for images,"
            f" {self.text_cosine_mean:.4f} for texts; same top-1 {self.top1_agreement:.1%}"
        )


@dataclass(frozen=True, slots=True)
class Gate:
    """What an engine must reach to be offered."""

    min_cosine: float  # mean over images, and over texts
    min_top1_agreement: float

    def failures(self, quality: Quality) -> list[str]:
        """Return what falls short, each as "figure (needed)"; an empty list when the gate holds."""
        figures = (
            ("image cosine", quality.image_cosine_mean, self.min_cosine),
            ("text cosine", quality.text_cosine_mean, self.min_cosine),
            ("top-1 agreement", quality.top1_agreement, self.min_top1_agreement),
        )
        return [
            f"{name} {value:.4f} ({needed} needed)" for name, value, needed in figures if not value >= needed
        ]


GATE_8_BIT = Gate(0.995, 0.98)
GATE_4_BIT = Gate(0.97, 0.95)


def compare_embeddings(
    images: Embeddings, texts: Embeddings, reference_images: Embeddings, reference_texts: Embeddings
) -> Quality:
    """Compare embeddings of the same images [n, dim] and texts [m, dim] by two engines.

    The first n texts are the images' own captions. The nearest image is asked for those alone: what
    comes nearest to a sentence that describes no image is chance.
    """
    image_cosines = (images * reference_images).sum(axis=1)
    text_cosines = (texts * reference_texts).sum(axis=1)
    similarity = images @ texts[: len(images)].T  # [n, n]
    reference = reference_images @ reference_texts[: len(images)].T
    same = np.concatenate([similarity.argmax(axis) == reference.argmax(axis) for axis in (0, 1)])
    return Quality(
        image_cosine_mean=float(image_cosines.mean()),
        image_cosine_min=float(image_cosines.min()),
        text_cosine_mean=float(text_cosines.mean()),
        text_cosine_min=float(text_cosines.min()),
        top1_agreement=float(same.mean()),
        num_images=len(images),
        num_texts=len(texts),
    )


def embed_samples(engine: Engine, samples: SampleSet) -> tuple[Embeddings, Embeddings]:
    """Return the embeddings of a set's images and of its captions, one item at a time."""
    preprocessor = Preprocessor(engine.spec)
    images = [engine.embed_pixels([preprocessor.prepare_image(image)]) for image in samples.load_images()]
    texts = [engine.embed_tokens([preprocessor.prepare_text(text)]) for text in samples.captions]
    return np.vstack(images), np.vstack(texts)


def ensure_quality(spec: ModelSpec, engine: str, cache_dir: Path) -> Quality:
    """Return an engine's figures for a model, measuring them when that was never done here.

    Raises:
        EngineError: when the engine cannot be loaded or fails, or the cache folder cannot be written.
    """
    reference = ensure_reference(spec, cache_dir)

    def measure(folder: Path) -> None:
        run_builder("engines.quality", spec.name, engine, str(folder), str(reference), str(cache_dir))

    return _read(keep_artifact(cache_dir, _name(spec, engine), _facts(spec, engine), measure))


def read_quality(spec: ModelSpec, engine: str, cache_dir: Path) -> Quality | None:
    """Return an engine's figures if they were measured here."""
    folder = find_artifact(cache_dir, _name(spec, engine), _facts(spec, engine))
    return _read(folder) if folder else None


def ensure_reference(spec: ModelSpec, cache_dir: Path) -> Path:
    """Return the file with float32's embeddings of the held-out set, computing it when it is missing."""
    engine = REFERENCE_ENGINE

    def embed(folder: Path) -> None:
        run_builder("engines.quality", spec.name, engine, str(folder), "", str(cache_dir))

    folder = keep_artifact(cache_dir, f"{spec.slug}-reference", _facts(spec, engine), embed)
    return folder / _REFERENCE_FILE


REFERENCE_ENGINE = "onnx-fp32"  # equal to PyTorch's, as the contract suite shows, and faster


def _name(spec: ModelSpec, engine: str) -> str:
    return f"{spec.slug}-{engine}-quality"


def _facts(spec: ModelSpec, engine: str) -> dict[str, object]:
    return {
        "model": fingerprint(spec),
        "engine": engine,
        "samples": held_out_set().sha256,
        "instructions": sorted(read_cpu().instructions),  # they decide kernels, and those the rounding
        "code_sha256": code_sha256(*_CODE),
        "versions": installed_versions(*_PACKAGES),
    }


def _read(folder: Path) -> Quality:
    return Quality(**json.loads((folder / _FILE).read_text("utf-8")))


def _measure(model: str, engine: str, folder: Path, reference: str, cache_dir: Path) -> None:
    from engines.factory import EngineOptions, load_engine, resolve_for_builder

    options = EngineOptions(cache_dir=cache_dir, gated=False)
    loaded = load_engine(resolve_for_builder(model), engine, options)
    images, texts = embed_samples(loaded, held_out_set())
    if not reference:
        np.savez(folder / _REFERENCE_FILE, images=images, texts=texts)
        return
    expected: dict[str, NDArray[np.float32]] = dict(np.load(reference))
    quality = compare_embeddings(images, texts, expected["images"], expected["texts"])
    (folder / _FILE).write_text(json.dumps(asdict(quality), indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    _model, _engine, _folder, _reference, _cache_dir = sys.argv[1:]
    raise SystemExit(
        builder_main(lambda: _measure(_model, _engine, Path(_folder), _reference, Path(_cache_dir)))
    )
