"""Canary: a known input, embedded again and again to see that an engine still answers, and right."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.base import Embeddings, Engine, Pixels, Tokens
from engines.errors import EngineError, InferenceError, OverloadedError
from engines.preparation.images import colour_ramps
from engines.preparation.preprocess import Preprocessor
from engines.worker.batched_engine import BatchedEngine

_MIN_COSINE = 0.99  # a batch's company moves a dynamically quantized row by less than that


@dataclass(frozen=True, slots=True)
class CanaryInput:
    """One prepared image and text, and what the engine made of them when it was loaded."""

    pixels: Pixels
    tokens: Tokens
    image_reference: Embeddings  # [1, dim]
    text_reference: Embeddings  # [1, dim]


def warm_up(engine: Engine, preprocessor: Preprocessor) -> CanaryInput:
    """Run both towers once, since the first call allocates memory and picks kernels; keep the results.

    Raises:
        InferenceError: when the engine fails or returns something other than unit vectors.
    """
    side = engine.spec.image_size
    pixels = preprocessor.prepare_image(colour_ramps(side))
    tokens = preprocessor.prepare_text("a red and green pattern")
    image, text = engine.embed_pixels([pixels]), engine.embed_tokens([tokens])
    for rows in (image, text):
        if not np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3):  # false for NaN, too
            raise InferenceError(f"{engine.spec.name} on {engine.name} does not return unit vectors.")
    return CanaryInput(pixels, tokens, image, text)


class Canary:
    """Checks one engine through its queue, as a request would."""

    def __init__(self, engine: BatchedEngine, given: CanaryInput) -> None:
        """Take an engine that has just been warmed up, which counts as the first check."""
        self._engine = engine
        self._given = given
        self._restarts = engine.restarts
        self.passed_s = time.perf_counter()
        self.postponed_s = 0.0  # when the queue was full last; then nothing is known
        self.problem: str | None = None  # of the last check

    @property
    def is_outdated(self) -> bool:
        """Tell whether a part of the worker was started again since the last check that passed."""
        return self._engine.restarts > self._restarts

    async def check(self) -> None:
        """Embed the canary and compare it; a full queue says nothing about the engine."""
        restarts = self._engine.restarts
        try:
            (image,) = await self._engine.images.submit([self._given.pixels])
            (text,) = await self._engine.texts.submit([self._given.tokens])
        except OverloadedError:
            self.postponed_s = time.perf_counter()
            return
        except EngineError as error:
            self.problem = f"the canary failed: {error}"
            return
        given = self._given
        cosine = np.min(  # unlike Python's it is NaN if one of them is
            [_cosine(image.value, given.image_reference), _cosine(text.value, given.text_reference)]
        )
        if not cosine >= _MIN_COSINE:
            self.problem = f"the canary's embedding has changed (cosine {cosine:.4f})"
            return
        self.problem, self.passed_s, self._restarts = None, time.perf_counter(), restarts


def _cosine(row: Any, reference: Embeddings) -> float:
    return float(reference[0] @ row)
