"""IndexJob: one ingestion that runs while a server answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

from engines.errors import EngineError, InferenceError
from engines.pool import PooledEngine
from engines.worker.background import in_background_to_the_end
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.ingest import add_images
from use_cases.retrieval.progress import IngestProgress
from use_cases.retrieval.sources import ImageFiles

logger = logging.getLogger(__name__)

JobState: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]
GetEngines: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[PooledEngine]]]
_BUG = InferenceError("It failed inside the server, whose log says why.")


class IndexJob:
    """One ingestion, from when it was asked for until after it has ended; belongs to one event loop."""

    def __init__(
        self,
        files: ImageFiles,
        index: ImageIndex,
        models: Sequence[str],
        *,
        remove_missing: bool = False,
        drop_outdated: bool = False,
        max_images: int | None = None,
        clean_up: Callable[[], None] | None = None,
    ) -> None:
        """Describe a job.

        Args:
            files: where the images are.
            index: where they go.
            models: whose embeddings are wanted.
            remove_missing: see `add_images`.
            drop_outdated: throw away what was embedded with another state of a model, instead of failing.
            max_images: see `add_images`.
            clean_up: called in a thread when it has ended, however that was.
        """
        self.state: JobState = "waiting"
        self.failure: EngineError | None = None  # why it failed
        self.models = tuple(models)
        self.progress = IngestProgress()
        self._files: ImageFiles | None = files
        self._index = index
        self._remove_missing = remove_missing
        self._drop_outdated = drop_outdated
        self._max_images = max_images
        self._clean_up = clean_up
        self._task: asyncio.Task[None] | None = None

    @property
    def error(self) -> str:
        """Return one sentence when it failed."""
        return str(self.failure or "")

    @property
    def has_ended(self) -> bool:
        """Tell whether nothing more will happen."""
        return self.state not in ("waiting", "running")

    def start(self, turn: asyncio.Semaphore, get_engines: GetEngines) -> None:
        """Begin when it is this job's turn.

        Args:
            turn: lets one job run at a time.
            get_engines: returns the running engines of some models.
        """
        self._task = asyncio.get_running_loop().create_task(self._run(turn, get_engines))

    async def wait(self) -> None:
        """Return when it has ended; whoever stops waiting does not stop it."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def cancel(self) -> None:
        """Stop it; what was committed stays in the index."""
        if self._task is not None and not self.has_ended:
            self._task.cancel()
            await self.wait()
            if not self.has_ended:  # a task that is cancelled before its first step never takes it
                self.state = "cancelled"
                await self._end()

    async def _run(self, turn: asyncio.Semaphore, get_engines: GetEngines) -> None:
        try:
            async with turn:
                self.state = "running"
                await self._add(await get_engines(self.models))
            self.state = "done"
        except asyncio.CancelledError:
            self.state = "cancelled"
            raise
        except EngineError as error:
            logger.warning("An index job failed: %s", error)
            self.state, self.failure = "failed", error
        except Exception:  # nobody awaits the task: a bug has to show in the log and in the job's state
            logger.exception("An index job failed")
            self.state, self.failure = "failed", _BUG
        finally:
            await self._end()

    async def _end(self) -> None:
        self.progress.end()
        self._files = None  # an archive is open as long as somebody has it
        if self._clean_up is not None:
            await asyncio.to_thread(self._clean_up)

    async def _add(self, engines: Sequence[PooledEngine]) -> None:
        if self._drop_outdated:
            for pooled in engines:
                await in_background_to_the_end(self._index.drop_outdated, pooled.engine.spec)
        assert self._files is not None
        await add_images(
            self._files,
            self._index,
            engines,
            self.progress,
            remove_missing=self._remove_missing,
            max_images=self._max_images,
        )
