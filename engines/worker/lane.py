"""Lane: the items of one priority that wait for a batcher's calls."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from engines.errors import EngineError, OverloadedError
from engines.worker.calls import BatcherLimits, Row
from engines.worker.demand import Demand
from engines.worker.policy import Arm

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Request(Generic[T]):
    """One item and who waits for its row."""

    item: T
    future: asyncio.Future[Row]
    background: bool
    arrived_s: float = field(default_factory=time.perf_counter)
    filled_s: float = 0.0  # when no more company was waited for


class Lane(Generic[T]):
    """A queue with what decides about its next call; the lanes of a batcher never share a call."""

    def __init__(self, limits: BatcherLimits, *, background: bool) -> None:
        """Be empty.

        Args:
            limits: of the batcher.
            background: nobody looks at the clock: its calls are never held back for company.
        """
        self.background = background
        self.max_size = limits.max_background_items if background else limits.max_queue_size
        self.max_wait_ms = 0.0 if background else limits.max_wait_ms
        self.demand = Demand()
        self.in_calls = 0  # items
        self.arm = Arm(False, 1)  # of the next call
        self.open_s = self.filled_s = 0.0  # when it last began and stopped to wait for items and company
        self.arrived = asyncio.Event()
        self._waiting: deque[Request[T]] = deque()

    @property
    def size(self) -> int:
        """Return the number of items that wait."""
        if any(request.future.done() for request in self._waiting):  # cancelled meanwhile
            self._waiting = deque(request for request in self._waiting if not request.future.done())
        return len(self._waiting)

    @property
    def first_s(self) -> float | None:
        """Return when the first of those that wait has come, on time.perf_counter's clock."""
        return self._waiting[0].arrived_s if self.size else None

    def put(self, items: Sequence[T]) -> list[asyncio.Future[Row]]:
        """Let items wait, all or none.

        Raises:
            OverloadedError: when there is no room for all of them.
        """
        if self.size + len(items) > self.max_size:
            raise OverloadedError(f"The queue is full ({self.size} items wait); try again in a moment.")
        loop = asyncio.get_running_loop()
        requests = [Request(item, loop.create_future(), self.background) for item in items]
        if requests:
            self._waiting.extend(requests)
            self.demand.arrive()
            self.note_demand()
            self.arrived.set()
        return [request.future for request in requests]

    def take(self) -> list[Request[T]]:
        """Take the next call's items out of the queue; they count as in a call when it starts."""
        batch = [self._waiting.popleft() for _ in range(min(self.size, self.arm.size))]
        for request in batch:  # one that came while a call waited for cores did not wait for company
            was_open = self.open_s <= request.arrived_s <= self.filled_s
            request.filled_s = self.filled_s if was_open else request.arrived_s
        return batch

    def count_in_calls(self, change: int) -> None:
        """Say how many items more are in calls, or less."""
        self.in_calls += change
        if change < 0:
            self.note_demand()

    def note_demand(self) -> None:
        """Bring the average of the items in the system up to date."""
        self.demand.note(self.size + self.in_calls)

    def fail(self, failure: EngineError) -> None:
        """Settle everything that waits."""
        fail(self._waiting, failure)
        self._waiting.clear()


def fail(requests: Iterable[Request[Any]], failure: EngineError, cause: Exception | None = None) -> None:
    """Settle what is not settled yet; each caller raises an error of its own, with its own traceback."""
    for request in requests:
        if not request.future.done():
            error = type(failure)(*failure.args)
            error.__cause__ = cause
            request.future.set_exception(error)
