"""MicroBatcher: an asynchronous queue that turns single requests into batched engine calls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineClosedError, EngineError, InferenceError, OverloadedError
from engines.worker.calls import BatcherLimits, EngineThreads, Row, Tower
from engines.worker.cores import CoreSlots
from engines.worker.demand import Demand
from engines.worker.policy import DEMAND_FOR_PARALLEL, Arm, BatchPolicy
from engines.worker.stats import TowerStats
from engines.worker.thread import EngineThread, StalledError

T = TypeVar("T")

logger = logging.getLogger(__name__)

_PAUSE_S = 0.01  # after a failure of the worker; one that fails every time must not block the event loop


@dataclass(slots=True, eq=False)
class _Request(Generic[T]):
    item: T
    future: asyncio.Future[Row]
    arrived_s: float = field(default_factory=time.monotonic)


class MicroBatcher(Generic[T]):
    """Collects items that arrive close together and runs them in one engine call.

    Every future that `enqueue` returns is settled whatever happens: with its row, with the error that
    its item met, or with EngineClosedError at the end. When a batch fails its items are tried one by
    one, so that only the culprit fails. A batch is formed only when cores are free, so requests that
    were cancelled meanwhile never cost compute. Rows come back in the order of the items. Knows
    nothing of images, texts or models; belongs to one event loop.
    """

    def __init__(
        self,
        tower: Tower[T],
        threads: EngineThreads,
        slots: CoreSlots,
        limits: BatcherLimits,
        stats: TowerStats | None = None,
    ) -> None:
        """Prepare a batcher; `start` begins the work.

        Args:
            tower: the engine calls.
            threads: shared by all batchers of one engine.
            slots: shared by all engines.
            limits: batch size, times and queue size.
            stats: where it counts what it does.
        """
        self._tower = tower
        self._threads = threads
        self._slots = slots
        self._limits = limits
        self.stats = stats or TowerStats()
        self.policy = BatchPolicy(
            cores=slots.count, max_batch_size=limits.max_batch_size, target_p95_ms=limits.target_p95_ms
        )
        self.demand = Demand()
        self._waiting: deque[_Request[T]] = deque()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._calls: dict[asyncio.Task[None], float] = {}  # and when they started
        self._in_calls = 0
        self._arm = Arm(False, 1)

    def start(self) -> None:
        """Start the worker in the running event loop."""
        self._worker = asyncio.get_running_loop().create_task(self._keep_working())

    async def close(self) -> None:
        """Stop the worker and settle every waiting request with EngineClosedError."""
        worker, self._worker = self._worker, None
        tasks = [task for task in (worker, *self._calls) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._settle_waiting()

    @property
    def queue_size(self) -> int:
        """Return the number of items that wait for an engine call."""
        self._drop_cancelled()
        return len(self._waiting)

    @property
    def is_busy(self) -> bool:
        """Tell whether items wait or are being computed."""
        return bool(self.queue_size or self._calls)

    @property
    def silent_s(self) -> float:
        """Return how long something is due and no engine call has ended well; 0.0 while nothing is due."""
        due_s = [request.arrived_s for request in self._waiting] + list(self._calls.values())
        return time.monotonic() - max(min(due_s), self.stats.last_success_s or 0.0) if due_s else 0.0

    def enqueue(self, items: Sequence[T]) -> list[asyncio.Future[Row]]:
        """Put items into the queue, all or none; cancelling a future takes its item out again.

        Raises:
            OverloadedError: when the queue has no room for all of them.
            EngineClosedError: when the batcher is not running.
        """
        if self._worker is None:
            raise EngineClosedError("The engine is not running; start the server again.")
        if self.queue_size + len(items) > self._limits.max_queue_size:
            raise OverloadedError(
                f"The queue is full ({len(self._waiting)} items wait); try again in a moment."
            )
        loop = asyncio.get_running_loop()
        requests = [_Request(item, loop.create_future()) for item in items]
        if requests:
            self._waiting.extend(requests)
            self.demand.arrive()
            self._note_demand()
            self._arrived.set()
            self._slots.reconsider()
        return [request.future for request in requests]

    async def submit(self, items: Sequence[T]) -> list[Row]:
        """Run items in one batch or more, together with what others submit; same length and order.

        Never more than a batch of one caller's items waits in the queue, so a long list neither
        overflows the queue nor holds up the others.

        Raises:
            OverloadedError: when the queue is full; nothing of this call stays in it.
            InferenceError: when the engine failed on an item.
            EngineClosedError: when the batcher is not running or stops first.
        """
        rows: list[Row] = []
        for start in range(0, len(items), self.chunk_size):
            futures = self.enqueue(items[start : start + self.chunk_size])
            try:
                rows += await asyncio.gather(*futures)
            finally:  # after an error or a cancellation the others are no longer wanted
                for future in futures:
                    future.cancel()
                    _ = future.cancelled() or future.exception()  # nobody else looks at it
        return rows

    @property
    def chunk_size(self) -> int:
        """Return how many items of one caller may wait at a time."""
        return min(self._limits.max_batch_size * self._slots.count, self._limits.max_queue_size)

    async def _keep_working(self) -> None:
        try:
            while True:
                try:
                    await self._work()
                except Exception:  # a bug of this file; whoever waits is served all the same
                    self.stats.restarts += 1
                    logger.exception("The worker failed and starts again")
                    await asyncio.sleep(_PAUSE_S)
        finally:
            self._settle_waiting()

    async def _work(self) -> None:
        while True:
            await self._wait_for_company()
            cores = await self._slots.acquire(self._cores_needed)
            if not cores:  # nothing waited any more; what has come since needs cores of its own
                continue
            try:
                batch = self._take_batch()
            except BaseException:
                self._slots.release(cores)
                raise
            if batch:
                self._start_call(batch, self._arm, cores)
            else:
                self._slots.release(cores)

    async def _wait_for_company(self) -> None:
        """Return when there is work, and no gain in waiting for more of it."""
        while not self.queue_size:
            self._arrived.clear()
            await self._arrived.wait()
        first_s = self._waiting[0].arrived_s
        while 0 < len(self._waiting) < self._limits.max_batch_size:
            wait_ms = self.policy.wait_ms(len(self._waiting), self.demand.gap_ms)
            deadline_s = first_s + min(wait_ms, self._limits.max_wait_ms) / 1000
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                return
            # No asyncio.wait_for: before Python 3.12 it can swallow the cancellation that stops the worker.
            self._arrived.clear()
            alarm = asyncio.get_running_loop().call_later(remaining_s, self._arrived.set)
            try:
                await self._arrived.wait()
            finally:
                alarm.cancel()

    def _cores_needed(self) -> int:
        """Choose the next call and return how many cores it takes; none when nothing waits any more."""
        if not self.queue_size:
            return 0
        parallel = self._tower.run_parallel is not None
        partly_busy = 0 < self._slots.busy < self._slots.count  # a serial call would have to wait
        demand = max(self.demand.average, len(self._waiting) + self._in_calls + partly_busy)
        self._arm = self.policy.choose(len(self._waiting), demand, parallel=parallel)
        return 1 if self._arm.parallel else self._slots.count

    def _take_batch(self) -> list[_Request[T]]:
        self._drop_cancelled()
        size = min(len(self._waiting), self._arm.size)
        return [self._waiting.popleft() for _ in range(size)]

    def _start_call(self, batch: list[_Request[T]], arm: Arm, cores: int) -> None:
        thread = self._threads.take(parallel=arm.parallel)
        self._in_calls += len(batch)

        def end(call: asyncio.Task[None]) -> None:
            """Clean up in any case: the call was cancelled, or has a bug, and nobody may wait for ever."""
            del self._calls[call]
            _fail(batch, EngineClosedError("The engine was stopped before it could answer."))
            self._in_calls -= len(batch)
            self._note_demand()
            self._threads.give_back(thread)
            self._slots.release(cores)
            if not call.cancelled() and (error := call.exception()):
                self.stats.restarts += 1
                logger.error("The worker failed on a batch", exc_info=error)

        call = asyncio.get_running_loop().create_task(self._run_batch(batch, arm, thread))
        self._calls[call] = time.monotonic()
        call.add_done_callback(end)

    async def _run_batch(self, batch: list[_Request[T]], arm: Arm, thread: EngineThread) -> None:
        """Settle a batch, item by item when it fails as a whole."""
        try:
            await self._call(batch, arm, thread)
        except StalledError as error:
            self.stats.stalls += 1
            logger.error("An engine call with %d items hangs; its thread is left behind", len(batch))
            _fail(batch, error)
        except Exception as error:  # whatever a bad batch raises, the worker must live on
            if len(batch) == 1:
                self._fail_item(batch[0], error)
                return
            logger.warning("A batch of %d failed (%s); its items are tried one by one", len(batch), error)
            self.stats.retried_batches += 1
            for request in batch:
                if not request.future.done():
                    await self._run_batch([request], arm._replace(size=1), thread)

    async def _call(self, batch: list[_Request[T]], arm: Arm, thread: EngineThread) -> None:
        run = self._tower.run
        if arm.parallel and self._tower.run_parallel is not None:
            run = self._tower.run_parallel
        items = [request.item for request in batch]
        # Up to the size whose shape the runtime knows; rows do not depend on their company.
        size = next(size for size in self.policy.sizes_from(arm) if size >= len(items))
        padded = items + items[-1:] * (size - len(items))
        saturated = self._is_saturated
        rows, infer_ms = await thread.call(lambda: _checked(run(padded), size), self._limits.call_timeout_s)
        if not arm.parallel or (saturated and self._is_saturated):
            self.policy.observe(arm._replace(size=size), infer_ms)
        self.stats.count_call(len(items), infer_ms)
        for request, row in zip(batch, rows, strict=False):
            if not request.future.done():
                request.future.set_result(Row(row, self.stats.calls, len(items), infer_ms))

    @property
    def _is_saturated(self) -> bool:
        return self._slots.busy >= DEMAND_FOR_PARALLEL * self._slots.count

    def _fail_item(self, request: _Request[T], error: Exception) -> None:
        self.stats.failed_items += 1
        if isinstance(error, EngineError):
            _fail([request], error)
            return
        logger.error("An engine call failed", exc_info=error)
        _fail(
            [request], InferenceError("The engine failed on this request; the server's log says why."), error
        )

    def _note_demand(self) -> None:
        self.demand.note(len(self._waiting) + self._in_calls)

    def _drop_cancelled(self) -> None:
        if any(request.future.done() for request in self._waiting):
            self._waiting = deque(request for request in self._waiting if not request.future.done())

    def _settle_waiting(self) -> None:
        _fail(self._waiting, EngineClosedError("The engine was stopped before it could answer."))
        self._waiting.clear()


def _checked(rows: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    if len(rows) != size:
        raise InferenceError(f"The engine returned {len(rows)} rows for {size} inputs.")
    return rows


def _fail(requests: Iterable[_Request[Any]], failure: EngineError, cause: Exception | None = None) -> None:
    """Settle what is not settled yet; each caller raises an error of its own, with its own traceback."""
    for request in requests:
        if not request.future.done():
            error = type(failure)(*failure.args)
            error.__cause__ = cause
            request.future.set_exception(error)
