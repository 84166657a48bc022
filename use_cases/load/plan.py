"""What a load test measures, and how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from use_cases.load.clients import KINDS

NUM_CLIENTS = 16  # of the comparisons
# A worker's longest job measures 11 policies for a round's time each, and has to end within its 30 minutes.
_MIN_ROUND_S, _MAX_ROUND_S = 0.5, 120.0
# The worker has learned its batch sizes by then, which takes 6 s of calls where one image takes 20 ms; with
# them the runtime's memory has grown.
_WARMUP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A test's clients and times."""

    clients: tuple[int, ...] = (1, 4, 16, 64)
    seconds: float = 30.0  # for each number of clients
    mix: Mapping[str, int] = field(default_factory=lambda: MappingProxyType(dict.fromkeys(KINDS, 1)))
    rounds: int = 3  # of the comparisons
    sweep: bool = False  # compare the batch policy with fixed ones as well
    allow_pickled_weights: bool = False  # torch's own format, where there is nothing safer

    @property
    def warmup_s(self) -> float:
        """Return the time before each measurement."""
        return min(_WARMUP_S, self.seconds)

    @property
    def round_s(self) -> float:
        """Return the time for each measurement of a comparison's round."""
        return min(max(self.seconds / 5, _MIN_ROUND_S), _MAX_ROUND_S)
