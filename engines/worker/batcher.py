"""MicroBatcher: an asynchronous queue that turns single requests into batched engine calls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineClosedError, EngineError, InferenceError
from engines.worker.calls import BatcherLimits, EngineCall, EngineThreads, Row, Tower
from engines.worker.cores import CoreSlots
from engines.worker.lane import Lane, Request, fail
from engines.worker.policy import DEMAND_FOR_PARALLEL, Arm, BatchPolicy
from engines.worker.stats import TowerStats
from engines.worker.thread import EngineThread, StalledError

T = TypeVar("T")

logger = logging.getLogger(__name__)

BACKGROUND_CALL_MS = 100.0  # at most: what a visitor who comes in the middle of it has to wait
_PAUSE_S = 0.01  # after a failure of the worker; one that fails every time must not block the event loop


class MicroBatcher(Generic[T]):
    """Collects items that arrive close together and runs them in one engine call.

    Every future that `enqueue` returns is settled whatever happens: with its row, with the error that
    its item met, or with EngineClosedError at the end. When a batch fails its items are tried one by
    one, so that only the culprit fails. A batch is formed only when cores are free, so requests that
    were cancelled meanwhile never cost compute. Rows come back in the order of the items. Knows
    nothing of images, texts or models; belongs to one event loop.

    Background items wait in a lane of their own: a call for them starts only while no other item
    waits, here or for cores, and is short, so whoever comes next waits for one such call at most.
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
        self._interactive: Lane[T] = Lane(limits, background=False)
        self._background: Lane[T] = Lane(limits, background=True)
        self._workers: list[asyncio.Task[None]] = []
        self._calls: dict[asyncio.Task[None], float] = {}  # and when they started

    def start(self) -> None:
        """Start the workers, one for each lane, in the running event loop."""
        loop = asyncio.get_running_loop()
        lanes = (self._interactive, self._background)
        self._workers = [loop.create_task(self._keep_working(lane)) for lane in lanes]
        self._slots.add_queue(self._has_waiting)

    async def close(self) -> None:
        """Stop the workers and settle every waiting request, background too, with EngineClosedError."""
        if not self._workers:
            return
        tasks, self._workers = [*self._workers, *self._calls], []
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for lane in (self._interactive, self._background):
            _settle_waiting(lane)
        self._slots.remove_queue(self._has_waiting)

    def set_limits(self, limits: BatcherLimits) -> None:
        """Change the largest batch and the longest wait from the next call on."""
        self._limits = limits
        self.policy.limit(limits.max_batch_size)
        self._interactive.max_wait_ms = limits.max_wait_ms

    @property
    def queue_size(self) -> int:
        """Return the number of items that wait for an engine call, without those in the background."""
        return self._interactive.size

    @property
    def background_queue_size(self) -> int:
        """Return the number of background items that wait for an engine call."""
        return self._background.size

    @property
    def average_demand(self) -> float:
        """Return the average number of items in the queues and in calls over the last moments."""
        return self._interactive.demand.average + self._background.demand.average

    @property
    def is_busy(self) -> bool:
        """Tell whether items wait or are being computed, in the background too."""
        return bool(self.queue_size or self.background_queue_size or self._calls)

    @property
    def silent_s(self) -> float:
        """Return how long something is due and no engine call has ended well; 0.0 while nothing is due.

        Background items that wait are not due: they may wait as long as others have work.
        """
        first_s = self._interactive.first_s
        due_s = list(self._calls.values()) + ([] if first_s is None else [first_s])
        return time.perf_counter() - max(min(due_s), self.stats.last_success_s or 0.0) if due_s else 0.0

    def enqueue(self, items: Sequence[T], *, background: bool = False) -> list[asyncio.Future[Row]]:
        """Put items into the queue, all or none; cancelling a future takes its item out again.

        Args:
            items: for the engine.
            background: let them wait while others have work; they take no room from the others.

        Raises:
            OverloadedError: when the queue has no room for all of them.
            EngineClosedError: when the batcher is not running.
        """
        if not self._workers:
            raise EngineClosedError("The engine is not running; start the server again.")
        futures = (self._background if background else self._interactive).put(items)
        if futures:
            self._slots.reconsider()
        return futures

    async def submit(self, items: Sequence[T], *, background: bool = False) -> list[Row]:
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
            futures = self.enqueue(items[start : start + self.chunk_size], background=background)
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

    def _has_waiting(self) -> bool:
        return self._interactive.size > 0

    async def _keep_working(self, lane: Lane[T]) -> None:
        try:
            while True:
                try:
                    await self._work(lane)
                except Exception:  # a bug of this file; whoever waits is served all the same
                    self.stats.restarts += 1
                    logger.exception("The worker failed and starts again")
                    await asyncio.sleep(_PAUSE_S)
        finally:
            _settle_waiting(lane)

    async def _work(self, lane: Lane[T]) -> None:
        while True:
            lane.open_s = time.perf_counter()
            await self._wait_for_company(lane)
            lane.filled_s = time.perf_counter()
            need = partial(self._cores_needed, lane)
            cores = await self._slots.acquire(need, background=lane.background)
            if not cores:  # nothing waited any more; what has come since needs cores of its own
                continue
            try:
                batch = lane.take()
            except BaseException:
                self._slots.release(cores)
                raise
            if batch:
                self._start_call(batch, lane, cores)
            else:
                self._slots.release(cores)

    async def _wait_for_company(self, lane: Lane[T]) -> None:
        """Return when there is work, and no gain in waiting for more of it."""
        while (first_s := lane.first_s) is None:
            lane.arrived.clear()
            self._slots.reconsider()  # the background may have held back for what has gone
            await lane.arrived.wait()
        while 0 < lane.size < self._limits.max_batch_size:
            wait_ms = self.policy.wait_ms(lane.size, lane.demand.gap_ms)
            deadline_s = first_s + min(wait_ms, lane.max_wait_ms) / 1000
            remaining_s = deadline_s - time.perf_counter()
            if remaining_s <= 0:
                return
            # No asyncio.wait_for: before Python 3.12 it can swallow the cancellation that stops the worker.
            lane.arrived.clear()
            alarm = asyncio.get_running_loop().call_later(remaining_s, lane.arrived.set)
            try:
                await lane.arrived.wait()
            finally:
                alarm.cancel()

    def _cores_needed(self, lane: Lane[T]) -> int:
        """Choose the next call and return how many cores it takes; none when nothing waits any more."""
        waiting = lane.size
        if not waiting:
            return 0
        partly_busy = 0 < self._slots.busy < self._slots.count  # a serial call would have to wait
        demand = max(lane.demand.average, waiting + lane.in_calls + partly_busy)
        parallel = self._tower.run_parallel is not None
        if lane.background:
            lane.arm = self.policy.choose_short(
                waiting, demand, parallel=parallel, within_ms=BACKGROUND_CALL_MS
            )
        else:
            lane.arm = self.policy.choose(waiting, demand, parallel=parallel)
        return 1 if lane.arm.parallel else self._slots.count

    def _start_call(self, batch: list[Request[T]], lane: Lane[T], cores: int) -> None:
        arm = lane.arm
        thread = self._threads.take(parallel=arm.parallel)
        lane.count_in_calls(len(batch))
        place = ExitStack()  # what the call holds; whoever closes it first makes room for the next call
        place.callback(self._slots.release, cores)
        place.callback(self._threads.give_back, thread)
        place.callback(lane.count_in_calls, -len(batch))

        def end(call: asyncio.Task[None]) -> None:
            """Clean up in any case: the call was cancelled, or has a bug, and nobody may wait for ever."""
            del self._calls[call]
            fail(batch, EngineClosedError("The engine was stopped before it could answer."))
            place.close()
            if not call.cancelled() and (error := call.exception()):
                self.stats.restarts += 1
                logger.error("The worker failed on a batch", exc_info=error)

        call = asyncio.get_running_loop().create_task(self._run_batch(batch, arm, thread, place))
        self._calls[call] = time.perf_counter()
        call.add_done_callback(end)

    async def _run_batch(
        self, batch: list[Request[T]], arm: Arm, thread: EngineThread, place: ExitStack
    ) -> None:
        """Settle a batch, item by item when it fails as a whole."""
        try:
            await self._call(batch, arm, thread, place)
        except StalledError as error:
            self.stats.stalls += 1
            logger.error("An engine call with %d items hangs; its thread is left behind", len(batch))
            fail(batch, error)
        except Exception as error:  # whatever a bad batch raises, the worker must live on
            if len(batch) == 1:
                self._fail_item(batch[0], error)
                return
            logger.warning("A batch of %d failed (%s); its items are tried one by one", len(batch), error)
            self.stats.retried_batches += 1
            for request in batch:
                if not request.future.done():
                    # Its end makes no room: the next item needs the thread and the cores again.
                    await self._run_batch([request], arm._replace(size=1), thread, ExitStack())

    async def _call(self, batch: list[Request[T]], arm: Arm, thread: EngineThread, place: ExitStack) -> None:
        run = self._tower.run
        if arm.parallel and self._tower.run_parallel is not None:
            run = self._tower.run_parallel
        items = [request.item for request in batch]
        # Up to the size whose shape the runtime knows; rows do not depend on their company.
        size = next(size for size in self.policy.sizes_from(arm) if size >= len(items))
        padded = items + items[-1:] * (size - len(items))
        saturated = self._is_saturated
        rows, start_s, end_s = await thread.call(
            lambda: _checked(run(padded), size), self._limits.call_timeout_s
        )
        call = EngineCall(self.stats.calls, len(items), start_s, end_s)
        if not arm.parallel or (saturated and self._is_saturated):
            self.policy.observe(arm._replace(size=size), call.infer_ms)
        self.stats.count_call(len(items), call.infer_ms, background=batch[0].background)
        place.close()  # first, so that the cores compute while whoever waited makes an answer of this
        for request, row in zip(batch, rows, strict=False):
            if not request.future.done():
                request.future.set_result(Row(row, call, request.arrived_s, request.filled_s))

    @property
    def _is_saturated(self) -> bool:
        return self._slots.busy >= DEMAND_FOR_PARALLEL * self._slots.count

    def _fail_item(self, request: Request[T], error: Exception) -> None:
        self.stats.failed_items += 1
        if isinstance(error, EngineError):
            fail([request], error)
            return
        logger.error("An engine call failed", exc_info=error)
        fail(
            [request], InferenceError("The engine failed on this request; the server's log says why."), error
        )


def _checked(rows: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    if len(rows) != size:
        raise InferenceError(f"The engine returned {len(rows)} rows for {size} inputs.")
    return rows


def _settle_waiting(lane: Lane[T]) -> None:
    lane.fail(EngineClosedError("The engine was stopped before it could answer."))
