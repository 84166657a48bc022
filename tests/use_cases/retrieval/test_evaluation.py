"""Models are measured on the same images, and what cannot be read is left out for all of them."""

import numpy as np
import pytest
from PIL import Image

from engines.errors import InferenceError, InvalidInputError
from engines.pool import PooledEngine
from tests.fakes import COLOURS, FakeEngine, fake_batched, fake_spec
from use_cases.retrieval import evaluation
from use_cases.retrieval.captioned import CaptionedImage, CaptionSet
from use_cases.retrieval.evaluation import DIRECTIONS, embed_set, evaluate

pytestmark = pytest.mark.anyio


@pytest.fixture
def colours(tmp_path):
    images = []
    for colour, captions in zip(
        COLOURS, (("red", "red red"), ("green",), ("blue", "blue thing")), strict=True
    ):
        Image.new("RGB", (20, 20), "lime" if colour == "green" else colour).save(tmp_path / f"{colour}.png")
        images.append(CaptionedImage(f"{colour}.png", tmp_path / f"{colour}.png", captions))
    return CaptionSet("colours", tuple(images), ("A note.",))


def with_broken(dataset):
    broken = CaptionedImage("broken.jpg", lambda: b"no image", ("red", "blue"))
    return CaptionSet(dataset.name, (dataset.images[0], broken, *dataset.images[1:]))


async def embedded_by(dataset, engine=None, **limits):
    async with fake_batched(engine, **limits) as batched:
        return await embed_set(PooledEngine(batched), dataset)


async def test_a_model_that_knows_colours_finds_all(colours):
    found = evaluate(colours, [("knows", await embedded_by(colours))])
    assert (found.num_images, found.num_texts, found.notes) == (3, 5, ("A note.",))
    assert found.difference is None
    (model,) = found.models
    assert (model.model, model.engine, model.num_truncated) == ("knows", "fake", 0)
    for direction in DIRECTIONS:
        assert model.estimates[direction]["recall_at_1"].value == 1
        assert model.estimates[direction]["median_rank"].high == 1


class Blind(FakeEngine):
    def embed_tokens(self, tokens):
        return super().embed_tokens(tokens)[:, [1, 2, 0]]


async def test_the_first_two_models_are_compared(colours):
    given = [("knows", await embedded_by(colours)), ("blind", await embedded_by(colours, Blind()))]
    found = evaluate(colours, given)
    assert found.models[1].estimates["text_to_image"]["recall_at_1"].value == 0
    difference = found.difference.estimates["text_to_image"]
    assert (difference["recall_at_1"].value, difference["recall_at_1"].low) == (1, 1)
    assert difference["median_rank"].value < 0


async def test_an_image_that_cannot_be_read_is_left_out_with_its_captions_for_all_models(
    colours, monkeypatch
):
    monkeypatch.setattr(evaluation, "_IMAGE_CHUNK", 2)
    dataset = with_broken(colours)
    first, second = await embedded_by(dataset), await embedded_by(dataset)
    assert first.unreadable[1].startswith("The image is not a JPEG")
    second.unreadable = {3: "The engine's own reason."}
    found = evaluate(dataset, [("a", first), ("b", second)])
    assert list(found.unreadable) == ["broken.jpg", "blue.png"]
    assert (found.num_images, found.num_texts) == (2, 3)
    assert found.models[0].estimates["text_to_image"]["recall_at_1"].value == 1


async def test_embeddings_are_in_the_dataset_s_order_whatever_the_chunks(colours, monkeypatch):
    whole = await embedded_by(colours)
    monkeypatch.setattr(evaluation, "_IMAGE_CHUNK", 1)
    monkeypatch.setattr(evaluation, "_TEXT_CHUNK", 2)
    parts = await embedded_by(colours)
    np.testing.assert_array_equal(whole.images, parts.images)
    np.testing.assert_array_equal(whole.texts, parts.texts)
    np.testing.assert_array_equal(parts.texts.argmax(axis=1), [0, 0, 1, 2, 2])


async def test_no_image_at_all_is_an_error(colours):
    dataset = CaptionSet("bad", (with_broken(colours).images[1],))
    with pytest.raises(
        InvalidInputError, match=r"None of the 1 images of 'bad' can be read; the first, 'broken"
    ):
        await embedded_by(dataset)


async def test_a_failing_engine_is_an_error(colours):
    engine = FakeEngine()
    engine.error = InferenceError("out of memory")
    with pytest.raises(InferenceError, match="out of memory"):
        await embedded_by(colours, engine)


async def test_captions_that_are_too_long_are_counted(colours):
    assert (await embedded_by(colours, FakeEngine(fake_spec(context_length=1)))).num_truncated == 2
