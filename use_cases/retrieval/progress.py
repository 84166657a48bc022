"""IngestProgress: how far an ingestion has come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_WINDOW_S = 10.0  # over which the rate is averaged
_MAX_FAILURES = 1_000  # are kept with their reasons; the others are counted


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be added, and why."""

    id: str
    reason: str


@dataclass(slots=True)
class IngestProgress:
    """Counts and times of one ingestion, from `begin` to `end`; belongs to one event loop."""

    total: int | None = None  # images to look at; None until they are counted
    done: int = 0  # images that are through, whatever became of them
    added: int = 0
    replaced: int = 0  # their file had changed
    unchanged: int = 0
    removed: int = 0  # from the index, because the file is gone
    duplicates: int = 0  # of what was added
    num_failed: int = 0
    failed: list[FailedFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # sentences about what did not work, though images did
    is_indexing: bool = False  # an ANN index is being built; meanwhile nothing else advances
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    started_s: float | None = field(init=False, default=None)
    ended_s: float | None = field(init=False, default=None)
    _marks: deque[tuple[float, int]] = field(init=False, repr=False, default_factory=deque)

    def begin(self) -> None:
        """Start the clock."""
        self.started_s = self.clock()
        self._marks.append((self.started_s, 0))

    def advance(self, images: int) -> None:
        """Count images that are through."""
        self.done += images
        now_s = self.clock()
        self._marks.append((now_s, self.done))
        while len(self._marks) > 2 and now_s - self._marks[1][0] > _WINDOW_S:
            self._marks.popleft()

    def fail(self, id_: str, reason: str) -> None:
        """Count a file that could not be added."""
        self.num_failed += 1
        if len(self.failed) < _MAX_FAILURES:
            self.failed.append(FailedFile(id_, reason))

    def end(self) -> None:
        """Stop the clock."""
        self.ended_s = self.clock()
        self.is_indexing = False

    @property
    def elapsed_s(self) -> float:
        """Return how long it has taken, without the time that it had to wait for its turn."""
        if self.started_s is None:
            return 0.0
        return (self.clock() if self.ended_s is None else self.ended_s) - self.started_s

    @property
    def images_per_s(self) -> float:
        """Return the rate of the last moments, of the whole when it has ended."""
        if self.ended_s is not None:
            return self.done / max(self.elapsed_s, 1e-9)
        if not self._marks:
            return 0.0
        (first_s, first), (_, last) = self._marks[0], self._marks[-1]
        return (last - first) / max(self.clock() - first_s, 1e-9)

    @property
    def remaining_s(self) -> float | None:
        """Return how long it will still take at that rate; None while that is not known."""
        if self.total is None or not self.images_per_s:
            return None
        return max(self.total - self.done, 0) / self.images_per_s
