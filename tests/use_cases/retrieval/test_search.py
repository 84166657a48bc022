"""Searching an index for images: by text, by image, by both, away from something; pages and thresholds."""

import math

import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.preparation.source import SourceImage
from tests.use_cases.retrieval.pictures import (
    BLUE,
    colour_engine,
    record,
    save_colours,
    save_image,
    stored_spec,
    unit_rows,
)
from use_cases.retrieval.errors import UnknownIndexError
from use_cases.retrieval.filters import ImageFilter
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.ingest import add_images
from use_cases.retrieval.query import ImageQuery
from use_cases.retrieval.search import search_images, text_warnings
from use_cases.retrieval.sources import Folder
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


async def test_images_that_tie_are_on_one_page_each(tmp_path):
    async with colour_engine() as pooled:
        table = ImageIndex(tmp_path, create=True).table(pooled.engine.spec, create=True)
        rows = unit_rows(300)
        rows[::7] = (1, 0, 0)  # 43 times the same image
        table.add([record(str(number)) for number in range(300)], rows)
        pages = [
            await search_images(pooled, table, ImageQuery(text="red", top_k=4, offset=offset))
            for offset in range(0, 48, 4)
        ]
    seen = [image for page in pages for image in ids(page)]
    assert len(set(seen)) == len(seen) == 48


async def test_of_duplicates_only_the_best_is_found_and_counts_as_one(tmp_path):
    async with colour_engine() as pooled:
        table = ImageIndex(tmp_path, create=True).table(pooled.engine.spec, create=True)
        angles = np.linspace(np.pi / 2, 0, 100)  # the last is the nearest to red
        rows = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1).astype(np.float32)
        names = [f"{number // 10}-{number % 10}" for number in range(100)]  # ten of each; x-0 came first
        owners = ["" if name.endswith("0") else f"{name[0]}-0" for name in names]
        table.add([record(n, duplicate_of=o) for n, o in zip(names, owners, strict=True)], rows)

        async def answers(**query):
            return await search_images(pooled, table, ImageQuery(text="red", hide_duplicates=True, **query))

        everything = await answers()
        assert ids(everything) == [f"{number}-9" for number in range(9, -1, -1)]
        assert [hit.rank for hit in everything.hits] == list(range(1, 11))
        assert (everything.searched, everything.has_more) == (100, False)
        page = await answers(top_k=3, offset=6)
        assert (ids(page), page.has_more) == (["3-9", "2-9", "1-9"], True)
        page = await answers(top_k=3, offset=7)
        assert (ids(page), page.has_more) == (["2-9", "1-9", "0-9"], False)
        assert ids(await answers(where=ImageFilter(id_prefix="4-3"))) == ["4-3"]  # 4-0 does not meet it
        assert len((await answers(min_score=0.98)).hits) < 10


@pytest.mark.parametrize(
    ("page", "has_more"),
    [
        ({"top_k": 3}, True),
        ({"top_k": 4}, False),
        ({"top_k": 1, "offset": 2}, True),
        ({"top_k": 2, "offset": 2}, False),
        ({"top_k": 1, "min_score": 0.5}, True),
        ({"top_k": 2, "min_score": 0.5}, False),
        ({"top_k": 1, "offset": 1, "min_score": 0.5}, False),
    ],
)
async def test_an_answer_tells_whether_another_page_has_something(found, page, has_more):
    answer = await found(text="red", **page)
    assert (answer.has_more, len(answer.hits)) == (has_more, page["top_k"])


# The cosines with red: red 1, violet 0.707, green and blue 0. With red and blue together, of unit length:
# violet 1, red and blue 0.707, green 0. A sigmoid model's logits are 20 * cosine - 10.
@pytest.mark.parametrize(
    ("spec", "query", "kind", "pages"),
    [
        # Probabilities: red 1.000, violet 0.984, the others 0.000.
        (None, {"text": "red", "min_score": 0.98}, "probability", [["red.png"], ["violet.png"], []]),
        (None, {"text": "red", "min_score": 0.99}, "probability", [["red.png"], [], []]),
        (SOFTMAX, {"text": "red", "min_score": 0.7}, "cosine", [["red.png"], ["violet.png"], []]),
        (SOFTMAX, {"text": "red", "min_score": 0.71}, "cosine", [["red.png"], [], []]),
        (None, {"like": "red.png", "min_score": 0.7}, "cosine", [["red.png"], ["violet.png"], []]),
        # The text's own probabilities would leave out blue, which has 0.000, and keep a gap before it.
        (
            None,
            {"text": "red", "like": "blue.png", "min_score": 0.7},
            "cosine",
            [["violet.png"], ["blue.png"], ["red.png"], []],
        ),
        (None, {"text": "red", "like": "blue.png", "min_score": 0.71}, "cosine", [["violet.png"], [], []]),
        # Red minus blue, of unit length: red 0.707, violet and green 0, blue -0.707.
        (
            None,
            {"text": "red", "negative": "blue", "negative_weight": 1, "min_score": 0.7},
            "cosine",
            [["red.png"], [], []],
        ),
        (
            None,
            {"text": "red", "negative": "blue", "negative_weight": 1, "min_score": -0.7},
            "cosine",
            [["red.png"], ["green.png"], ["violet.png"], []],
        ),
    ],
)
async def test_offsets_count_only_what_reaches_the_minimum_score(found, spec, query, kind, pages):
    answers = [await found(spec, **query, top_k=1, offset=offset) for offset in range(len(pages))]
    assert sorted(map(ids, answers)) == sorted(pages)  # of equal cosines either may be first
    assert [len(answer.hits) for answer in answers] == [len(page) for page in pages]
    assert {answer.score_kind for answer in answers} == {kind}
    assert [answer.has_more for answer in answers] == [bool(page) for page in pages[1:]] + [False]
    ranks = [hit.rank for answer in answers for hit in answer.hits]
    assert ranks == list(range(1, len(ranks) + 1))
    whole = await found(spec, **query)
    assert [hit.image.id for answer in answers for hit in answer.hits] == ids(whole)
    assert all(hit.score >= query["min_score"] for hit in whole.hits)


async def test_a_part_without_weight_does_not_turn_a_probability_into_a_cosine(found):
    plain = await found(text="red", min_score=0.98)
    for unweighed in (
        {"like": "blue.png", "image_weight": 0},
        {"negative": "blue", "negative_weight": 0},
    ):
        answer = await found(text="red", min_score=0.98, **unweighed)
        assert (answer.score_kind, answer.hits) == ("probability", plain.hits)


async def test_a_score_that_was_answered_keeps_its_image_as_a_minimum(found):
    for query in ({"text": "red"}, {"like": "violet.png"}):
        second = (await found(**query)).hits[1]
        assert (await found(**query, min_score=second.score)).hits[1] == second


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"text": "green", "where": ImageFilter(min_width=1000)}, "None of the 4 images meets the filter"),
        ({"text": "red green blue", "min_score": 0.9999}, "below the threshold of 0.9999"),
        ({"text": "red", "offset": 10}, "There are only 4 images; go back"),
        (
            {"text": "red", "offset": 2, "min_score": 0.5},
            "only 2 images that reach the threshold of 0.5; go back",
        ),
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
    answer = await found(text="red " * 20)
    assert answer.truncated
    assert text_warnings(answer) == ["The model read only the beginning of the text."]


async def test_a_text_that_the_model_cannot_read_is_said_to_be_so(found):
    answer = await found(text="red", negative="?")
    assert answer.unread
    assert "which it cannot tell apart" in text_warnings(answer)[0]
    assert not text_warnings(await found(text="red"))


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
