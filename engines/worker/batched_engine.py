"""BatchedEngine: one engine behind its batchers and the cache; the only way that requests reach it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings, Engine, Pixels, Tokens
from engines.models import ModelSpec
from engines.preparation.preprocess import Preprocessor
from engines.preparation.source import SourceImage
from engines.worker.background import in_background
from engines.worker.batcher import MicroBatcher
from engines.worker.cache import CachedRow, CacheKey
from engines.worker.calls import BatcherLimits, EngineThreads, Row, Tower
from engines.worker.flights import Flights, link
from engines.worker.policy import DEMAND_FOR_PARALLEL
from engines.worker.shared import Embedded, Features, Worker
from engines.worker.stopwatch import Stopwatch

T = TypeVar("T")
P = TypeVar("P")

_JOIN_S = 5.0  # for the last call; the slowest takes a few seconds

logger = logging.getLogger(__name__)


class _Result(NamedTuple):
    row: CachedRow
    call: Row


@dataclass(slots=True, eq=False)
class BatchedEngine:
    """One running engine; every door shares the same instance.

    Preparation runs in worker threads before the queue, inference in the engine's own threads. What
    was embedded lately comes from the cache, and what is being embedded is waited for. Belongs to
    one event loop.

    Work in the background, such as filling an image index, waits while requests have work, in threads
    and queues of its own. It uses what is cached but leaves the cache as it is, however much it embeds.
    A request that asks for what the background is just embedding has it computed again: that costs one
    item, where waiting for the background could take long.
    """

    engine: Engine
    preprocessor: Preprocessor
    worker: Worker
    identity: str = ""  # tells its embeddings from those of other models, engines and versions
    images: MicroBatcher[Pixels] = field(init=False)
    texts: MicroBatcher[Tokens] = field(init=False)
    patches: MicroBatcher[Pixels] = field(init=False)
    hangs: bool = field(init=False, default=False)  # closed, and a call of it still runs
    last_used_s: float = field(init=False, default_factory=time.monotonic)
    _threads: EngineThreads = field(init=False)
    _towers: tuple[Tower[Pixels], Tower[Tokens], Tower[Pixels]] = field(init=False)
    _flights: Flights[CacheKey, _Result] = field(init=False, default_factory=Flights)
    # Apart from the others: who waits for an answer must not wait behind an index.
    _background: Flights[CacheKey, _Result] = field(init=False, default_factory=Flights)
    _twin: asyncio.Task[None] | None = field(init=False, default=None)
    _num_requests: int = field(init=False, default=0)
    _num_keepers: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        engine, slots, limits = self.engine, self.worker.slots, self.worker.limits
        self._threads = EngineThreads.named(f"{self.spec.name}/{engine.name}", slots.count)
        image, text, patch = (
            Tower(engine.embed_pixels), Tower(engine.embed_tokens), Tower(engine.embed_patches)
        )  # fmt: skip
        self._towers = image, text, patch
        self.images = MicroBatcher(image, self._threads, slots, limits)
        self.texts = MicroBatcher(text, self._threads, slots, limits)
        self.patches = MicroBatcher(patch, self._threads, slots, limits)
        self.identity = self.identity or f"{self.spec.name}/{engine.name}"

    @property
    def spec(self) -> ModelSpec:
        """Return the facts of the model that the engine runs."""
        return self.engine.spec

    @property
    def names(self) -> tuple[str, str]:
        """Return the model's name and the engine's."""
        return self.spec.name, self.engine.name

    @property
    def batchers(self) -> dict[str, MicroBatcher[Pixels] | MicroBatcher[Tokens]]:
        """Return the batchers by the name of what they compute."""
        return {"image": self.images, "text": self.texts, "patches": self.patches}

    @property
    def is_busy(self) -> bool:
        """Tell whether any request is being prepared, waits or is being computed."""
        return bool(self._num_requests) or any(batcher.is_busy for batcher in self.batchers.values())

    @property
    def is_kept(self) -> bool:
        """Tell whether somebody needs the engine to stay loaded, though it may have no work."""
        return bool(self._num_keepers)

    @property
    def restarts(self) -> int:
        """Return how often a part of the worker had to be started again: it failed, died or hung."""
        stats = [batcher.stats for batcher in self.batchers.values()]
        return self._threads.deaths + sum(each.restarts + each.stalls for each in stats)

    async def __aenter__(self) -> BatchedEngine:
        for batcher in self.batchers.values():
            batcher.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Settle all waiting requests with EngineClosedError and stop the threads."""
        if self._twin is not None:
            self._twin.cancel()
        await self._flights.close()
        await self._background.close()
        for batcher in self.batchers.values():
            await batcher.close()
        self._threads.close()
        # Native code that is still running when Python ends takes the process down with it.
        if not await asyncio.to_thread(self._threads.join, _JOIN_S):
            self.hangs = True
            logger.warning("A call of %s on %s has not ended", self.spec.name, self.engine.name)

    async def embed_images(self, images: Sequence[SourceImage], *, background: bool = False) -> Embedded:
        """Decode, prepare and embed images; only so many pixels exist at a time as fit into a call a core.

        Args:
            images: to embed; in the background so few that the end of the server can wait for them.
            background: nobody waits for them right now: let all requests pass.

        Raises:
            InvalidInputError: when an image cannot be decoded.
            OverloadedError: when the queue is full.
            InferenceError: when the engine failed.
            EngineClosedError: when the engine is not running.
        """
        with self._serving():
            watch = Stopwatch(*self.names, "image")
            before_ms = _decode_ms(images)
            found: list[_Found] = []
            for chunk in self._chunks(images, self.images):
                keys = await self._image_keys(chunk, background)

                def prepare(positions: list[int], chunk: Sequence[SourceImage] = chunk) -> list[Pixels]:
                    return self._prepare_images([chunk[position] for position in positions], watch)

                found += await self._embed(
                    self.images, keys, prepare, watch, lambda pixels: (False, 0), background
                )
            watch.leave_out(_decode_ms(images) - before_ms)
            return self._embedded(found, watch)

    async def embed_texts(self, texts: Sequence[str], *, background: bool = False) -> Embedded:
        """Tokenize and embed texts; equal ones are embedded once.

        Args:
            texts: to embed; in the background so few that the end of the server can wait for them.
            background: nobody waits for them right now: let all requests pass. The texts on disk are
                neither asked nor changed.

        Raises:
            OverloadedError: when the queue is full; what was embedded by then stays in the cache.
            InferenceError: when the engine failed.
            EngineClosedError: when the engine is not running.
        """
        with self._serving():
            watch = Stopwatch(*self.names, "text")
            found: dict[str, _Found] = {}
            for chunk in self._chunks(sorted(set(texts), key=_rough_length), self.texts):
                keys = [CacheKey.of_text(self.identity, text) for text in chunk]
                if not background:
                    await self._recall(keys)

                def prepare(positions: list[int], chunk: Sequence[str] = chunk) -> list[Tokens]:
                    with watch.preparing():
                        return [self.preprocessor.prepare_text(chunk[position]) for position in positions]

                rows = await self._embed(self.texts, keys, prepare, watch, _text_facts, background)
                found.update(zip(chunk, rows, strict=True))
            return self._embedded([found[text] for text in texts], watch)

    def recall_labels(self, key: CacheKey, num_texts: int) -> tuple[Embeddings, dict[str, float]] | None:
        """Return the embeddings of a list of labels and the stages' times, if the cache has them.

        A server is usually asked for the same labels again and again; so they cost one look-up, where their
        texts would cost one each.

        Args:
            key: of the list.
            num_texts: that the labels stand for, each filled into each template.
        """
        watch = Stopwatch(*self.names, "text")
        rows = self.worker.cache.get_labels(key, num_texts)
        if rows is None:
            return None
        return rows, watch.stop(num_texts, cached=num_texts)

    def keep_labels(self, key: CacheKey, rows: Embeddings) -> None:
        """Put the embeddings of a list of labels [n_labels, dim] into the cache; none of them truncated."""
        rows.setflags(write=False)  # every later request is handed this very array
        self.worker.cache.put(key, CachedRow(rows))

    async def embed_patches(self, images: Sequence[SourceImage]) -> Features:
        """Decode, prepare and run images; the image tower's last hidden states are not cached.

        Raises:
            InvalidInputError: when an image cannot be decoded.
            OverloadedError: when the queue is full.
            InferenceError: when the engine failed.
            EngineClosedError: when the engine is not running.
        """
        with self._serving():
            watch = Stopwatch(*self.names, "patches")
            before_ms = _decode_ms(images)
            rows: list[NDArray[np.float32]] = []
            for chunk in self._chunks(images, self.patches):
                pixels = await asyncio.to_thread(self._prepare_images, chunk, watch)
                calls = await self.patches.submit(pixels)
                watch.count(calls)
                rows += [call.value for call in calls]
            watch.leave_out(_decode_ms(images) - before_ms)
            return Features(
                np.stack(rows) if rows else np.empty((0, 0, 0), np.float32), watch.stop(len(images))
            )

    def set_limits(self, limits: BatcherLimits) -> None:
        """Change the largest batch and the longest wait of all batchers."""
        for batcher in self.batchers.values():
            batcher.set_limits(limits)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep the engine from being unloaded during the block, however long nobody asks it for anything."""
        self._num_keepers += 1
        try:
            yield
        finally:
            self._num_keepers -= 1
            self.last_used_s = time.monotonic()

    @contextmanager
    def _serving(self) -> Iterator[None]:
        """Count the block as a request in work."""
        self._num_requests += 1
        try:
            yield
        finally:
            self._num_requests -= 1
            self.last_used_s = time.monotonic()

    def _chunks(self, items: Sequence[T], batcher: MicroBatcher[P]) -> Iterator[Sequence[T]]:
        size = batcher.chunk_size
        return (items[start : start + size] for start in range(0, len(items), size))

    def _prepare_images(self, images: Sequence[SourceImage], watch: Stopwatch) -> list[Pixels]:
        decoded = [image.decode() for image in images]
        with watch.preparing():
            return [self.preprocessor.prepare_image(image) for image in decoded]

    async def _image_keys(self, images: Sequence[SourceImage], background: bool) -> list[CacheKey]:
        """Return what tells the images' pixels apart, decoding those files that were never seen."""
        cache = self.worker.cache
        digests = [cache.pixels_of(image.file_digest) for image in images]
        unknown = [image for image, digest in zip(images, digests, strict=True) if digest is None]
        if not all(image.has_pixel_digest for image in unknown):
            await _in_thread(background, lambda: [image.pixel_digest() for image in unknown])
        for image in [] if background else unknown:
            cache.note_pixels(image.file_digest, image.pixel_digest())
        return [
            CacheKey.of_pixels(self.identity, digest or image.pixel_digest())
            for image, digest in zip(images, digests, strict=True)
        ]

    async def _recall(self, keys: Sequence[CacheKey]) -> None:
        """Bring texts of an earlier run from the disk into the cache."""
        store, cache = self.worker.texts, self.worker.cache
        if store is None:
            return
        unknown = [key for key in keys if not cache.knows(key)]
        if unknown:
            for key, row in (await asyncio.to_thread(store.get, unknown)).items():
                cache.put(key, row)

    async def _embed(
        self,
        batcher: MicroBatcher[P],
        keys: Sequence[CacheKey],
        prepare: Callable[[list[int]], list[P]],
        watch: Stopwatch,
        facts: Callable[[P], tuple[bool, int]],
        background: bool,
    ) -> list[_Found]:
        """Return the embeddings of one chunk: from the cache, from a call under way, or from a new one."""
        known = [self.worker.cache.get(key, count=not background) for key in keys]
        missing = [position for position, row in enumerate(known) if row is None]
        fresh: dict[CacheKey, CachedRow] | None = None if background else {}
        flights = self._background if background else self._flights

        async def launch(new: list[int], results: list[asyncio.Future[_Result]]) -> None:
            wanted = [
                (missing[i], result) for i, result in zip(new, results, strict=True) if not result.done()
            ]
            prepared = await _in_thread(background, prepare, [position for position, _ in wanted])
            requests = batcher.enqueue(prepared, background=background)
            for (position, result), item, request in zip(wanted, prepared, requests, strict=True):
                link(request, result, self._keep(keys[position], facts(item), fresh))

        self._start_twin(len(missing))
        results = await flights.fetch([keys[position] for position in missing], launch)
        watch.count(result.call for result in results)
        if fresh and self.worker.texts is not None and batcher is self.texts:
            await asyncio.to_thread(self.worker.texts.put, fresh)
        computed = iter(results)
        return [_Found(row, True) if row else _Found(next(computed).row, False) for row in known]

    def _keep(
        self, key: CacheKey, facts: tuple[bool, int], fresh: dict[CacheKey, CachedRow] | None
    ) -> Callable[[Row], _Result]:
        def finish(call: Row) -> _Result:
            # A copy: a row of the batch's array would keep the whole array alive.
            row = CachedRow(call.value.copy(), *facts)
            if fresh is not None:  # not in the background: many images would push out everybody's labels
                self.worker.cache.put(key, row)
                fresh[key] = row
            return _Result(row, call)

        return finish

    def _embedded(self, found: Sequence[_Found], watch: Stopwatch) -> Embedded:
        rows = [each.row.embedding for each in found]
        return Embedded(
            np.stack(rows) if rows else np.empty((0, self.spec.dim), np.float32),
            watch.stop(len(found), sum(each.cached for each in found)),
            truncated=tuple(each.row.truncated for each in found),
            cached=tuple(each.cached for each in found),
            num_tokens=tuple(each.row.num_tokens for each in found),
        )

    def _start_twin(self, num_items: int) -> None:
        """Load what parallel calls need, once there is enough to do for them."""
        if self._twin is not None or not self.worker.parallel or self.worker.slots.count < 2:
            return
        demand = max(batcher.average_demand for batcher in self.batchers.values())
        # One visitor's few labels are no reason to double an engine's memory; a long list is.
        long_list = num_items >= self.worker.limits.max_batch_size
        if long_list or demand >= DEMAND_FOR_PARALLEL * self.worker.slots.count:
            self._twin = asyncio.get_running_loop().create_task(self._load_twin())

    async def _load_twin(self) -> None:
        try:
            twin = await asyncio.to_thread(self.engine.single_threaded)
        except Exception:  # serial calls go on
            logger.exception("%s on %s cannot make parallel calls", self.spec.name, self.engine.name)
            return
        if twin is not None:
            image, text, patch = self._towers
            image.run_parallel, text.run_parallel = twin.embed_pixels, twin.embed_tokens
            patch.run_parallel = twin.embed_patches


async def _in_thread(background: bool, function: Callable[..., T], *args: object) -> T:
    if background:
        return await in_background(function, *args)
    return await asyncio.to_thread(function, *args)


class _Found(NamedTuple):
    row: CachedRow
    cached: bool


def _decode_ms(images: Iterable[SourceImage]) -> float:
    return sum(image.decode_ms for image in images)


def _rough_length(text: str) -> tuple[int, str]:
    """Return what to sort texts by: a call is as long as its longest text, so equals belong together."""
    return len(text.split()), text


def _text_facts(tokens: Tokens) -> tuple[bool, int]:
    return tokens.truncated, len(tokens.ids)
