"""One engine behind its batchers: preparation, stage timings, the cache and shared work."""

import asyncio
import threading

import numpy as np
import pytest
from PIL import Image

from engines.errors import EngineClosedError, InferenceError, InvalidInputError
from engines.preparation.source import SourceImage
from engines.worker.cache import EmbeddingCache
from engines.worker.shared import available_cores
from engines.worker.text_store import TextStore
from tests.fakes import FakeEngine, fake_batched
from tests.images import encode

pytestmark = pytest.mark.anyio


def source(colour, side=8):
    return SourceImage.of_image(Image.new("RGB", (side, side), colour))


async def test_images_and_texts_meet_in_one_space():
    async with fake_batched() as engine:
        images = await engine.embed_images([source("red")])
        texts = await engine.embed_texts(["a red thing", "a blue thing"])
    np.testing.assert_allclose(images.embeddings @ texts.embeddings.T, [[1, 0]], atol=1e-6)
    assert set(images.timings_ms) == {"preprocess", "queue", "infer"}
    assert set(texts.timings_ms) == {"tokenize", "queue", "infer"}


async def test_known_texts_cost_no_engine_call():
    async with fake_batched() as engine:
        first = await engine.embed_texts(["red", "green", "red"])
        calls = len(engine.engine.batches)
        again = await engine.embed_texts(["green", "red"])
        more = await engine.embed_texts(["red", "zebra"])
        assert len(engine.engine.batches) == calls + 1
        assert (first.cached, again.cached, more.cached) == ((False,) * 3, (True,) * 2, (True, False))
        np.testing.assert_array_equal(again.embeddings, np.eye(3)[[1, 0]])


async def test_an_image_is_known_by_its_pixels_and_a_known_file_is_not_decoded(monkeypatch):
    async with fake_batched() as engine:
        red = Image.new("RGB", (8, 8), "red")
        png, bmp = encode(red, "PNG"), encode(red, "BMP")
        assert (await engine.embed_images([SourceImage.read(png)])).cached == (False,)
        assert (await engine.embed_images([SourceImage.read(bmp)])).cached == (True,)  # the same pixels
        again = SourceImage.read(png)
        monkeypatch.setattr("engines.preparation.source.decode_image", None)  # a call would fail
        assert (await engine.embed_images([again])).cached == (True,)
        assert engine.engine.batches == [1]


async def test_pixels_of_another_shape_are_another_image():
    async with fake_batched() as engine:
        for size in ((2, 8), (8, 2), (4, 4)):
            image = SourceImage.of_image(Image.new("RGB", size, "red"))
            assert (await engine.embed_images([image])).cached == (False,)


async def test_truncation_is_reported_for_cached_texts_too():
    async with fake_batched() as engine:
        for _ in range(2):
            embedded = await engine.embed_texts(["red", "red " * 9])
            assert embedded.truncated == (False, True)


async def test_a_failed_text_is_not_cached():
    async with fake_batched() as engine:
        engine.engine.error = ValueError("broken")
        with pytest.raises(InferenceError):
            await engine.embed_texts(["red"])
        engine.engine.error = None
        assert (await engine.embed_texts(["red"])).cached == (False,)


async def test_nothing_gives_empty_arrays():
    async with fake_batched() as engine:
        assert (await engine.embed_images([])).embeddings.shape == (0, 3)
        assert (await engine.embed_texts([])).embeddings.shape == (0, 3)
        assert len((await engine.embed_patches([])).features) == 0


async def test_patch_features_come_with_their_timings():
    async with fake_batched() as engine:
        features = await engine.embed_patches([source("red"), source("blue")])
    assert features.features.shape == (2, 2, 3)
    assert set(features.timings_ms) == {"preprocess", "queue", "infer"}


async def test_an_image_that_cannot_be_decoded_never_reaches_the_queue():
    async with fake_batched() as engine:
        with pytest.raises(InvalidInputError, match="is not a JPEG"):
            await engine.embed_images([source("red"), SourceImage.read(b"only words")])
        assert engine.engine.batches == []


async def busy(engine):
    """Let the engine be in a call; return the task that waits for it."""
    engine.engine.release.clear()
    engine.engine.started.clear()
    task = asyncio.ensure_future(engine.embed_images([source("white")]))
    await asyncio.to_thread(engine.engine.started.wait, 10)
    return task


async def queued(batcher, count):
    while batcher.queue_size < count:
        await asyncio.sleep(0.001)


async def test_concurrent_requests_share_batches():
    async with fake_batched(max_batch_size=4) as engine:
        for _ in range(9):  # sizes 1, 2 and 4 become known
            await engine.images.submit([np.ones(3, np.float32)] * 4)
        first = await busy(engine)
        others = [asyncio.ensure_future(engine.embed_images([source("red", n + 1)])) for n in range(4)]
        await queued(engine.images, 4)
        before = len(engine.engine.batches)
        engine.engine.release.set()
        await asyncio.gather(first, *others)
    assert len(engine.engine.batches) < before + 4


async def test_the_same_item_in_flight_is_computed_once():
    async with fake_batched() as engine:
        first = await busy(engine)
        others = [asyncio.ensure_future(engine.embed_texts(["red"])) for _ in range(5)]
        await queued(engine.texts, 1)
        await asyncio.sleep(0.01)
        assert engine.texts.queue_size == 1
        others[0].cancel()  # the first to ask goes; the others still get their answer
        engine.engine.release.set()
        results = await asyncio.gather(first, *others[1:])
        assert engine.engine.batches == [1, 1]
        assert all(np.array_equal(result.embeddings, [[1, 0, 0]]) for result in results[1:])


async def test_an_item_that_nobody_waits_for_any_more_costs_no_compute():
    async with fake_batched() as engine:
        first = await busy(engine)
        others = [asyncio.ensure_future(engine.embed_texts(["red"])) for _ in range(2)]
        await queued(engine.texts, 1)
        for other in others:
            other.cancel()
        await asyncio.sleep(0.01)
        assert engine.texts.queue_size == 0
        engine.engine.release.set()
        await first
        assert engine.engine.batches == [1]


async def test_a_failure_reaches_everyone_who_waits_for_the_same_item(caplog):
    async with fake_batched() as engine:
        first = await busy(engine)
        others = [asyncio.ensure_future(engine.embed_texts(["red"])) for _ in range(3)]
        await queued(engine.texts, 1)
        engine.engine.error = ValueError("broken")
        engine.engine.release.set()
        results = await asyncio.gather(first, *others, return_exceptions=True)
        assert [type(result) for result in results] == [InferenceError] * 4


async def test_many_images_are_prepared_a_batch_at_a_time():
    async with fake_batched(max_batch_size=4) as engine:
        prepared = []
        prepare = engine.preprocessor.prepare_image
        engine.preprocessor.prepare_image = lambda image: prepared.append(image) or prepare(image)
        engine.engine.release.clear()
        task = asyncio.ensure_future(engine.embed_images([source("red", n + 1) for n in range(10)]))
        await asyncio.to_thread(engine.engine.started.wait, 10)
        assert len(prepared) == 4
        engine.engine.release.set()
        assert (await task).embeddings.shape == (10, 3)


async def test_what_was_embedded_before_an_error_stays_cached(caplog):
    async with fake_batched(max_batch_size=1) as engine:
        embed = engine.texts._tower.run
        engine.texts._tower.run = lambda tokens: embed(tokens) if tokens[0].ids == (0,) else 1 / 0
        with pytest.raises(InferenceError):
            await engine.embed_texts(["red", "zebra"])
        assert (await engine.embed_texts(["red"])).cached == (True,)


async def test_the_cache_is_bounded_by_bytes_and_can_be_switched_off():
    cache = EmbeddingCache(max_bytes=1000)  # three entries
    async with fake_batched(cache=cache) as engine:
        await engine.embed_texts(["red", "green", "blue", "red red", "green green"])
        assert 0 < cache.num_bytes <= 1000
        assert (await engine.embed_texts(["green green", "blue"])).cached == (True, False)
    async with fake_batched(cache=EmbeddingCache(0)) as engine:
        await engine.embed_texts(["red"])
        assert (await engine.embed_texts(["red"])).cached == (False,)


async def test_texts_survive_a_restart_on_disk(tmp_path):
    for known in (False, True):
        store = TextStore(tmp_path / "texts.sqlite")
        async with fake_batched(texts=store) as engine:
            embedded = await engine.embed_texts(["red", "red " * 9])
            assert embedded.cached == (known, known)
            assert embedded.truncated == (False, True)
            np.testing.assert_allclose(embedded.embeddings, [[1, 0, 0], [1, 0, 0]])
        store.close()


async def test_an_engine_that_can_gets_a_twin_for_parallel_calls_when_there_is_much_to_do():
    engine = FakeEngine()
    engine.twin = FakeEngine()
    async with fake_batched(engine, cores=2) as batched:
        await batched.embed_texts(["red", "green", "blue"])  # one visitor's labels
        assert batched._twin is None
        for n in range(40):
            await batched.embed_texts([f"red {n} {item}" for item in range(16)])
        assert engine.twin.batches


async def test_an_engine_without_a_twin_goes_on_alone():
    async with fake_batched(cores=2) as batched:
        for n in range(5):
            await batched.embed_images([source("red", n + 1), source("blue", n + 1)])
        assert sum(batched.engine.batches) >= 10


async def test_the_background_uses_the_cache_and_leaves_it_as_it_is():
    cache = EmbeddingCache()
    async with fake_batched(cache=cache) as engine:
        files = [encode(Image.new("RGB", (8, 8), colour), "PNG") for colour in ("red", "green")]
        await engine.embed_images([SourceImage.read(files[0])])
        await engine.embed_texts(["red"])
        before = cache.num_bytes, cache.hits, cache.misses, len(cache._pixels)
        images = await engine.embed_images([SourceImage.read(file) for file in files], background=True)
        texts = await engine.embed_texts(["red", "green"], background=True)
        assert (cache.num_bytes, cache.hits, cache.misses, len(cache._pixels)) == before
    assert (images.cached, texts.cached) == ((True, False), (True, False))
    np.testing.assert_allclose(texts.embeddings, np.eye(3)[:2])
    assert engine.images.stats.background_items == engine.texts.stats.background_items == 1


async def test_texts_of_the_background_are_not_kept_on_disk(tmp_path):
    store = TextStore(tmp_path / "texts.sqlite")
    async with fake_batched(texts=store) as engine:
        await engine.embed_texts(["red"], background=True)
        assert (await engine.embed_texts(["red"])).cached == (False,)
    store.close()


async def test_the_same_item_is_computed_once_for_all_who_ask_in_the_background():
    async with fake_batched() as engine:
        first = await busy(engine)
        indexes = [
            asyncio.ensure_future(engine.embed_images([source("red")], background=True)) for _ in range(3)
        ]
        while engine.images.background_queue_size < 1:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        engine.engine.release.set()
        await asyncio.gather(first, *indexes)
        assert engine.engine.batches == [1, 1]


async def test_a_request_for_what_the_background_is_embedding_does_not_wait_for_it():
    async with fake_batched() as engine:
        first = await busy(engine)
        images = [source("red", side) for side in (5, 6, 7, 8)]
        index = asyncio.ensure_future(engine.embed_images(images, background=True))
        while engine.images.background_queue_size < 4:
            await asyncio.sleep(0.001)
        request = asyncio.ensure_future(engine.embed_images([source("red", 8)]))
        await queued(engine.images, 1)
        request.add_done_callback(lambda _: order.append("request"))
        index.add_done_callback(lambda _: order.append("index"))
        order = []
        engine.engine.release.set()
        embedded = [(await task).embeddings for task in (request, index)]
        assert order == ["request", "index"]
        np.testing.assert_array_equal(embedded[0], embedded[1][3:])
        assert (await engine.embed_images([source("red", 8)])).cached == (True,)
        await first


async def test_requests_are_prepared_while_the_background_prepares():
    hold = threading.Event()
    async with fake_batched() as engine:
        prepare, held = engine.preprocessor.prepare_image, []

        def prepare_image(image):
            if image.width == 5:
                held.append(image)
                assert hold.wait(30)
            return prepare(image)

        engine.preprocessor.prepare_image = prepare_image
        indexes = [
            asyncio.ensure_future(
                engine.embed_images([source((n, 1, 1), 5), source((n, 2, 2), 5)], background=True)
            )
            for n in range(100)
        ]
        while len(held) < available_cores():
            await asyncio.sleep(0.001)
        await asyncio.wait_for(engine.embed_images([source("red")]), 10)
        assert len(held) == available_cores()
        hold.set()
        await asyncio.gather(*indexes)
        assert engine.images.stats.background_items == 200


async def test_closing_settles_the_background_whatever_it_is_at():
    engine = await fake_batched(max_batch_size=1).__aenter__()
    first = await busy(engine)
    indexes = [
        asyncio.ensure_future(engine.embed_images([source((n, 1, 1))] * 3, background=True))
        for n in range(20)
    ]
    await asyncio.sleep(0.005)  # some are being prepared, some wait
    assert engine.is_busy
    closing = asyncio.ensure_future(engine.close())
    await asyncio.sleep(0.01)
    engine.engine.release.set()
    await closing
    results = await asyncio.wait_for(asyncio.gather(first, *indexes, return_exceptions=True), 10)
    assert {type(result) for result in results} == {EngineClosedError}
    assert not engine.is_busy


async def test_a_list_in_the_background_is_reason_enough_for_parallel_calls():
    engine = FakeEngine()
    engine.twin = FakeEngine()
    async with fake_batched(engine, cores=2, max_batch_size=4) as batched:
        for n in range(40):
            await batched.embed_images([source((n, side, 1)) for side in range(16)], background=True)
        assert engine.twin.batches
