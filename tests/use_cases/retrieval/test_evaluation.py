"""Models are measured on the same images, and what cannot be read is left out for all of them."""

import gc
import json
import weakref

import numpy as np
import pytest
from PIL import Image

from engines.errors import InferenceError, InvalidInputError
from engines.pool import PooledEngine
from tests.fakes import COLOURS, FakeEngine, fake_batched, fake_spec
from use_cases.labelled.items import MAX_VALUES
from use_cases.resampling import estimates
from use_cases.retrieval import caption_embedding
from use_cases.retrieval.caption_embedding import embed_set
from use_cases.retrieval.caption_hashing import hash_captions
from use_cases.retrieval.captioned import CaptionedImage, CaptionSet
from use_cases.retrieval.evaluation import DIRECTIONS, evaluate
from use_cases.retrieval.metrics import resample, summarize
from use_cases.retrieval.rank_items import pack_ranks, unpack_owners, unpack_ranks
from use_cases.retrieval.tables import evaluation_settings, result_rows

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
    found = evaluate(hash_captions(colours), [("knows", await embedded_by(colours))])
    assert (len(found.digests), found.num_texts, found.notes) == (3, 5, ("A note.",))
    assert found.differences == ()
    (model,) = found.models
    assert (model.model, model.engine, model.num_truncated) == ("knows", "fake", 0)
    for direction in DIRECTIONS:
        assert model.estimates[direction]["recall_at_1"].value == 1
        assert model.estimates[direction]["median_rank"].high == 1


class Blind(FakeEngine):
    def embed_tokens(self, tokens):
        return super().embed_tokens(tokens)[:, [1, 2, 0]]


async def test_the_first_model_is_compared_with_each_other_one(colours):
    knows, blind = await embedded_by(colours), await embedded_by(colours, Blind())
    found = evaluate(hash_captions(colours), [("knows", knows), ("blind", blind), ("same", knows)])
    assert found.models[1].estimates["text_to_image"]["recall_at_1"].value == 0
    assert [(each.first.model, each.other.title) for each in found.differences] == [
        ("knows", "blind on fake"),
        ("knows", "same on fake"),
    ]
    assert all(each.holds_zero for each in found.differences[1].estimates["text_to_image"].values())
    difference = found.differences[0].estimates["text_to_image"]
    assert (difference["recall_at_1"].value, difference["recall_at_1"].low) == (1, 1)
    assert difference["median_rank"].value < 0


async def test_an_image_that_cannot_be_read_is_left_out_with_its_captions_for_all_models(
    colours, monkeypatch
):
    monkeypatch.setattr(caption_embedding, "_IMAGE_CHUNK", 2)
    dataset = with_broken(colours)
    first, second = await embedded_by(dataset), await embedded_by(dataset)
    assert first.unreadable[1].startswith("The image is not a JPEG")
    second.unreadable = {3: "The engine's own reason."}
    hashed = hash_captions(dataset)
    found = evaluate(hashed, [("a", first), ("b", second)])
    assert list(found.unreadable) == ["broken.jpg", "blue.png"]
    assert (len(found.digests), found.num_texts) == (2, 3)
    assert found.digests == (hashed.digests[0], hashed.digests[2])
    assert found.models[0].estimates["text_to_image"]["recall_at_1"].value == 1


async def test_embeddings_are_in_the_dataset_s_order_whatever_the_chunks(colours, monkeypatch):
    whole = await embedded_by(colours)
    monkeypatch.setattr(caption_embedding, "_IMAGE_CHUNK", 1)
    monkeypatch.setattr(caption_embedding, "_TEXT_CHUNK", 2)
    parts = await embedded_by(colours)
    np.testing.assert_array_equal(whole.images, parts.images)
    np.testing.assert_array_equal(whole.texts, parts.texts)
    np.testing.assert_array_equal(parts.texts.argmax(axis=1), [0, 0, 1, 2, 2])


async def test_a_record_holds_what_metrics_and_intervals_are_computed_from(colours):
    hashed = hash_captions(with_broken(colours))
    given = [
        ("knows", await embedded_by(hashed.dataset)),
        ("blind", await embedded_by(hashed.dataset, Blind())),
    ]
    found = evaluate(hashed, given)
    settings = json.loads(json.dumps(evaluation_settings(found)))
    rows = json.loads(json.dumps(result_rows(found)))
    owners = unpack_owners(settings["num_captions"])
    assert owners.tolist() == [0, 0, 1, 2, 2]
    for row, model in zip(rows, found.models, strict=False):
        ranks = unpack_ranks(row["items"])
        for direction, its_owners in (("text_to_image", owners), ("image_to_text", np.arange(3))):
            again = estimates(
                summarize(ranks[direction]), resample(ranks[direction], its_owners, settings["num_images"])
            )
            assert again == model.estimates[direction]
    assert rows[2]["measurement"] == "difference"


def test_items_of_large_datasets_are_left_out():
    assert pack_ranks({"text_to_image": np.ones(MAX_VALUES + 1, np.int64)}) == ""


def test_the_hash_is_of_images_and_captions_not_of_names_order_and_broken_files(colours):
    whole = hash_captions(colours)
    red, green, blue = colours.images
    renamed = CaptionedImage("other.png", red.source, red.captions[::-1])
    same = hash_captions(CaptionSet("other", (blue, renamed, green)))
    assert same.sha256 == whole.sha256
    assert same.digests == (whole.digests[2], whole.digests[0], whole.digests[1])
    assert hash_captions(with_broken(colours)).sha256 != whole.sha256
    nowhere = CaptionedImage("gone.png", red.source.with_name("gone.png"), ("gone",))
    assert hash_captions(CaptionSet("part", (*colours.images, nowhere))).sha256 == whole.sha256
    other = CaptionedImage("red.png", red.source, ("red",))
    assert hash_captions(CaptionSet("colours", (other, green, blue))).sha256 != whole.sha256


async def test_the_engine_can_go_when_its_embeddings_are_there(colours):
    engine = FakeEngine()
    watched = weakref.ref(engine)
    embedded = await embedded_by(colours, engine)
    del engine
    gc.collect()
    assert watched() is None
    assert embedded.engine == "fake"


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
