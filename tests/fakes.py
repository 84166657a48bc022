"""An engine without weights that knows three colours, so that logic is tested without a model."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from engines.base import Tokens
from engines.factory import EngineOptions
from engines.models import ModelSpec
from engines.pool import PooledEngine
from engines.quality import Quality
from engines.worker.batched_engine import BatchedEngine
from engines.worker.cache import EmbeddingCache
from engines.worker.calls import BatcherLimits
from engines.worker.cores import CoreSlots
from engines.worker.shared import Worker

COLOURS = ("red", "green", "blue")
FIGURES = Quality(
    image_cosine_mean=0.93, image_cosine_min=0.9, text_cosine_mean=0.999, text_cosine_min=0.99,
    top1_agreement=1.0, num_images=32, num_texts=66,
)  # fmt: skip


def fake_spec(name="colours", score="sigmoid", **changes) -> ModelSpec:
    facts = {
        "name": name,
        "family": "bundled",
        "folder": Path("nowhere"),
        "dim": 3,
        "score": score,
        "logit_scale": 20.0,
        "logit_bias": -10.0 if score == "sigmoid" else 0.0,
        "image_size": 8,
        "resize_mode": "squash",
        "resample": "bilinear",
        "image_mean": (0.0,) * 3,
        "image_std": (1.0,) * 3,
        "context_length": 8,
        "text_cleaning": "none",
        "pad_to_context": False,
        "prompt_templates": ("a {label} thing",),
    }
    return ModelSpec(**facts | changes)


class FakePreprocessor:
    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def prepare_image(self, image: Image.Image):
        return np.asarray(image.resize((1, 1)), np.float32).reshape(3) / 255

    def prepare_text(self, text: str) -> Tokens:
        words = text.split()
        ids = tuple(COLOURS.index(word) if word in COLOURS else 3 for word in words)
        return Tokens(ids[: self.spec.context_length], truncated=len(words) > self.spec.context_length)

    def knows(self, text: str) -> bool:
        return "?" not in text


class FakeEngine:
    """Embeds an image as its colour and a text as the colour words in it.

    `batches` lists the size of every call; `release` holds calls back while it is cleared; `error`
    is raised by every call while it is set.
    """

    name = "fake"

    def __init__(self, spec: ModelSpec | None = None) -> None:
        self.spec = spec or fake_spec()
        self.batches: list[int] = []
        self.release = threading.Event()
        self.release.set()
        self.started = threading.Event()
        self.error: BaseException | None = None
        self.twin: FakeEngine | None = None

    def embed_pixels(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        return self._embed(np.stack(pixels))

    def embed_tokens(self, tokens: Sequence[Tokens]) -> np.ndarray:
        return self._embed(np.stack([np.eye(3, 4)[:, list(text.ids)].sum(axis=1) for text in tokens]))

    def embed_patches(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        return np.repeat(np.stack(pixels)[:, None], 2, axis=1)  # [n, 2 tokens, 3]

    def single_threaded(self):
        return self.twin

    def _embed(self, rows: np.ndarray) -> np.ndarray:
        self.batches.append(len(rows))
        self.started.set()
        assert self.release.wait(timeout=30)
        if self.error is not None:
            raise self.error
        return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def fake_batched(
    engine: FakeEngine | None = None, cores=1, cache=None, texts=None, **limits
) -> BatchedEngine:
    engine = engine or FakeEngine()
    worker = Worker(
        slots=CoreSlots(cores), cache=cache or EmbeddingCache(), limits=BatcherLimits(**limits), texts=texts
    )
    return BatchedEngine(engine, FakePreprocessor(engine.spec), worker)


class FakePool:
    """Stands for EnginePool: a fake engine for each name, started when it is first asked for."""

    quality: Quality | None = None  # of all its engines

    def __init__(self, **specs: ModelSpec) -> None:
        self.specs = specs
        self.options = EngineOptions()
        self.worker = Worker()
        self.running: dict[str, BatchedEngine] = {}

    async def get(self, model: str, engine: str | None = None) -> PooledEngine:
        cold = model not in self.running
        if cold:
            self.running[model] = await fake_batched(FakeEngine(self.specs[model])).__aenter__()
        return PooledEngine(self.running[model], 5.0 if cold else 0.0, self.quality)

    async def close(self) -> None:
        for engine in self.running.values():
            await engine.close()
