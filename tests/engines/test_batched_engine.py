"""One engine behind its two batchers: preparation, stage timings and the text cache."""

import asyncio

import numpy as np
import pytest

from engines.errors import InferenceError
from tests.fakes import FakeEngine, fake_batched

pytestmark = pytest.mark.anyio


async def test_images_and_texts_meet_in_one_space(red_image):
    async with fake_batched() as engine:
        images = await engine.embed_images([red_image])
        texts = await engine.embed_texts(["a red thing", "a blue thing"])
    np.testing.assert_allclose(images.embeddings @ texts.embeddings.T, [[1, 0]], atol=1e-6)
    assert set(images.timings_ms) == {"preprocess", "queue", "infer"}
    assert set(texts.timings_ms) == {"tokenize", "queue", "infer"}


async def test_known_texts_cost_no_engine_call():
    async with fake_batched(FakeEngine()) as engine:
        first = await engine.embed_texts(["red", "green", "red"])
        again = await engine.embed_texts(["green", "red", "blue"])
        assert engine.engine.batches == [2, 1]
        assert (first.num_cached, again.num_cached) == (0, 2)
        np.testing.assert_array_equal(again.embeddings, np.eye(3)[[1, 0, 2]])


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
        assert (await engine.embed_texts(["red"])).num_cached == 0


async def test_nothing_gives_empty_arrays():
    async with fake_batched() as engine:
        assert (await engine.embed_images([])).embeddings.shape == (0, 3)
        assert (await engine.embed_texts([])).embeddings.shape == (0, 3)


async def test_concurrent_requests_share_batches(red_image):
    async with fake_batched(max_batch_size=4) as engine:
        engine.engine.release.clear()
        tasks = [asyncio.ensure_future(engine.embed_images([red_image]))]
        await asyncio.to_thread(engine.engine.started.wait, 10)  # the first runs, the others have to wait
        tasks += [asyncio.ensure_future(engine.embed_images([red_image])) for _ in range(4)]
        while engine._images.queue_size < 4:
            await asyncio.sleep(0.001)
        engine.engine.release.set()
        await asyncio.gather(*tasks)
    assert engine.engine.batches == [1, 4]


async def test_many_images_are_prepared_a_batch_at_a_time(red_image):
    async with fake_batched(max_batch_size=4) as engine:
        prepared = []
        prepare = engine.preprocessor.prepare_image
        engine.preprocessor.prepare_image = lambda image: prepared.append(image) or prepare(image)
        engine.engine.release.clear()
        task = asyncio.ensure_future(engine.embed_images([red_image] * 10))
        await asyncio.to_thread(engine.engine.started.wait, 10)
        assert len(prepared) == 4
        engine.engine.release.set()
        assert (await task).embeddings.shape == (10, 3)


async def test_what_was_embedded_before_an_error_stays_cached():
    async with fake_batched(max_batch_size=1) as engine:
        embed = engine._texts._run
        engine._texts._run = lambda tokens: embed(tokens) if tokens[0].ids == (0,) else 1 / 0
        with pytest.raises(InferenceError):
            await engine.embed_texts(["red", "blue"])
        assert (await engine.embed_texts(["red"])).num_cached == 1
