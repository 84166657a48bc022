"""Services: what every tab and route is handed instead of globals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.settings import Settings
from engines.errors import InvalidInputError, UnknownModelError
from engines.factory import EngineOptions
from engines.pool import EnginePool, PooledEngine


@dataclass(frozen=True, slots=True)
class Services:
    """The engines that all doors share, and which of them this server offers."""

    pool: EnginePool
    models: tuple[str, ...]
    engine: str | None = None  # None: each model's best

    async def engines(self, models: Sequence[str]) -> list[PooledEngine]:
        """Return the running engines of some of the offered models, loading what is not loaded yet.

        Only offered names are looked up: a remote caller must not be able to name a folder.

        Raises:
            InvalidInputError: when no model is named, or one's checkpoint is damaged.
            UnknownModelError: when one is not offered.
            BackendUnavailableError: when one cannot be loaded here.
            EngineClosedError: when the server is stopping.
        """
        if not models:
            raise InvalidInputError(f"No model is chosen; choose at least one of {', '.join(self.models)}.")
        for model in models:
            if model not in self.models:
                raise UnknownModelError(
                    f"Unknown model {model!r}; this server offers {', '.join(self.models)}."
                )
        return [await self.pool.get(model, self.engine) for model in dict.fromkeys(models)]


def build_services(settings: Settings) -> Services:
    """Make the engine pool and begin to load the offered models in the background.

    Raises:
        UnknownModelError: when a model or engine is not known.
        InvalidInputError: when a folder is not a checkpoint.
    """
    pool = build_pool(settings)
    pool.start_loading(settings.models, settings.engine)
    return Services(pool, settings.models, settings.engine)


def build_pool(settings: Settings) -> EnginePool:
    """Make an empty engine pool as the settings want it."""
    options = EngineOptions(cache_dir=settings.cache_dir, num_threads=settings.num_threads)
    return EnginePool(settings.batcher_limits, options)
