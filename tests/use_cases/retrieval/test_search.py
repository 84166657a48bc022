"""Searching an index: by text, by image, by both, away from something, and from an image to texts."""

import math

import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.preparation.source import SourceImage
from tests.use_cases.retrieval.pictures import (
    BLUE,
    RED,
    colour_engine,
    save_colours,
    save_image,
    stored_spec,
)
from use_cases.retrieval.errors import UnknownIndexError
from use_cases.retrieval.filters import ImageFilter
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.ingest import add_images
from use_cases.retrieval.query import ImageQuery
from use_cases.retrieval.search import search_images
from use_cases.retrieval.sources import Folder
from use_cases.retrieval.text_search import search_texts
from use_cases.timings import STAGES

pytestmark = pytest.mark.anyio
SOFTMAX = stored_spec(score="softmax")


@pytest.fixture
async def found(tmp_path):
    """Return a function that searches an index of a red, a green, a blue and a violet picture."""
    folder = save_colours(tmp_path / "in")
    save_image(folder / "violet.png", (255, 0, 255), (90, 30))
    (folder / "violet.txt").write_text("red blue")
    (folder / "red.txt").write_text("red")
    index = ImageIndex(tmp_path / "index", create=True)

    async def search(spec=None, **query):
        async with colour_engine(spec) as pooled:
            await add_images(Folder(folder), index, [pooled])
            return await search_images(pooled, index.table(pooled.engine.spec), ImageQuery(**query))

    return search


def ids(answer):
    return [hit.image.id for hit in answer.hits]


async def test_a_text_finds_the_images_that_show_it(found):
    answer = await found(text="red")
    assert ids(answer)[:2] == ["red.png", "violet.png"]
    assert [hit.rank for hit in answer.hits] == [1, 2, 3, 4]
    np.testing.assert_allclose([hit.cosine for hit in answer.hits], [1, math.sqrt(0.5), 0, 0], atol=0.01)
    assert (answer.searched, answer.total, answer.exact, answer.explanation) == (4, 4, True, "")
    assert {"tokenize", "queue", "infer", "search"} <= set(answer.timings_ms) <= set(STAGES)


async def test_a_sigmoid_model_gives_a_text_a_probability(found):
    answer = await found(text="red")
    assert answer.score_kind == "probability"
    np.testing.assert_allclose(answer.hits[0].score, 1 / (1 + math.exp(-10)), rtol=1e-3)
    assert (await found(SOFTMAX, text="red")).score_kind == "cosine"


async def test_an_image_finds_those_like_it_with_cosines(found, tmp_path):
    image = SourceImage.read(save_image(tmp_path / "query.png", BLUE))
    answer = await found(image=image)
    assert (ids(answer)[0], answer.score_kind) == ("blue.png", "cosine")
    assert answer.hits[0].score == answer.hits[0].cosine > 0.99


async def test_an_image_of_the_index_finds_itself_first(found):
    assert ids(await found(like="violet.png"))[0] == "violet.png"
    with pytest.raises(UnknownIndexError, match="has no image 'nothing'"):
        await found(like="nothing")


async def test_text_and_image_are_weighed(found, tmp_path):
    image = SourceImage.read(save_image(tmp_path / "query.png", BLUE))
    assert ids(await found(text="red", image=image))[0] == "violet.png"
    assert ids(await found(text="red", image=image, text_weight=0.1))[0] == "blue.png"
    answer = await found(text="red", image=image, image_weight=0)
    assert (ids(answer)[0], answer.score_kind) == ("red.png", "probability")


async def test_a_negative_text_moves_images_back(found):
    answer = await found(text="red", negative="blue", negative_weight=1)
    assert ids(answer)[0] == "red.png"
    assert ids(answer)[-1] == "blue.png"
    with pytest.raises(InvalidInputError, match="cancel each other out"):
        await found(text="red", negative="red", negative_weight=1)


async def test_pages_follow_each_other(found):
    all_ids = ids(await found(text="red"))
    second = await found(text="red", top_k=2, offset=2)
    assert (ids(second), [hit.rank for hit in second.hits]) == (all_ids[2:], [3, 4])


async def test_what_is_below_the_threshold_is_left_out(found):
    assert ids(await found(text="red", min_score=0.5)) == ["red.png", "violet.png"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"text": "green", "where": ImageFilter(min_width=1000)}, "None of the 4 images meets the filter"),
        ({"text": "red green blue", "min_score": 0.9999}, "below the threshold of 0.9999"),
        ({"text": "red", "offset": 10}, "There are only 4 images"),
    ],
)
async def test_an_empty_answer_says_why(found, query, reason):
    answer = await found(**query)
    assert answer.hits == ()
    assert reason in answer.explanation


async def test_an_empty_index_says_so(tmp_path):
    async with colour_engine() as pooled:
        table = ImageIndex(tmp_path, create=True).table(pooled.engine.spec, create=True)
        answer = await search_images(pooled, table, ImageQuery(text="red"))
    assert answer.explanation == "The index is empty; add images to it."


async def test_a_long_text_is_said_to_be_cut(found):
    assert (await found(text="red " * 20)).truncated


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({}, "nothing to look for"),
        ({"text": "  ", "negative": "red"}, "nothing to look for"),
        ({"text": "red", "top_k": 0}, "top_k must be at least 1"),
        ({"text": "red", "top_k": 900, "offset": 101}, "at most 1,000 results"),
        ({"text": "red", "offset": -1}, "top_k"),
        ({"text": "red", "text_weight": -1}, "text_weight must be a number from 0 to 10"),
        ({"text": "red", "image_weight": math.nan}, "image_weight must be"),
        ({"text": "red", "min_score": 2}, "min_score must be from -1 to 1"),
        ({"text": "red", "where": ImageFilter(min_width=-1)}, "The filter min_width"),
        ({"text": "x" * 20_000}, "20,000 characters"),
    ],
)
async def test_a_query_that_cannot_be_answered_is_refused(found, query, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        await found(**query)


async def test_an_image_and_an_id_together_are_refused(found, tmp_path):
    image = SourceImage.read(save_image(tmp_path / "query.png", BLUE))
    with pytest.raises(InvalidInputError, match="not both"):
        await found(image=image, like="red.png")


async def test_texts_are_ranked_for_an_image(tmp_path):
    image = SourceImage.read(save_image(tmp_path / "query.png", RED))
    async with colour_engine() as pooled:
        answer = await search_texts(pooled, image, ["blue", "red", "red blue", "red"], top_k=2)
    assert [(hit.rank, hit.text) for hit in answer.hits] == [(1, "red"), (2, "red blue")]
    assert (answer.score_kind, answer.explanation) == ("probability", "")
    assert answer.hits[0].score > 0.99


async def test_the_captions_of_the_images_like_it_are_ranked_for_an_image(tmp_path):
    folder = save_colours(tmp_path / "in")
    for name in ("red", "blue"):
        (folder / f"{name}.txt").write_text(name)
    image = SourceImage.read(save_image(tmp_path / "query.png", BLUE))
    index = ImageIndex(tmp_path / "index", create=True)
    async with colour_engine(SOFTMAX) as pooled:
        table = index.table(SOFTMAX, create=True)
        empty = await search_texts(pooled, image, table)
        assert "have no captions" in empty.explanation
        await add_images(Folder(folder), index, [pooled])
        answer = await search_texts(pooled, image, table)
    assert [hit.text for hit in answer.hits] == ["blue", "red"]
    assert answer.score_kind == "cosine"


@pytest.mark.parametrize(
    ("texts", "top_k", "sentence"),
    [
        (["red", " "], 1, "empty"),
        (["red"], 0, "top_k must be from 1"),
        ([str(n) for n in range(3000)], 5, "3,000"),
    ],
)
async def test_texts_that_cannot_be_ranked_are_refused(tmp_path, texts, top_k, sentence):
    image = SourceImage.read(save_image(tmp_path / "query.png", RED))
    async with colour_engine() as pooled:
        with pytest.raises(InvalidInputError, match=sentence):
            await search_texts(pooled, image, texts, top_k)
