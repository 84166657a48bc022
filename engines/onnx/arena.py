"""When a session gives memory back that its calls no longer need."""

from __future__ import annotations

import threading

import onnxruntime as ort

CALLS_TO_OUTGROW = 100  # smaller calls in a row; giving back and taking anew costs about one call's time


class Arena:
    """Watches the calls of a session, whose arena otherwise keeps what the largest one ever needed.

    Safe to share between the threads that call the session.
    """

    def __init__(self) -> None:
        """Have seen no call."""
        self._largest = 0
        self._num_smaller = 0
        self._counting = threading.Lock()

    def run_options(self, num_values: int) -> ort.RunOptions | None:
        """Count a call; return what makes it give back the memory of larger ones, once they have long ended.

        Args:
            num_values: numbers in the call's inputs, to which the memory of its activations is proportional.
        """
        if not self._is_outgrown(num_values):
            return None
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return options

    def _is_outgrown(self, num_values: int) -> bool:
        with self._counting:
            self._num_smaller = 0 if num_values >= self._largest else self._num_smaller + 1
            is_outgrown = self._num_smaller >= CALLS_TO_OUTGROW
            if is_outgrown:
                self._largest = self._num_smaller = 0
            self._largest = max(self._largest, num_values)
            return is_outgrown
