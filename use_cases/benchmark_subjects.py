"""What a benchmark measures: an engine of ours, or plain transformers, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from engines.base import Embeddings, Engine
from engines.factory import EngineOptions, load_engine, resolve_engine, resolve_model
from engines.models import ModelSpec
from engines.preparation.preprocess import Preprocessor

PLAIN = "plain-transformers"  # stands among the engines' names


class Subject(Protocol):
    """Prepares and embeds in two steps, so that the towers can be timed alone."""

    def prepare_images(self, images: Sequence[Image.Image]) -> Any:
        """Return what `embed_images` takes."""
        ...

    def prepare_texts(self, texts: Sequence[str]) -> Any:
        """Return what `embed_texts` takes."""
        ...

    def embed_images(self, prepared: Any) -> Embeddings:
        """Run the image tower."""
        ...

    def embed_texts(self, prepared: Any) -> Embeddings:
        """Run the text tower."""
        ...


class EngineSubject:
    """One of our engines with its Preprocessor."""

    def __init__(self, engine: Engine, preprocessor: Preprocessor) -> None:
        """Take a loaded engine and its model's preprocessor."""
        self.engine = engine
        self.preprocessor = preprocessor
        self.embed_images = engine.embed_pixels
        self.embed_texts = engine.embed_tokens

    def prepare_images(self, images: Sequence[Image.Image]) -> Any:
        """Return pixels."""
        return [self.preprocessor.prepare_image(image) for image in images]

    def prepare_texts(self, texts: Sequence[str]) -> Any:
        """Return tokens."""
        return [self.preprocessor.prepare_text(text) for text in texts]


def job_model(job: Mapping[str, Any]) -> ModelSpec:
    """Return the model of a worker's job, in torch's own format only where its plan allows that.

    Raises:
        UnknownModelError: when it is not on this machine.
        InvalidInputError: when it is no checkpoint that can be loaded.
    """
    allowed = job.get("allow_pickled_weights", False)
    return resolve_model(job["model"], EngineOptions(allow_pickled_weights=allowed))


def load_subject(spec: ModelSpec, name: str, num_threads: int) -> Subject:
    """Load an engine by its name, or plain transformers.

    Raises:
        EngineError: when it cannot run the model or is not available here.
    """
    if name == PLAIN:
        from engines.pytorch.plain_transformers import PlainTransformers

        return PlainTransformers(spec, num_threads)
    engine = load_engine(
        spec, resolve_engine(spec, name), EngineOptions(num_threads=num_threads, gated=False)
    )
    return EngineSubject(engine, Preprocessor(spec))


def artifact_bytes(spec: ModelSpec, subject: Subject) -> int | None:
    """Return the size on disk of what both towers are loaded from; None when that is not one folder.

    An engine that runs built files says where they are in `folder`; others read the checkpoint's weights.
    """
    folder: Path = getattr(getattr(subject, "engine", None), "folder", spec.folder)
    if folder != spec.folder:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if spec.family == "bundled":
        return None  # the towers lie in packages
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
