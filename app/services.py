"""Services: what every tab and route is handed instead of globals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from app.metrics import Metrics
from app.settings import Settings
from engines.checkpoints.registry import default_models
from engines.errors import EngineError, InvalidInputError, QualityGateError, UnknownModelError
from engines.factory import EngineOptions
from engines.health import EngineHealth
from engines.loading import EngineKey
from engines.machine.malloc import keep_freed_memory
from engines.pool import EnginePool, PooledEngine
from engines.quality import Quality
from engines.worker.cache import EmbeddingCache
from engines.worker.shared import Worker
from engines.worker.text_store import TextStore
from use_cases.retrieval.galleries import Galleries, GalleryOptions
from use_cases.telemetry import otlp
from use_cases.telemetry.otlp import OtlpSender
from use_cases.telemetry.telemetry import Telemetry

logger = logging.getLogger(__name__)

_REST_S = 2.0  # in which the page of who started the server appears


@dataclass(frozen=True, slots=True)
class Services:
    """The engines and galleries that all doors share, which of them are offered, and what is counted."""

    pool: EnginePool
    models: tuple[str, ...]
    default_engine: str | None = None  # None: each model's best
    gallery_options: GalleryOptions = field(default_factory=lambda: Settings().gallery_options)
    may_measure: bool = field(default_factory=lambda: Settings().may_measure)  # visitors, for minutes
    measuring: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)  # two would measure each other
    telemetry: Telemetry = field(init=False, default_factory=Telemetry)
    sender: OtlpSender | None = field(init=False, default=None)
    metrics: Metrics = field(init=False)
    galleries: Galleries = field(init=False)

    def __post_init__(self) -> None:
        if otlp.is_wanted():
            sender = OtlpSender(self.telemetry.time_of_day)
            self.telemetry.listeners.append(sender.send)
            object.__setattr__(self, "sender", sender)
        object.__setattr__(self, "metrics", Metrics(self.pool, self.telemetry))
        object.__setattr__(self, "galleries", Galleries(self.gallery_options, self.engines))

    async def build_demo_gallery(self) -> None:
        """Begin to embed the shipped gallery for the offered models, once they are ready and at rest."""
        models = [model for model in self.models if await self._loads(model)]
        await asyncio.sleep(_REST_S)
        if models:
            self.metrics.index.watch(await self.galleries.add_demo(models))

    async def close(self) -> None:
        """Stop what fills the galleries, then the engines."""
        await self.galleries.close()
        await self.pool.close()
        if self.sender is not None:
            self.telemetry.count()
            await asyncio.to_thread(self.sender.close)

    async def engine(self, model: str = "", engine: str = "") -> PooledEngine:
        """Return the running engine of one offered model, the first of them when none is named.

        Raises:
            EngineError: what `engines` raises.
        """
        (pooled,) = await self.engines([model or self.models[0]], engine)
        return pooled

    async def health(self) -> list[EngineHealth]:
        """Return whether each offered model answers on its own engine, and each engine that is loaded."""
        keys = [await self.pool.key(model, self.default_engine) for model in self.models]
        return [self.pool.health(key) for key in dict.fromkeys([*keys, *self.pool.running])]

    async def engines(self, models: Sequence[str], engine: str = "") -> list[PooledEngine]:
        """Return the running engines of some of the offered models, loading what is not loaded yet.

        Args:
            models: offered names.
            engine: the engine for all of them; the server's own choice when empty.

        Raises:
            InvalidInputError: when no model is named, or one's checkpoint is damaged.
            UnknownModelError: when a model is not offered or the engine is not known.
            QualityGateError: when the engine is too far from float32 for a model.
            BackendUnavailableError: when one cannot be loaded here.
            EngineClosedError: when the server is stopping.
        """
        with ExitStack() as held:  # the first must not be unloaded while the last is being built
            found: list[PooledEngine] = []
            for model in self._offered(models):
                found.append(await self.pool.get(model, engine or self.default_engine))
                held.enter_context(found[-1].engine.keeping())
            return found

    async def passing_engines(
        self, models: Sequence[str], engine: str = ""
    ) -> tuple[list[PooledEngine], dict[str, QualityGateError]]:
        """Do what `engines` does, but return the failed quality gates, by model, beside the other engines.

        Raises:
            QualityGateError: when none passes.
            EngineError: what else `engines` raises.
        """
        passing: list[PooledEngine] = []
        failing: dict[str, QualityGateError] = {}
        with ExitStack() as held:
            for model in self._offered(models):
                try:
                    passing.append(await self.pool.get(model, engine or self.default_engine))
                except QualityGateError as error:
                    failing[model] = error
                else:
                    held.enter_context(passing[-1].engine.keeping())
        if not passing:
            raise next(iter(failing.values()))
        return passing, failing

    async def not_ready(self, models: Sequence[str], engine: str = "") -> list[EngineKey]:
        """Return what would have to be loaded first, and perhaps built, to answer with some models.

        Raises:
            InvalidInputError: when no model is named, or one's checkpoint is damaged.
            UnknownModelError: when a model is not offered or the engine is not known.
        """
        keys = [await self.pool.key(model, engine or self.default_engine) for model in self._offered(models)]
        return [key for key in keys if not self.pool.is_ready(key)]

    async def qualities(self, models: Sequence[str], engine: str = "") -> dict[EngineKey, Quality | None]:
        """Return what is known of how close engines are to float32: None where it was never measured.

        Raises:
            InvalidInputError: when no model is named, or one's checkpoint is damaged.
            UnknownModelError: when a model is not offered or the engine is not known.
        """
        keys = [await self.pool.key(model, engine or self.default_engine) for model in self._offered(models)]
        return {key: await self.pool.quality(key) for key in keys}

    async def _loads(self, model: str) -> bool:
        """Load a model's engine; return whether that worked."""
        try:
            await self.engine(model)
        except EngineError as error:
            logger.warning("The demo gallery is built without %s: %s", model, error)
            return False
        return True

    def _offered(self, models: Sequence[str]) -> list[str]:
        """Return the names, each once; a remote caller must not be able to name a folder."""
        if not models:
            raise InvalidInputError(f"No model is chosen; choose at least one of {', '.join(self.models)}.")
        for model in models:
            if model not in self.models:
                raise UnknownModelError(
                    f"Unknown model {model[:80]!r}; this server offers {', '.join(self.models)}."
                )
        return list(dict.fromkeys(models))


def build_services(settings: Settings) -> Services:
    """Make the engine pool and begin to load the offered models in the background.

    Raises:
        UnknownModelError: when a model or engine is not known.
        InvalidInputError: when a folder is not a checkpoint.
        BackendUnavailableError: when a model has to be downloaded and cannot.
    """
    models = settings.models or default_models()
    pool = build_pool(settings)
    pool.start_loading(models, settings.engine)
    logger.info("Offering %s.", ", ".join(models))
    return Services(pool, models, settings.engine, settings.gallery_options, settings.may_measure)


def build_pool(settings: Settings) -> EnginePool:
    """Make an empty engine pool as the settings want it, in a process that is ready for images."""
    keep_freed_memory()
    options = EngineOptions(
        cache_dir=settings.cache_dir,
        num_threads=settings.num_threads,
        gated=settings.gated,
        allow_download=settings.download,
        allow_pickled_weights=settings.allow_pickled_weights,
    )
    worker = Worker(
        cache=EmbeddingCache(int(settings.cache_mb * 1e6)),
        limits=settings.batcher_limits,
        texts=TextStore(settings.text_cache) if settings.text_cache else None,
        parallel=settings.parallel,
    )
    return EnginePool(worker, options, settings.pool_limits)
