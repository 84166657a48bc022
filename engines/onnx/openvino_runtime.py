"""Graphs on OpenVINO's CPU plugin, where that package is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engines.errors import BackendUnavailableError, InferenceError
from engines.preparation.inputs import Inputs


class OpenVinoRuntime:
    """Keeps one compiled model a graph, and computes in float32.

    The plugin would otherwise choose bfloat16, or quantize activations, where the processor can.
    """

    def __init__(self, num_threads: int = 0) -> None:
        """Take the number of threads per operator; 0 leaves it to OpenVINO."""
        self._core = ov.Core()
        self._config: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if num_threads:
            self._config["INFERENCE_NUM_THREADS"] = num_threads
        self._compiled: dict[Path, ov.CompiledModel] = {}

    def run(self, path: Path, output: str, inputs: Inputs) -> NDArray[np.float32]:
        """Compute one output of a graph.

        Raises:
            BackendUnavailableError: when the graph cannot be compiled.
            InferenceError: when the batch fails.
        """
        compiled = self._compile(path)
        known = {name for port in compiled.inputs for name in port.names}  # the importer drops unused ones
        try:
            results = compiled({name: array for name, array in inputs.items() if name in known})
            rows: NDArray[np.float32] = results[output].copy()  # the next call overwrites the plugin's memory
        except (RuntimeError, ValueError) as error:
            raise InferenceError(f"OpenVINO failed on a batch: {error}") from error
        return rows

    def single_threaded(self) -> None:
        """Return nothing: the plugin's own streams would compete with the other engines' threads."""
        return None

    def _compile(self, path: Path) -> ov.CompiledModel:
        if path not in self._compiled:
            try:
                self._compiled[path] = self._core.compile_model(path, "CPU", self._config)
            except RuntimeError as error:
                raise BackendUnavailableError(f"OpenVINO cannot compile {path}: {error}") from error
        return self._compiled[path]
