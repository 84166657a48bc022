"""EngineLoader: resolves names and loads engines, one after the other, off the event loop."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, partial
from typing import NamedTuple

from engines.artifacts.builders import stop_builders
from engines.base import Engine
from engines.errors import BackendUnavailableError, EngineError
from engines.factory import ENGINES, EngineOptions, load_engine, resolve_engine, resolve_model
from engines.identity import engine_identity
from engines.preparation.preprocess import Preprocessor
from engines.quality import Quality, read_quality
from engines.worker.canary import CanaryInput, warm_up

_LOOK_AGAIN_S = 0.2  # for what a load builds, when it shall end
logger = logging.getLogger(__name__)


class EngineKey(NamedTuple):
    """A model on an engine."""

    model: str
    engine: str


class Loaded(NamedTuple):
    """An engine that was loaded and warmed up, and what is known about it."""

    engine: Engine
    preprocessor: Preprocessor
    quality: Quality | None
    canary: CanaryInput
    identity: str


class EngineLoader:
    """Remembers what names stand for, so that a running server does not change its mind."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine-loader")
        self._loads: set[Future[Loaded]] = set()  # that have not ended
        self.resolve = cache(partial(resolve_model, options=options))
        self._default = cache(lambda model: resolve_engine(self.resolve(model), None, options))

    def key(self, model: str, engine: str | None) -> EngineKey:
        """Return a model on an engine, its default on this machine when none is named; may read files.

        Raises:
            UnknownModelError: when the model or the engine is not known.
            InvalidInputError: when a folder is not a checkpoint or the engine cannot run it.
        """
        if engine is None:
            return EngineKey(model, self._default(model))
        return EngineKey(model, resolve_engine(self.resolve(model), engine))

    def quality(self, key: EngineKey) -> Quality | None:
        """Return how close an engine is to float32, if that was measured here."""
        return read_quality(self.resolve(key.model), key.engine, self._options.folder)

    def submit(self, key: EngineKey) -> Future[Loaded]:
        """Load an engine after those that were asked for before."""
        load = self._thread.submit(self._load, key)
        self._loads.add(load)
        load.add_done_callback(self._loads.discard)
        return load

    def close(self) -> None:
        """Wait for the load that runs, but not for what it builds; those that wait are cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        while wait(list(self._loads), timeout=_LOOK_AGAIN_S).not_done:
            stop_builders()
        self._thread.shutdown()

    def _load(self, key: EngineKey) -> Loaded:
        try:
            return self._load_and_warm_up(key)
        except EngineError:
            raise
        except Exception as error:  # whatever a runtime raises, the other engines must stay usable
            logger.exception("Loading %s on %s failed", *key)
            raise BackendUnavailableError(
                f"{key.model} cannot be loaded on {key.engine}; the server's log says why."
            ) from error

    def _load_and_warm_up(self, key: EngineKey) -> Loaded:
        spec = self.resolve(key.model)
        engine = load_engine(spec, key.engine, self._options)
        quality = self.quality(key) if ENGINES[key.engine].gate else None
        preprocessor = Preprocessor(spec)
        canary = warm_up(engine, preprocessor)
        return Loaded(engine, preprocessor, quality, canary, engine_identity(spec, key.engine))
