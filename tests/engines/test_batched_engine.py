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
        assert (first.num_cached, again.num_cached) == (1, 2)
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
    engine = fake_batched(max_wait_ms=200, max_batch_size=4)
    async with engine:
        await asyncio.gather(*(engine.embed_images([red_image]) for _ in range(4)))
    assert engine.engine.batches == [4]
