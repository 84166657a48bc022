"""Graphs on ONNX Runtime's CPU execution provider, without torch in the process."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engines.errors import BackendUnavailableError, InferenceError
from engines.preparation.inputs import Inputs


class OrtRuntime:
    """Keeps one session a graph."""

    def __init__(self, num_threads: int = 0) -> None:
        """Take the number of threads per operator; 0 leaves it to ONNX Runtime: one per physical core."""
        self._num_threads = num_threads
        self._sessions: dict[Path, ort.InferenceSession] = {}
        self._opening = threading.Lock()

    def run(self, path: Path, output: str, inputs: Inputs) -> NDArray[np.float32]:
        """Compute one output of a graph.

        Raises:
            BackendUnavailableError: when the graph cannot be opened.
            InferenceError: when the batch fails.
        """
        session = self._session(path)
        try:
            rows: NDArray[np.float32]
            (rows,) = session.run([output], inputs)
        except Exception as error:  # ONNX Runtime's exception classes share no public base
            raise InferenceError(f"ONNX Runtime failed on a batch: {error}") from error
        return rows

    def single_threaded(self) -> OrtRuntime:
        """Return a runtime with sessions of one thread, which is the caller's; opens the graphs in use."""
        twin = OrtRuntime(num_threads=1)
        for path in tuple(self._sessions):
            twin._session(path)
        return twin

    def _session(self, path: Path) -> ort.InferenceSession:
        with self._opening:
            if path not in self._sessions:
                self._sessions[path] = open_session(path, self._num_threads)
            return self._sessions[path]


def open_session(path: Path, num_threads: int = 0) -> ort.InferenceSession:
    """Open a graph on the CPU.

    Raises:
        BackendUnavailableError: when the file is no graph that this ONNX Runtime can run.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors; the exporter's unused initializers are no news
    # Threads that go on spinning after a call take the core that the next image is decoded on: filling an
    # index with 12-megapixel JPEGs takes a quarter longer then.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exception classes share no public base
        raise BackendUnavailableError(
            f"Cannot open {path} ({error}); delete the folder {path.parent}, and it is made again."
        ) from error
