"""The engines that run graphs: an artifact's two towers on a runtime that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings, PatchFeatures, Pixels, Tokens, normalize
from engines.errors import InferenceError
from engines.models import ModelSpec
from engines.onnx.graphs import EMBEDDINGS, IMAGE_GRAPH, PATCHES, TEXT_GRAPH
from engines.preparation.inputs import Inputs, image_inputs, text_inputs

T = TypeVar("T")


class GraphRuntime(Protocol):
    """Runs graph files; opens one when it is first needed, so that a job for one tower loads one."""

    def run(self, path: Path, output: str, inputs: Inputs) -> NDArray[np.float32]:
        """Compute one output of a graph.

        Raises:
            BackendUnavailableError: when the graph cannot be opened.
            InferenceError: when the batch fails.
        """
        ...

    def single_threaded(self) -> GraphRuntime | None:
        """Return a runtime for calls from several threads at once, each on its caller's thread, if it can."""
        ...


class GraphEngine:
    """Embeds with an artifact's graphs; knows no runtime."""

    def __init__(self, spec: ModelSpec, *, name: str, folder: Path, runtime: GraphRuntime) -> None:
        """Take the folder of an artifact.

        Args:
            spec: the model.
            name: the engine's name.
            folder: holds IMAGE_GRAPH and TEXT_GRAPH.
            runtime: what runs them.
        """
        self.spec = spec
        self.name = name
        self.folder = folder
        self._runtime = runtime

    def embed_pixels(self, pixels: Sequence[Pixels]) -> Embeddings:
        """Embed prepared images."""
        if not pixels:
            return np.empty((0, self.spec.dim), np.float32)
        return normalize(self._run(IMAGE_GRAPH, EMBEDDINGS, image_inputs, pixels))

    def embed_patches(self, pixels: Sequence[Pixels]) -> PatchFeatures:
        """Return the image tower's last hidden states."""
        if not pixels:
            return np.empty((0, 0, 0), np.float32)
        return self._run(IMAGE_GRAPH, PATCHES, image_inputs, pixels)

    def embed_tokens(self, tokens: Sequence[Tokens]) -> Embeddings:
        """Embed tokenized texts."""
        if not tokens:
            return np.empty((0, self.spec.dim), np.float32)
        return normalize(self._run(TEXT_GRAPH, EMBEDDINGS, text_inputs, tokens))

    def single_threaded(self) -> GraphEngine | None:
        """Return a twin for calls from several threads at once, if the runtime can make them."""
        runtime = self._runtime.single_threaded()
        if runtime is None:
            return None
        return GraphEngine(self.spec, name=self.name, folder=self.folder, runtime=runtime)

    def _run(
        self, graph: str, output: str, stack: Callable[[ModelSpec, Sequence[T]], Inputs], items: Sequence[T]
    ) -> NDArray[np.float32]:
        try:
            inputs = stack(self.spec, items)
        except ValueError as error:
            raise InferenceError(f"The batch does not fit {self.spec.name}: {error}") from error
        return self._runtime.run(self.folder / graph, output, inputs)
