"""What a batcher needs to call an engine: limits, towers, threads, and the rows that come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.worker.thread import EngineThread

T = TypeVar("T")
Run = Callable[[Sequence[T]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherLimits:
    """What bounds a batcher."""

    max_batch_size: int = 16  # items per engine call
    max_wait_ms: float = 2.0  # the longest that the queue is held back for company, where that pays
    max_queue_size: int = 1024  # waiting items before OverloadedError
    max_background_items: int = (
        4096  # the same of those in the background, whose callers send a few at a time
    )
    target_p95_ms: float = 1000.0  # what 95 of 100 requests should not exceed
    call_timeout_s: float = 60.0  # an engine call that takes longer counts as hanging


class EngineCall(NamedTuple):
    """One call of an engine, which the items of its batch share; times are those of `time.perf_counter`."""

    number: int
    batch_size: int
    start_s: float
    end_s: float

    @property
    def infer_ms(self) -> float:
        """Return how long the engine took."""
        return (self.end_s - self.start_s) * 1000


class Row(NamedTuple):
    """What the engine made of one item, and how it came to that."""

    value: NDArray[np.float32]  # [dim], or [tokens, hidden] of patches
    call: EngineCall
    arrived_s: float  # when it was put into the queue
    filled_s: float  # when no more company was waited for


@dataclass(slots=True)
class Tower(Generic[T]):
    """The calls that a batcher may make. The parallel one appears later, if the engine has one at all."""

    run: Run[T]  # one row for each item, in order; computes on all cores
    run_parallel: Run[T] | None = None  # the same on one core, safe to call from several threads


@dataclass(slots=True)
class EngineThreads:
    """The threads that an engine's batchers share: one for serial calls, one a core for parallel ones."""

    serial: EngineThread
    parallel: tuple[EngineThread, ...]
    idle: list[EngineThread]  # of the parallel ones

    @classmethod
    def named(cls, name: str, cores: int) -> EngineThreads:
        """Make them; none runs before its first call."""
        parallel = tuple(EngineThread(f"{name}/{core}") for core in range(cores))
        return cls(EngineThread(name), parallel, list(parallel))

    @property
    def deaths(self) -> int:
        """Return how many times one of them ended of itself."""
        return sum(thread.deaths for thread in (self.serial, *self.parallel))

    def take(self, *, parallel: bool) -> EngineThread:
        """Return the thread for one call; there is one for each core that a caller holds."""
        return self.idle.pop() if parallel else self.serial

    def give_back(self, thread: EngineThread) -> None:
        """Take a thread back when its call is over."""
        if thread is not self.serial:
            self.idle.append(thread)

    def close(self) -> None:
        """Let them end after the calls that they are in."""
        for thread in (self.serial, *self.parallel):
            thread.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for closed threads to end; return whether they have, which a hanging one never does."""
        end_s = time.monotonic() + timeout_s
        threads = (self.serial, *self.parallel)
        return all([thread.join(max(end_s - time.monotonic(), 0.0)) for thread in threads])
