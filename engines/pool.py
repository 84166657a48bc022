"""EnginePool: load each model on each engine once and hand everybody the same instance."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import NamedTuple

from PIL import Image

from engines.base import Engine
from engines.batched_engine import BatchedEngine
from engines.batcher import BatcherLimits
from engines.errors import EngineClosedError
from engines.factory import ENGINES, EngineOptions, load_engine, resolve_engine, resolve_model
from engines.models import ModelSpec
from engines.preparation.preprocess import Preprocessor
from engines.quality import Quality, read_quality

logger = logging.getLogger(__name__)


class EngineKey(NamedTuple):
    """A model on an engine."""

    model: str
    engine: str


class _Loaded(NamedTuple):
    engine: Engine
    preprocessor: Preprocessor
    quality: Quality | None


class PooledEngine(NamedTuple):
    """An engine from the pool, what it cost this caller to get it, and how far it is to be trusted."""

    engine: BatchedEngine
    load_ms: float = 0.0  # 0.0 when it was ready: a warm start
    quality: Quality | None = None  # None for float32, and where it was not measured


class EnginePool:
    """Keeps one running BatchedEngine for each pair of model and engine.

    Loading runs in a thread of its own, one engine after the other, and warms the engine up. A
    failed load reaches everyone who waits for it and is tried again at the next request.
    `start_loading` may be called from anywhere, even before there is an event loop; all other
    methods belong to one event loop.
    """

    def __init__(self, limits: BatcherLimits | None = None, options: EngineOptions | None = None) -> None:
        """Make an empty pool; the arguments are those of BatchedEngine and load_engine."""
        self._limits = limits or BatcherLimits()
        self._options = options or EngineOptions()
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine-loader")
        self._resolve = cache(partial(resolve_model, options=self._options))
        # A model's default stays the same while the server runs, whatever is built meanwhile.
        self._resolve_default = cache(self._default)
        self._loading: dict[EngineKey, Future[_Loaded]] = {}
        self._running: dict[EngineKey, PooledEngine] = {}
        self._closed = False

    def start_loading(self, models: Sequence[str], engine: str | None = None) -> None:
        """Begin to load engines in the background, if all the names are right; failures are logged.

        Raises:
            UnknownModelError: when a model or the engine is not known.
            InvalidInputError: when a folder is not a checkpoint or the engine cannot run a model.
        """
        for key in [self._key(model, engine) for model in models]:
            self._start(key).add_done_callback(partial(_log_failure, key))

    async def get(self, model: str, engine: str | None = None) -> PooledEngine:
        """Return the running engine, loading it first when nobody has asked for it before.

        Raises:
            UnknownModelError: when the model or the engine is not known.
            InvalidInputError: when the checkpoint is damaged or the engine cannot run it.
            BackendUnavailableError: when an optional package or a tower's file is missing.
            EngineClosedError: when the pool was closed.
        """
        start_s = time.perf_counter()
        key = await asyncio.to_thread(self._key, model, engine)
        if key in self._running:
            return self._running[key]
        # A load in the background may have ended long ago; then nobody waits for it now.
        cold = key not in self._loading or not self._loading[key].done()
        loading = self._start(key)
        try:
            loaded = await asyncio.shield(asyncio.wrap_future(loading))
        except asyncio.CancelledError:
            if loading.cancelled():  # by close(), not by our caller
                raise EngineClosedError("The server is stopping.") from None
            raise
        except Exception:  # whatever it was, the next request tries to load again
            if self._loading.get(key) is loading:
                del self._loading[key]
            raise
        if self._closed:
            raise EngineClosedError("The server is stopping.")
        if key not in self._running:
            batched = BatchedEngine(loaded.engine, loaded.preprocessor, self._limits)
            self._running[key] = PooledEngine(await batched.__aenter__(), quality=loaded.quality)
        load_ms = (time.perf_counter() - start_s) * 1000 if cold else 0.0
        return self._running[key]._replace(load_ms=load_ms)

    async def key(self, model: str, engine: str | None = None) -> EngineKey:
        """Return which engine `get` would return, without loading it.

        Raises:
            UnknownModelError: when the model or the engine is not known.
            InvalidInputError: when a folder is not a checkpoint or the engine cannot run it.
        """
        return await asyncio.to_thread(self._key, model, engine)

    def is_ready(self, key: EngineKey) -> bool:
        """Tell whether `get` would answer at once."""
        loading = self._loading.get(key)
        return key in self._running or (loading is not None and loading.done())

    async def quality(self, key: EngineKey) -> Quality | None:
        """Return how close a quantized engine is to float32, if that was measured."""
        spec, folder = self._resolve(key.model), self._options.folder
        return await asyncio.to_thread(read_quality, spec, key.engine, folder)

    async def close(self) -> None:
        """Stop all engines; requests that wait get EngineClosedError."""
        self._closed = True
        for pooled in self._running.values():
            await pooled.engine.close()
        self._running.clear()
        await asyncio.to_thread(self._loader.shutdown, cancel_futures=True)

    def _key(self, model: str, engine: str | None) -> EngineKey:
        if engine is None:
            return EngineKey(model, self._resolve_default(model))
        return EngineKey(model, resolve_engine(self._resolve(model), engine))

    def _default(self, model: str) -> str:
        return resolve_engine(self._resolve(model), None, self._options)

    def _start(self, key: EngineKey) -> Future[_Loaded]:
        if self._closed:
            raise EngineClosedError("The server is stopping.")
        if key not in self._loading:
            self._loading[key] = self._loader.submit(self._load, key)
        return self._loading[key]

    def _load(self, key: EngineKey) -> _Loaded:
        spec = self._resolve(key.model)
        engine = load_engine(spec, key.engine, self._options)
        measured = ENGINES[key.engine].gate is not None
        quality = read_quality(spec, key.engine, self._options.folder) if measured else None
        loaded = _Loaded(engine, Preprocessor(spec), quality)
        _warm_up(loaded, spec)
        return loaded


def _log_failure(key: EngineKey, loading: Future[_Loaded]) -> None:
    if not loading.cancelled() and (error := loading.exception()):
        logger.error("Loading %s on %s failed: %s", key.model, key.engine, error)


def _warm_up(loaded: _Loaded, spec: ModelSpec) -> None:
    """Run both towers once: the first call of a runtime allocates memory and picks kernels."""
    blank = Image.new("RGB", (spec.image_size, spec.image_size))
    loaded.engine.embed_pixels([loaded.preprocessor.prepare_image(blank)])
    loaded.engine.embed_tokens([loaded.preprocessor.prepare_text("warm-up")])
