"""Graphs on ONNX Runtime's CPU execution provider, without torch in the process."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engines.errors import BackendUnavailableError, InferenceError
from engines.onnx.allocator import Allocator
from engines.onnx.arena import Arena
from engines.preparation.inputs import Inputs

_ALLOCATOR = Allocator()


class OrtRuntime:
    """Keeps one session a graph."""

    def __init__(self, num_threads: int = 0, allocator: Allocator = _ALLOCATOR) -> None:
        """Take how sessions are opened.

        Args:
            num_threads: threads per operator; 0 leaves it to ONNX Runtime: one per physical core.
            allocator: where activations live.
        """
        self._num_threads = num_threads
        self._allocator = allocator
        self._sessions: dict[Path, ort.InferenceSession] = {}
        self._arenas: dict[Path, Arena] = {}
        self._opening = threading.Lock()

    def run(self, path: Path, output: str, inputs: Inputs) -> NDArray[np.float32]:
        """Compute one output of a graph.

        Raises:
            BackendUnavailableError: when the graph cannot be opened.
            InferenceError: when the batch fails.
        """
        session = self.open(path)
        run_options = None
        if self._allocator.arena:  # the runtime refuses to shrink one that is not there
            run_options = self._arenas[path].run_options(sum(array.size for array in inputs.values()))
        try:
            rows: NDArray[np.float32]
            (rows,) = session.run([output], inputs, run_options)
        except Exception as error:  # ONNX Runtime's exception classes share no public base
            raise InferenceError(f"ONNX Runtime failed on a batch: {error}") from error
        return rows

    def single_threaded(self) -> OrtRuntime:
        """Return a runtime with sessions of one thread, which is the caller's; opens the graphs in use."""
        twin = OrtRuntime(num_threads=1, allocator=self._allocator)
        for path in tuple(self._sessions):
            twin.open(path)
        return twin

    def open(self, path: Path) -> ort.InferenceSession:
        """Return the session of a graph, which is opened when it is first asked for.

        Raises:
            BackendUnavailableError: when the graph cannot be opened.
        """
        with self._opening:
            if path not in self._sessions:
                options = session_options(self._num_threads, self._allocator)
                self._sessions[path] = open_session(path, options)
                self._arenas[path] = Arena()
            return self._sessions[path]


def session_options(num_threads: int = 0, allocator: Allocator = _ALLOCATOR) -> ort.SessionOptions:
    """Return how this project opens graphs; arguments as those of `OrtRuntime`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors; the exporter's unused initializers are no news
    # Threads that go on spinning after a call take the core that the next image is decoded on: filling an
    # index with 12-megapixel JPEGs takes a quarter longer then.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.enable_cpu_mem_arena = allocator.arena
    options.enable_mem_pattern = allocator.mem_pattern
    return options


def open_session(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    """Open a graph on the CPU.

    Raises:
        BackendUnavailableError: when the file is no graph that this ONNX Runtime can run.
    """
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exception classes share no public base
        raise BackendUnavailableError(
            f"Cannot open {path} ({error}); delete the folder {path.parent}, and it is made again."
        ) from error
