"""EnginePool: load each model on each engine once and hand everybody the same instance."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from engines.errors import EngineClosedError
from engines.factory import EngineOptions
from engines.health import EngineHealth, read_health
from engines.housekeeping import PoolLimits, free_memory, too_many
from engines.loading import EngineKey, EngineLoader, Loaded
from engines.machine.malloc import trim_memory
from engines.models import ModelSpec
from engines.quality import Quality
from engines.tracing import Span, current_trace
from engines.worker.batched_engine import BatchedEngine
from engines.worker.canary import Canary
from engines.worker.shared import Worker

logger = logging.getLogger(__name__)

_TRIM_S = 10.0
_HOUSEKEEPING_S = 1.0  # between two looks at the running engines


class PooledEngine(NamedTuple):
    """An engine from the pool, what it cost this caller to get it, and how far it is to be trusted."""

    engine: BatchedEngine
    load_ms: float = 0.0  # 0.0 when it was ready: a warm start
    quality: Quality | None = None  # None for float32, and where it was not measured


@dataclass(slots=True)
class _Running:
    pooled: PooledEngine
    canary: Canary
    check: asyncio.Task[None] | None = None  # of the canary, while it runs

    async def stop(self) -> None:
        """Stop the engine and the check of its canary."""
        if self.check is not None:
            self.check.cancel()
        await self.pooled.engine.close()


class EnginePool:
    """Keeps one running BatchedEngine for each pair of model and engine.

    Engines are loaded in the background, one after the other. A failed load reaches everyone who
    waits for it and is tried again at the next request. `start_loading` may be called from
    anywhere, even before there is an event loop; all other methods belong to one event loop.
    """

    def __init__(
        self,
        worker: Worker | None = None,
        options: EngineOptions | None = None,
        limits: PoolLimits | None = None,
    ) -> None:
        """Make an empty pool.

        Args:
            worker: what all engines share.
            options: how engines are loaded.
            limits: when `keep_house` checks engines and unloads them.
        """
        self.worker = worker or Worker()
        self.limits = limits or PoolLimits()
        self.options = options or EngineOptions()
        self._loader = EngineLoader(self.options)
        self._loading: dict[EngineKey, Future[Loaded]] = {}
        self._waiting: set[asyncio.Future[Loaded]] = set()  # for these, by whoever asked
        self._running: dict[EngineKey, _Running] = {}
        self._keys: dict[tuple[str, str | None], EngineKey] = {}  # by what was asked for
        self._failures: dict[EngineKey, str] = {}
        self._unloaded: set[EngineKey] = set()
        self._trimmed_s = time.monotonic()
        self._closed = False
        self.hangs = False  # closed, and an engine call still runs
        self.is_draining = False  # what is in work is finished; nobody should send more

    @property
    def running(self) -> dict[EngineKey, PooledEngine]:
        """Return the engines that are loaded, by model and engine."""
        return {key: running.pooled for key, running in self._running.items()}

    def start_loading(self, models: Sequence[str], engine: str | None = None) -> None:
        """Begin to load engines in the background, if all the names are right; failures are logged.

        Raises:
            UnknownModelError: when a model or the engine is not known.
            InvalidInputError: when a folder is not a checkpoint or the engine cannot run a model.
        """
        for key in [self._loader.key(model, engine) for model in models]:
            self._start(key).add_done_callback(partial(self._note_failure, key))

    async def get(self, model: str, engine: str | None = None) -> PooledEngine:
        """Return the running engine, loading it first when nobody has asked for it before.

        Raises:
            UnknownModelError: when the model or the engine is not known.
            InvalidInputError: when the checkpoint is damaged or the engine cannot run it.
            BackendUnavailableError: when an optional package or a tower's file is missing.
            EngineClosedError: when the pool was closed.
        """
        start_s = time.perf_counter()
        key = await self.key(model, engine)
        if key not in self._running:
            # A load in the background may have ended long ago; then nobody waits for it now.
            cold = key not in self._loading or not self._loading[key].done()
            await self._run(key)
            end_s = time.perf_counter()
            load_ms = (end_s - start_s) * 1000 if cold else 0.0
            if cold and (trace := current_trace()):
                trace.add(Span("load", start_s, end_s, *key))
            return self._running[key].pooled._replace(load_ms=load_ms)
        pooled = self._running[key].pooled
        pooled.engine.last_used_s = time.monotonic()  # the caller is about to use it: not to be unloaded
        return pooled

    async def key(self, model: str, engine: str | None = None) -> EngineKey:
        """Return which engine `get` would return, without loading it.

        Raises:
            UnknownModelError: when the model or the engine is not known.
            InvalidInputError: when a folder is not a checkpoint or the engine cannot run it.
        """
        if (model, engine) not in self._keys:  # resolving reads files, so it happens in a thread
            self._keys[model, engine] = await asyncio.to_thread(self._loader.key, model, engine)
        return self._keys[model, engine]

    def is_ready(self, key: EngineKey) -> bool:
        """Tell whether `get` would answer at once."""
        loading = self._loading.get(key)
        return key in self._running or (loading is not None and loading.done())

    def is_loading(self, key: EngineKey) -> bool:
        """Tell whether it will be ready without anybody asking for it."""
        loading = self._loading.get(key)
        return loading is not None and not loading.done()

    async def spec(self, model: str) -> ModelSpec:
        """Return the facts of a model.

        Raises:
            UnknownModelError: when the model is not known.
            InvalidInputError: when its folder is not a checkpoint.
        """
        return await asyncio.to_thread(self._loader.resolve, model)

    async def quality(self, key: EngineKey) -> Quality | None:
        """Return how close a quantized engine is to float32, if that was measured."""
        return await asyncio.to_thread(self._loader.quality, key)

    def set_limits(self, *, max_batch_size: int, max_wait_ms: float) -> None:
        """Change the largest batch and the longest wait, of engines that are loaded later too.

        Args:
            max_batch_size: items per engine call, at least 1.
            max_wait_ms: the longest that a request is held back for company, where company pays.
        """
        limits = replace(self.worker.limits, max_batch_size=max_batch_size, max_wait_ms=max_wait_ms)
        self.worker.limits = limits
        for engine in self._running_engines().values():
            engine.set_limits(limits)

    def health(self, key: EngineKey) -> EngineHealth:
        """Return whether an engine answers."""
        if key in self._running:
            running = self._running[key]
            return read_health(key.model, running.pooled.engine, running.canary, self.limits.max_canary_age_s)
        problem = self._failures.get(key)
        state = "failed" if problem else "unloaded" if key in self._unloaded else "loading"
        return EngineHealth(model=key.model, engine=key.engine, state=state, problem=problem)

    async def keep_house(self) -> None:
        """Run what was loaded in the background, check canaries, unload what is not needed; until closed."""
        while not self._closed:
            try:
                await self._look_after_engines()
            except EngineClosedError:
                return
            except Exception:  # a bug; without housekeeping every engine would count as stalled before long
                logger.exception("Looking after the engines failed")
            await asyncio.sleep(_HOUSEKEEPING_S)

    @property
    def is_busy(self) -> bool:
        """Tell whether any request waits for an engine or is being computed."""
        return any(engine.is_busy for engine in self._running_engines().values())

    async def drain(self, grace_s: float) -> bool:
        """Say that no more work is wanted and wait for what there is; return whether it ended in time."""
        self.is_draining = True
        end_s = time.monotonic() + grace_s
        while self.is_busy:
            if time.monotonic() > end_s:
                return False
            await asyncio.sleep(0.02)
        return True

    async def close(self) -> None:
        """Stop all engines; requests that wait get EngineClosedError."""
        self._closed = True
        running = list(self._running.values())
        self._running.clear()
        for each in running:
            await each.stop()
            self.hangs |= each.pooled.engine.hangs
        await asyncio.to_thread(self._loader.close)
        # Who asked may have left; without this the event loop might end before it has seen how a load ended.
        await asyncio.gather(*self._waiting, return_exceptions=True)
        if self.worker.texts is not None:
            self.worker.texts.close()

    def _running_engines(self) -> dict[EngineKey, BatchedEngine]:
        return {key: running.pooled.engine for key, running in self._running.items()}

    async def _run(self, key: EngineKey) -> None:
        """Put an engine into service, loading it first if need be."""
        loading = self._start(key)
        waiting = asyncio.wrap_future(loading)
        self._waiting.add(waiting)
        waiting.add_done_callback(self._forget)
        try:
            loaded = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if loading.cancelled():  # by close(), not by our caller
                raise EngineClosedError("The server is stopping.") from None
            raise
        except Exception as error:  # whatever it was, the next request tries to load again
            if self._loading.get(key) is loading:
                del self._loading[key]
                self._failures[key] = str(error)
            raise
        if self._closed:
            raise EngineClosedError("The server is stopping.")
        if key in self._running:  # somebody else who waited was first
            return
        engine = BatchedEngine(loaded.engine, loaded.preprocessor, self.worker, loaded.identity)
        self._running[key] = _Running(
            PooledEngine(await engine.__aenter__(), quality=loaded.quality), Canary(engine, loaded.canary)
        )
        self._loading.pop(key, None)
        self._failures.pop(key, None)
        self._unloaded.discard(key)

    async def _look_after_engines(self) -> None:
        for key, loading in list(self._loading.items()):
            loaded = loading.done() and not loading.cancelled() and not loading.exception()
            # A request may have put it into service since, while another was.
            if loaded and self._loading.get(key) is loading:
                await self._run(key)
        for running in self._running.values():
            self._check_canary(running)
        await self._unload(too_many(self._running_engines(), self.limits))
        if time.monotonic() - self._trimmed_s > _TRIM_S:
            self._trimmed_s = time.monotonic()
            await asyncio.to_thread(trim_memory)

    def _check_canary(self, running: _Running) -> None:
        age_s = time.monotonic() - running.canary.passed_s
        due = running.canary.is_outdated or age_s > self.limits.canary_interval_s > 0
        if due and (running.check is None or running.check.done()):
            running.check = asyncio.get_running_loop().create_task(running.canary.check())

    async def _unload(self, keys: Sequence[EngineKey]) -> None:
        # All at once: while one is closed, a request may ask for the next.
        unneeded = [self._running.pop(key) for key in keys]
        self._unloaded.update(keys)
        for key, running in zip(keys, unneeded, strict=True):
            logger.info("Unloading %s on %s.", *key)
            await running.stop()
        if keys:
            await asyncio.to_thread(free_memory)

    def _start(self, key: EngineKey) -> Future[Loaded]:
        if self._closed:
            raise EngineClosedError("The server is stopping.")
        if key not in self._loading:
            self._loading[key] = self._loader.submit(key)
        return self._loading[key]

    def _forget(self, waiting: asyncio.Future[Loaded]) -> None:
        self._waiting.discard(waiting)
        if not waiting.cancelled():
            waiting.exception()  # whoever waits gets it; asyncio complains where nobody has looked at it

    def _note_failure(self, key: EngineKey, loading: Future[Loaded]) -> None:
        if not loading.cancelled() and (error := loading.exception()):
            self._failures[key] = str(error)
            level = logging.INFO if isinstance(error, EngineClosedError) else logging.ERROR  # no fault
            logger.log(level, "Loading %s on %s failed: %s", key.model, key.engine, error)
