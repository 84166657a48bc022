"""openvino: the exported float32 graphs on OpenVINO's CPU plugin, where that package is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engines.base import Embeddings, PatchFeatures, Pixels, Tokens, normalize
from engines.errors import BackendUnavailableError, InferenceError
from engines.models import ModelSpec
from engines.onnx.graphs import EMBEDDINGS, IMAGE_GRAPH, PATCHES, TEXT_GRAPH
from engines.preparation.inputs import Inputs, image_inputs, text_inputs

T = TypeVar("T")


class OpenVinoEngine:
    """Compiles a tower's graph when it is first needed, and computes in float32.

    The plugin would otherwise choose bfloat16, or quantize activations, where the processor can.
    """

    def __init__(self, spec: ModelSpec, *, folder: Path, num_threads: int = 0) -> None:
        """Take the folder of an artifact.

        Args:
            spec: the model.
            folder: holds IMAGE_GRAPH and TEXT_GRAPH.
            num_threads: threads per operator; 0 leaves it to OpenVINO.
        """
        self.spec = spec
        self.name = "openvino"
        self._folder = folder
        self._core = ov.Core()
        self._config: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if num_threads:
            self._config["INFERENCE_NUM_THREADS"] = num_threads
        self._compiled: dict[str, ov.CompiledModel] = {}

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

    def _run(
        self, graph: str, output: str, stack: Callable[[ModelSpec, Sequence[T]], Inputs], items: Sequence[T]
    ) -> NDArray[np.float32]:
        """Compute one output of a graph for some items.

        Raises:
            BackendUnavailableError: when the graph cannot be compiled.
            InferenceError: when the batch fails.
        """
        compiled = self._compile(graph)
        try:
            inputs = stack(self.spec, items)
            known = {
                name for port in compiled.inputs for name in port.names
            }  # the importer drops unused ones
            results = compiled({name: array for name, array in inputs.items() if name in known})
            rows: NDArray[np.float32] = results[output].copy()  # the next call overwrites the plugin's memory
        except (RuntimeError, ValueError) as error:
            raise InferenceError(f"OpenVINO failed on a batch: {error}") from error
        return rows

    def _compile(self, graph: str) -> ov.CompiledModel:
        if graph not in self._compiled:
            path = self._folder / graph
            try:
                self._compiled[graph] = self._core.compile_model(path, "CPU", self._config)
            except RuntimeError as error:
                raise BackendUnavailableError(f"OpenVINO cannot compile {path}: {error}") from error
        return self._compiled[graph]
