"""The ONNX engines: graphs on ONNX Runtime, one session per tower, without torch in the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engines.base import Embeddings, PatchFeatures, Pixels, Tokens, normalize
from engines.errors import BackendUnavailableError, InferenceError
from engines.models import ModelSpec
from engines.onnx.graphs import EMBEDDINGS, IMAGE_GRAPH, PATCHES, TEXT_GRAPH
from engines.preparation.inputs import Inputs, image_inputs, text_inputs

T = TypeVar("T")


class OnnxEngine:
    """Runs an artifact's graphs with ONNX Runtime's CPU execution provider.

    A tower's session is opened when it is first needed, so that a job for one tower loads one.
    """

    def __init__(self, spec: ModelSpec, *, name: str, folder: Path, num_threads: int = 0) -> None:
        """Take the folder of an artifact.

        Args:
            spec: the model.
            name: the engine's name.
            folder: holds IMAGE_GRAPH and TEXT_GRAPH.
            num_threads: threads per operator; 0 leaves it to ONNX Runtime, which takes one per physical core.
        """
        self.spec = spec
        self.name = name
        self.folder = folder
        self._num_threads = num_threads
        self._sessions: dict[str, ort.InferenceSession] = {}

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
            BackendUnavailableError: when the graph cannot be opened.
            InferenceError: when the batch fails.
        """
        session = self._session(graph)
        try:
            rows: NDArray[np.float32]
            (rows,) = session.run([output], stack(self.spec, items))
        except Exception as error:  # ONNX Runtime's exception classes share no public base
            raise InferenceError(f"ONNX Runtime failed on a batch: {error}") from error
        return rows

    def _session(self, graph: str) -> ort.InferenceSession:
        if graph not in self._sessions:
            self._sessions[graph] = open_session(self.folder / graph, self._num_threads)
        return self._sessions[graph]


def open_session(path: Path, num_threads: int = 0) -> ort.InferenceSession:
    """Open a graph on the CPU.

    Raises:
        BackendUnavailableError: when the file is no graph that this ONNX Runtime can run.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors; the exporter's unused initializers are no news
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exception classes share no public base
        raise BackendUnavailableError(
            f"Cannot open {path} ({error}); delete the folder {path.parent}, and it is made again."
        ) from error
