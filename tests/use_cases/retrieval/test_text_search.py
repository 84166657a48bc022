"""From an image to texts: some that are given, or the captions of an index."""

import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.preparation.source import SourceImage
from tests.use_cases.retrieval.pictures import (
    BLUE,
    RED,
    colour_engine,
    colour_table,
    record,
    save_colours,
    save_image,
    stored_spec,
)
from use_cases.retrieval import text_search
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.ingest import add_images
from use_cases.retrieval.sources import Folder
from use_cases.retrieval.text_search import search_texts

pytestmark = pytest.mark.anyio
SOFTMAX = stored_spec(score="softmax")


async def test_texts_are_ranked_for_an_image(tmp_path):
    image = SourceImage.read(save_image(tmp_path / "query.png", RED))
    async with colour_engine() as pooled:
        answer = await search_texts(pooled, image, ["blue", "red", "red blue", "red"], top_k=2)
    assert [(hit.rank, hit.text) for hit in answer.hits] == [(1, "red"), (2, "red blue")]
    assert (answer.score_kind, answer.explanation) == ("probability", "")
    assert answer.hits[0].score > 0.99


def captioned_table(folder, captions):
    """Return a table of images that are all green, with captions."""
    table = colour_table(folder, SOFTMAX)
    records = [record(f"{place}.png", caption=caption) for place, caption in enumerate(captions)]
    with table.writing():
        table.add(records, np.tile(np.float32([0, 1, 0]), (len(records), 1)))
    return table


async def test_all_captions_of_an_index_are_ranked_for_an_image(tmp_path):
    image = SourceImage.read(save_image(tmp_path / "query.png", BLUE))
    # The only caption that fits belongs to the last of many images that are equally unlike the query.
    table = captioned_table(tmp_path / "index", [f"green {n}" for n in range(400)] + ["", "green 1", "blue"])
    async with colour_engine(SOFTMAX) as pooled:
        answer = await search_texts(pooled, image, table, top_k=1)
        embedded = sum(pooled.engine.engine.batches)
        again = await search_texts(pooled, image, table, top_k=2)
        assert sum(pooled.engine.engine.batches) == embedded  # the captions are known now
    assert [hit.text for hit in answer.hits] == ["blue"]
    assert (answer.score_kind, answer.compared, answer.left_out) == ("cosine", 401, 0)
    assert (len(again.hits), again.hits[0]) == (2, answer.hits[0])


async def test_of_too_many_captions_those_of_the_images_most_like_it_are_ranked(tmp_path, monkeypatch):
    monkeypatch.setattr(text_search, "MAX_TEXTS", 2)
    folder = save_colours(tmp_path / "in")
    for name in ("red", "green", "blue"):
        (folder / f"{name}.txt").write_text(f"a {name} thing")
    save_image(folder / "violet.png", (255, 0, 255))
    (folder / "violet.txt").write_text("a violet thing")
    image = SourceImage.read(save_image(tmp_path / "query.png", BLUE))
    index = ImageIndex(tmp_path / "index", create=True)
    async with colour_engine(SOFTMAX) as pooled:
        await add_images(Folder(folder), index, [pooled])
        answer = await search_texts(pooled, image, index.table(SOFTMAX), top_k=2)
    assert {hit.text for hit in answer.hits} == {"a blue thing", "a violet thing"}
    assert (answer.compared, answer.left_out) == (2, 2)


async def test_an_index_without_captions_says_so(tmp_path):
    image = SourceImage.read(save_image(tmp_path / "query.png", BLUE))
    async with colour_engine(SOFTMAX) as pooled:
        for captions in ([], [""]):
            table = captioned_table(tmp_path / str(len(captions)), captions)
            answer = await search_texts(pooled, image, table)
            assert "have no captions" in answer.explanation
            assert (answer.hits, answer.compared, answer.left_out) == ((), 0, 0)


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
