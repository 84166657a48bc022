"""The search tab without a browser: what is asked, and what the visitor sees of the answer."""

import asyncio
from dataclasses import fields, replace

import gradio as gr
import pytest

from app.services import Services
from app.ui import newest
from app.ui.search_form import SearchForm
from app.ui.search_handlers import SearchHandlers
from app.ui.search_map import MapHandlers
from app.ui.search_question import IMAGES, TEXTS, SearchQuestion
from tests.app.search_page import MODELS, Page, begin_to_fill, last, search, values
from use_cases.retrieval.image_index import ImageIndex

pytestmark = pytest.mark.anyio


def test_the_form_and_the_question_agree():
    assert [field.name for field in fields(SearchForm)] == [field.name for field in fields(SearchQuestion)]
    assert len(values()) == len(fields(SearchQuestion))


async def test_a_text_is_answered_by_each_model_with_scores_ranks_and_stages(services, mine):
    page, _ = await search(services, text="red", models=["shapes", "colours"])
    assert [button["data-id"] for button in page.buttons[::3]] == ["red.png", "red.png"]
    assert page.text.index("colours") < page.text.index("shapes")  # the server's order
    assert "3 of 3 images are in both" in page.text
    assert "Probability that the text fits" in page.text
    assert "Cosine of the image with the whole query" in page.text
    assert "exact search over 3 images" in page.text
    assert "infer" in page.text
    assert "Rank 1: red.png, 100.0 %, rank 1 with the other model" in page.buttons[0]["aria-label"]


async def test_a_picture_of_the_gallery_can_be_searched_by(services, mine):
    page, _ = await search(services, like="blue.png")
    assert "Like blue.png" in page.text
    assert page.buttons[0]["data-action"] == "clear"
    assert page.buttons[1]["data-id"] == "blue.png"
    page, _ = await search(services, like="gone.png")
    assert "no image 'gone.png'" in page.text
    assert page.buttons == []


async def test_an_uploaded_picture_can_be_searched_by_and_wins_over_one_of_the_gallery(
    services, mine, upload, tmp_path
):
    page, _ = await search(services, image=upload(tmp_path / "in" / "green.png"), like="blue.png")
    assert page.buttons[0]["data-id"] == "green.png"
    assert "Like" not in page.text


async def test_a_sentence_stands_where_there_is_nothing_to_show(services, mine):
    page, shown = await search(services, text="red", models=["shapes"], min_score=1.0, negative="blue")
    assert "below the threshold of 1" in page.text
    assert shown[2]["visible"] is False
    page, _ = await search(services, text="red", negative="green", negative_weight=2)
    assert len(page.buttons) == 6  # no minimum: cosines below 0, too
    page, _ = await search(services, text="red", caption_contains="no such words")
    assert "None of the 3 images meets the filter" in page.text
    page, _ = await search(services, text="red", gallery="other")
    assert "no gallery 'other'; there are demo, mine" in page.text
    page, _ = await search(services, text="red", gallery="demo")
    assert "index is empty" in page.text


async def test_a_gallery_that_is_being_filled_says_so(services, tmp_path):
    engine = await begin_to_fill(services, tmp_path)
    page, _ = await search(services, text="red", models=["shapes"])
    engine.release.set()
    assert "being filled" in page.text


async def test_pages_lead_to_the_next_results_and_back(services, mine):
    handlers = SearchHandlers(services)
    _, (_, page, row, back, forward) = await search(services, text="red", top_k=2)
    found = (page.offset, row["visible"], back["interactive"], forward["interactive"])
    assert found == (0, True, False, True)
    shown = await last(handlers.on_next(page))
    assert "Rank 3" in Page(shown[0]).buttons[0]["aria-label"]
    assert [shown[1].offset, shown[3]["interactive"], shown[4]["interactive"]] == [2, True, False]
    assert shown[1].question == page.question  # whatever the form says by now
    shown = await last(handlers.on_previous(shown[1]))
    assert "Rank 1" in Page(shown[0]).buttons[0]["aria-label"]
    assert [each async for each in handlers.on_next(None)] == []  # nothing was searched for yet


async def test_pages_end_where_the_minimum_score_does(services, mine):
    asked = {"text": "red blue", "top_k": 1, "min_score": 0.5}  # reached by red and blue, not by green
    _, (_, first, row, _, forward) = await search(services, **asked)
    assert (row["visible"], forward["interactive"]) == (True, True)
    shown = await last(SearchHandlers(services).on_next(first))
    assert len(Page(shown[0]).buttons) == 2  # of each model one
    assert (shown[1].offset, shown[4]["interactive"]) == (1, False)


async def test_a_gallery_of_another_state_of_the_models_says_what_to_do(changed_services, mine):
    page, _ = await search(changed_services, text="red")
    assert "built with another state of colours" in page.text
    assert "“Add your own images” has both" in page.text
    assert page.buttons == []


@pytest.mark.parametrize(
    ("builds", "sentence"),
    [
        (True, "embedded anew; ask again in a minute"),
        (False, "start the server with SIGLIP_DEMO_GALLERY=true"),
    ],
)
async def test_the_shipped_gallery_of_another_state_is_not_for_visitors_to_mend(
    services, changed_services, builds, sentence
):
    options = replace(services.gallery_options, builds_demo=builds)
    for spec in services.pool.specs.values():
        ImageIndex(options.root / "demo", create=True).table(spec, create=True)
    restarted = Services(changed_services.pool, MODELS, gallery_options=options)
    page, _ = await search(restarted, text="red", gallery="demo")
    assert sentence in page.text
    assert "Add your own images" not in page.text


async def test_texts_are_ranked_for_a_picture(services, mine):
    page, _ = await search(services, mode=TEXTS, like="red.png", tags="blue\n\nred\ngreen\n")
    assert [button["data-text"] for button in page.buttons[1:4]] == ["red", "blue", "green"]
    page, _ = await search(services, mode=TEXTS, like="red.png")
    assert "have no captions" in page.text
    with pytest.raises(gr.Error, match="no image that the texts could fit"):
        await search(services, mode=TEXTS)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "nothing to look for"),
        ({"text": "red", "models": []}, "choose at least one"),
        ({"text": "red", "models": ["/etc"]}, "Unknown model"),
        ({"text": ["red"]}, "must be text"),
        ({"text": "red", "top_k": "many"}, "results must be a number"),
        ({"text": "red", "top_k": 10**9}, "at most 1,000 results"),
        ({"text": "red", "text_weight": float("nan")}, "weight of the text must be a number"),
        ({"text": "red", "min_score": 7}, "min_score must be from -1 to 1"),
        ({"text": "red", "min_side": 1e300}, "min_width must be a whole number"),
        ({"image": {"path": "/etc/passwd"}}, "upload it again"),
    ],
)
async def test_what_cannot_be_used_is_a_toast(services, mine, changes, sentence):
    with pytest.raises(gr.Error, match=sentence):
        await search(services, **changes)


async def test_a_click_asks_for_that_picture_or_text_and_nothing_else(services):
    handlers = SearchHandlers(services)
    assert await handlers.on_pick(gr.EventData(None, {"id": "a.png"})) == (IMAGES, "", "", None, "a.png")
    assert await handlers.on_pick(gr.EventData(None, {"text": "red"})) == (IMAGES, "red", "", None, "")
    assert await handlers.on_pick(gr.EventData(None, None)) == (IMAGES, "", "", None, "")
    with pytest.raises(gr.Error, match="must be text"):
        await handlers.on_pick(gr.EventData(None, {"id": 7}))


async def test_another_gallery_asks_again_only_if_there_is_a_question(services, mine):
    handlers = SearchHandlers(services)
    assert "Describe a picture" in (await last(handlers.on_change(*values())))[0]
    assert "red.png" in (await last(handlers.on_change(*values(text="red"))))[0]


async def test_an_older_answer_does_not_replace_the_empty_state(services, mine, monkeypatch):
    monkeypatch.setattr(newest, "_open_page", lambda: "page")
    handlers = SearchHandlers(services)
    older = handlers.on_search(*values(text="red"))
    waiting = asyncio.ensure_future(anext(older))
    await asyncio.sleep(0)
    assert "Describe a picture" in (await last(handlers.on_change(*values())))[0]
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_the_map_has_every_picture_and_its_thumbnails_on_demand(services, mine):
    handlers = MapHandlers(services)
    drawn = await handlers.on_map(mine, "colours")
    assert sorted(drawn["ids"]) == ["blue.png", "green.png", "red.png"]
    assert len(drawn["x"]) == len(drawn["y"]) == 3
    assert "3 images" in drawn["note"]
    assert (await handlers.thumbnail([mine, "colours", "red.png"])).startswith("data:image/jpeg;base64,/9j/")
    for which in (
        [mine, "colours", "gone"],
        ["gone", "colours", "red.png"],
        [mine, "/etc", ""],
        [1, 2, 3],
        7,
    ):
        assert await handlers.thumbnail(which) == "data:,"
    with pytest.raises(gr.Error, match="no gallery"):
        await handlers.on_map("gone", "colours")
