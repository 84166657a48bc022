"""MicroBatcher: an asynchronous queue that turns single requests into batched engine calls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings
from engines.errors import EngineClosedError, EngineError, InferenceError, OverloadedError

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherLimits:
    """The batcher's three knobs."""

    max_batch_size: int = 16  # items per engine call
    max_wait_ms: float = 2.0  # how long the first of a batch waits for company
    max_queue_size: int = 1024  # waiting items before OverloadedError


@dataclass(frozen=True, slots=True)
class Row:
    """The embedding of one item and what its batch took."""

    embedding: NDArray[np.float32]  # [dim]
    batch_number: int  # items of one engine call share it
    batch_size: int
    infer_ms: float  # of the whole engine call


class EngineThread:
    """The one thread that calls an engine, and the order in which its batchers take turns."""

    def __init__(self, name: str) -> None:
        self.turn = asyncio.Lock()  # first come, first served
        self.executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def close(self) -> None:
        """Stop the thread after the call that it may be in."""
        self.executor.shutdown(wait=True, cancel_futures=True)


@dataclass(slots=True)
class _Request(Generic[T]):
    item: T
    future: asyncio.Future[Row]
    arrived_s: float = field(default_factory=time.perf_counter)


class MicroBatcher(Generic[T]):
    """Collects items that arrive close together and runs them in one engine call.

    Every future that `submit` waits for is settled whatever happens: with its row, with the error
    that its batch met, or with EngineClosedError at the end. A batch is formed only when the
    engine is free, so requests that were cancelled meanwhile never cost compute. Rows come back in
    the order of the items. Knows nothing of images, texts or models; belongs to one event loop.
    """

    def __init__(
        self, run: Callable[[Sequence[T]], Embeddings], thread: EngineThread, limits: BatcherLimits
    ) -> None:
        """Prepare a batcher; `start` begins the work.

        Args:
            run: the engine call; returns one row for each item, in order. Called in `thread`.
            thread: shared by all batchers of one engine.
            limits: batch size, waiting time and queue size.
        """
        self._run = run
        self._thread = thread
        self._limits = limits
        self._waiting: deque[_Request[T]] = deque()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._batch_number = 0

    def start(self) -> None:
        """Start the worker in the running event loop."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Stop the worker and settle every waiting request with EngineClosedError."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.wait([worker])
        self._settle_waiting()

    @property
    def queue_size(self) -> int:
        """Return the number of items that wait for an engine call."""
        self._drop_cancelled()
        return len(self._waiting)

    async def submit(self, items: Sequence[T]) -> list[Row]:
        """Embed items in one batch or more, together with what others submit; same length and order.

        Never more than a batch of one caller's items waits in the queue, so a long list neither
        overflows the queue nor holds up the others.

        Raises:
            OverloadedError: when the queue is full; nothing of this call stays in it.
            InferenceError: when the engine failed on the batch.
            EngineClosedError: when the batcher is not running or stops first.
        """
        rows: list[Row] = []
        size = min(self._limits.max_batch_size, self._limits.max_queue_size)
        for start in range(0, len(items), size):
            requests = self._enqueue(items[start : start + size])
            try:
                rows += await asyncio.gather(*(request.future for request in requests))
            finally:  # after an error or a cancellation the others are no longer wanted
                for request in requests:
                    request.future.cancel()
        return rows

    def _enqueue(self, items: Sequence[T]) -> list[_Request[T]]:
        if self._worker is None or self._worker.done():
            raise EngineClosedError("The engine is not running; start the server again.")
        if self.queue_size + len(items) > self._limits.max_queue_size:
            raise OverloadedError(
                f"The queue is full ({len(self._waiting)} items wait); try again in a moment."
            )
        loop = asyncio.get_running_loop()
        requests = [_Request(item, loop.create_future()) for item in items]
        self._waiting.extend(requests)
        self._arrived.set()
        return requests

    async def _work(self) -> None:
        try:
            while True:
                await self._wait_for_company()
                async with self._thread.turn:
                    batch = self._take_batch()
                    if batch:
                        await self._serve(batch)
        finally:  # also when the loop above has a bug: nobody may wait for ever
            self._settle_waiting()

    async def _wait_for_company(self) -> None:
        """Return when a batch is full or its first request has waited long enough."""
        while not self.queue_size:
            self._arrived.clear()
            await self._arrived.wait()
        deadline_s = self._waiting[0].arrived_s + self._limits.max_wait_ms / 1000
        while 0 < len(self._waiting) < self._limits.max_batch_size:
            remaining_s = deadline_s - time.perf_counter()
            if remaining_s <= 0:
                return
            # No asyncio.wait_for: before Python 3.12 it can swallow the cancellation that stops the worker.
            self._arrived.clear()
            alarm = asyncio.get_running_loop().call_later(remaining_s, self._arrived.set)
            try:
                await self._arrived.wait()
            finally:
                alarm.cancel()

    def _take_batch(self) -> list[_Request[T]]:
        self._drop_cancelled()
        size = min(len(self._waiting), self._limits.max_batch_size)
        return [self._waiting.popleft() for _ in range(size)]

    async def _serve(self, batch: list[_Request[T]]) -> None:
        self._batch_number += 1
        items = [request.item for request in batch]
        loop = asyncio.get_running_loop()
        try:
            rows, infer_ms = await loop.run_in_executor(self._thread.executor, self._timed_run, items)
        except EngineError as error:
            _fail(batch, error)
        except Exception as error:  # whatever a bad batch raises, the worker must live on
            logger.exception("An engine call with %d items failed", len(batch))
            _fail(
                batch, InferenceError("The engine failed on this request; the server's log says why."), error
            )
        else:
            for request, row in zip(batch, rows, strict=True):
                if not request.future.done():
                    request.future.set_result(Row(row, self._batch_number, len(batch), infer_ms))
        finally:  # the worker was cancelled, or something worse than an Exception was raised
            _fail(batch, EngineClosedError("The engine was stopped before it could answer."))

    def _timed_run(self, items: list[T]) -> tuple[Embeddings, float]:
        start_s = time.perf_counter()
        rows = self._run(items)
        if len(rows) != len(items):
            raise InferenceError(f"The engine returned {len(rows)} rows for {len(items)} inputs.")
        return rows, (time.perf_counter() - start_s) * 1000

    def _drop_cancelled(self) -> None:
        if any(request.future.done() for request in self._waiting):
            self._waiting = deque(request for request in self._waiting if not request.future.done())

    def _settle_waiting(self) -> None:
        _fail(self._waiting, EngineClosedError("The engine was stopped before it could answer."))
        self._waiting.clear()


def _fail(requests: Iterable[_Request[T]], failure: EngineError, cause: Exception | None = None) -> None:
    """Settle what is not settled yet; each caller raises an error of its own, with its own traceback."""
    for request in requests:
        if not request.future.done():
            error = type(failure)(*failure.args)
            error.__cause__ = cause
            request.future.set_exception(error)
