"""The search tab without a browser: what is asked, what is drawn, and galleries of one's own."""

import asyncio
import html.parser
from dataclasses import fields

import gradio as gr
import pytest

from app.services import Services
from app.ui.search_cards import render_answers
from app.ui.search_form import SearchForm
from app.ui.search_gallery_handlers import GalleryHandlers
from app.ui.search_handlers import SearchHandlers
from app.ui.search_map import MapHandlers
from app.ui.search_progress import render_status
from app.ui.search_question import IMAGES, TEXTS, SearchQuestion
from app.ui.search_uploads import dropped_files, named_folder
from engines.errors import InvalidInputError
from tests.fakes import FakePool
from tests.use_cases.retrieval.pictures import RED, record, save_colours, save_image, stored_spec
from use_cases.retrieval.errors import IndexNotAllowedError, IndexStorageError
from use_cases.retrieval.galleries import GalleryOptions, GalleryStatus
from use_cases.retrieval.jobs import IndexJob
from use_cases.retrieval.search import ImageHit, SearchAnswer
from use_cases.retrieval.sources import Folder

pytestmark = pytest.mark.anyio
MODELS = ("colours", "shapes")


class LoadedPool(FakePool):
    """All of its engines count as loaded."""

    async def key(self, model, engine=None):
        return model

    def is_ready(self, key):
        return True


class Page(html.parser.HTMLParser):
    """Collects what a reader of the page sees, and the attributes of its buttons."""

    def __init__(self, markup):
        super().__init__()
        self.words, self.tags, self.buttons = [], set(), []
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "button":
            self.buttons.append(dict(attrs))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
async def services(tmp_path):
    pool = LoadedPool(colours=stored_spec(), shapes=stored_spec("shapes", score="softmax"))
    options = GalleryOptions(root=tmp_path / "indexes", may_change=True, folders=(tmp_path,))
    services = Services(pool, MODELS, gallery_options=options)
    yield services
    await services.close()


@pytest.fixture
async def mine(services, tmp_path):
    """Fill the gallery "mine" with a red, a green and a blue picture; return its name."""
    job = await services.galleries.add("mine", Folder(save_colours(tmp_path / "in")), MODELS)
    await job.wait()
    return "mine"


@pytest.fixture
def upload(tmp_path, monkeypatch):
    """Return a function that puts a file where Gradio puts uploads; it returns what gr.File sends."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))

    def upload(path, name=None):
        place = tmp_path / "uploads" / str(len(list((tmp_path / "uploads").glob("*")))) / path.name
        place.parent.mkdir(parents=True)
        place.write_bytes(path.read_bytes())
        return {"path": str(place), "orig_name": name or path.name}

    (tmp_path / "uploads").mkdir()
    return upload


def values(**changes):
    """Return what the form sends when nothing was changed but that."""
    sent = {
        "gallery": "mine", "mode": IMAGES, "text": "", "image": None, "like": "", "tags": "",
        "models": list(MODELS), "top_k": 10, "min_score": 0, "negative": "", "text_weight": 1,
        "image_weight": 1, "negative_weight": 0.5, "id_prefix": "", "caption_contains": "", "min_side": 0,
        "orientation": "any", "hide_duplicates": False, "engine": "",
    }  # fmt: skip
    return list((sent | changes).values())


async def begin_to_fill(services, folder):
    """Let a job for the gallery "mine" wait for its engine, until the `release` of that is set."""
    await services.engines(["colours"])
    engine = services.pool.running["colours"].engine
    engine.release.clear()
    await services.galleries.add("mine", Folder(save_colours(folder / "in")), ["colours"])
    assert await asyncio.to_thread(engine.started.wait, 30)
    return engine


async def last(stream):
    return [shown async for shown in stream][-1]


async def search(services, **changes):
    """Search as the page does; return the page of results, and all that was shown."""
    shown = await last(SearchHandlers(services).on_search(*values(**changes)))
    return Page(shown[0]), shown


def test_the_form_and_the_question_agree():
    assert [field.name for field in fields(SearchForm)] == [field.name for field in fields(SearchQuestion)]
    assert len(values()) == len(fields(SearchQuestion))


async def test_a_text_is_answered_by_each_model_with_scores_ranks_and_stages(services, mine):
    page, _ = await search(services, text="red", models=["shapes", "colours"])
    assert [button["data-id"] for button in page.buttons[::3]] == ["red.png", "red.png"]
    assert page.text.index("colours") < page.text.index("shapes")  # the server's order
    assert "3 of 3 images are in both" in page.text
    assert "Probability that the text fits" in page.text
    assert "Cosine of the image with the query" in page.text
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
    _, (_, offset, row, back, forward) = await search(services, text="red", top_k=2)
    assert (offset, row["visible"], back["interactive"], forward["interactive"]) == (0, True, False, True)
    shown = await last(handlers.on_next(offset, *values(text="red", top_k=2)))
    assert "Rank 3" in Page(shown[0]).buttons[0]["aria-label"]
    assert [shown[1], shown[3]["interactive"], shown[4]["interactive"]] == [2, True, False]
    shown = await last(handlers.on_previous(2, *values(text="red", top_k=2)))
    assert "Rank 1" in Page(shown[0]).buttons[0]["aria-label"]


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


def answer(model, *ids, **facts):
    hits = [ImageHit(rank, 0.5, 0.5, record(id_, caption="")) for rank, id_ in enumerate(ids, 1)]
    defaults = {
        "engine": "fake", "score_kind": "cosine", "searched": 9, "total": 9, "exact": True, "explanation": "",
        "truncated": False, "timings_ms": {},
    }  # fmt: skip
    return SearchAnswer(model=model, hits=tuple(hits), **(defaults | facts))


def test_badges_compare_the_models():
    markup = render_answers({"a": answer("a", "x", "y", "z"), "b": answer("b", "y", "w", "x")})
    page = Page(markup)
    labels = {
        (button["data-id"], place > 2): button["aria-label"] for place, button in enumerate(page.buttons)
    }
    assert "rank 3 with the other model" in labels["x", False]
    assert "not among the other model's results" in labels["w", True]
    assert page.text.count("▲2") == 1
    assert page.text.count("▼2") == 1
    assert page.text.count("only here") == 2
    assert "2 of 3 images are in both" in page.text


def test_one_model_has_nothing_to_compare_with_and_ann_is_told():
    page = Page(render_answers({"a": answer("a", "x", exact=False, total=20)}))
    assert "in both" not in page.text
    assert "only here" not in page.text
    assert "approximate search (ANN) over 9 of 20 images" in page.text


def test_names_cannot_smuggle_in_markup_or_a_template():
    evil = '"><script>alert(1)</script>${1+1}{{x}}'
    markup = render_answers({"a": answer("a", evil), evil: "It failed."}, record(evil))
    page = Page(markup)
    assert "script" not in page.tags
    assert "${" not in markup
    assert "{{" not in markup
    assert page.buttons[1]["data-id"] == evil


async def test_dropped_pictures_become_a_gallery_with_captions(services, upload, tmp_path):
    handlers = GalleryHandlers(services)
    save_image(tmp_path / "r.png", RED)
    (tmp_path / "r.txt").write_text("a red square")
    (tmp_path / "bad.png").write_text("no picture")
    dropped = [upload(tmp_path / name) for name in ("r.png", "r.txt")]
    dropped.append(upload(tmp_path / "bad.png", "Größe <b>.png"))
    gallery, status, timer, cancel, files, folder = await handlers.on_add("new", dropped, "", list(MODELS))
    assert (gallery["value"], "new" in gallery["choices"], files, folder) == ("new", True, None, "")
    assert timer["active"]
    assert cancel["visible"]
    assert "new" in status
    await (await services.galleries.status("new")).job.wait()
    status, timer, cancel = await handlers.on_watch("new")
    page = Page(status)
    assert "up to date" in page.text
    assert "2 of 2" in page.text
    assert "1 added · 1 unusable" in page.text
    assert "Größe <b>.png : The image" in page.text
    assert not timer["active"]
    assert not cancel["visible"]
    page, _ = await search(services, gallery="new", text="red")
    assert "a red square" in page.text
    again = await handlers.on_open("gone")
    assert (again[0]["value"], again[0]["choices"]) == ("demo", ["demo", "new"])


async def test_a_gallery_is_removed_after_a_question(services, mine):
    handlers = GalleryHandlers(services)
    shown, question = await handlers.on_ask(mine)
    assert shown["visible"]
    assert "with its 3 images" in Page(question).text
    gallery, *_, confirmation = await handlers.on_remove(mine)
    assert (gallery["value"], gallery["choices"], confirmation["visible"]) == ("demo", ["demo"], False)
    assert (await handlers.on_watch(mine))[0] == ""
    for action in (handlers.on_ask, handlers.on_remove, handlers.on_cancel):
        with pytest.raises(gr.Error, match="shipped"):
            await action("demo")


async def test_a_running_job_can_be_stopped(services, tmp_path):
    engine = await begin_to_fill(services, tmp_path)
    status, timer, cancel = await GalleryHandlers(services).on_watch("mine")
    assert (timer["active"], cancel["visible"]) == (True, True)
    engine.release.set()
    status, timer, _ = await GalleryHandlers(services).on_cancel("mine")
    assert "stopped; what was added stays" in Page(status).text
    assert not timer["active"]


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (("mine", None, "", list(MODELS)), "nothing to add"),
        (("mine", "text", "", list(MODELS)), "must be a list"),
        (("mine", [7], "", list(MODELS)), "uploaded first"),
        (("mine", [{"path": "/etc/passwd"}], "", list(MODELS)), "upload it again"),
        (("mine", [{}], "/tmp", list(MODELS)), "one at a time"),
        (("mine", None, "/", list(MODELS)), "Only folders below"),
        (("mine", None, "~nobody-of-that-name/x", list(MODELS)), "no folder's name"),
        (("mine", None, "a\0b", list(MODELS)), "no folder's name"),
        (("mine", None, "", []), "at least one of the models"),
        (("mine", None, "", ["/etc"]), "at least one of the models"),
    ],
)
async def test_what_cannot_be_added_is_a_toast(services, sent, sentence):
    with pytest.raises(gr.Error, match=sentence):
        await GalleryHandlers(services).on_add(*sent)


async def test_the_shipped_gallery_and_bad_names_cannot_be_filled(services, upload, tmp_path):
    dropped = [upload(save_image(tmp_path / "r.png", RED))]
    for name, sentence in (("demo", "shipped"), ("../x", "cannot be called")):
        with pytest.raises(gr.Error, match=sentence):
            await GalleryHandlers(services).on_add(name, dropped, "", list(MODELS))


def test_an_archive_comes_alone(upload, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    archive = upload(tmp_path / "a.zip")
    files, folder = dropped_files([archive])
    assert (files.source, folder) == ("a.zip", None)
    with pytest.raises(InvalidInputError, match="one zip archive by itself"):
        dropped_files([archive, archive])


def test_only_allowed_folders_can_be_named(tmp_path):
    allowed = tmp_path / "allowed"
    save_colours(allowed / "in")
    (allowed / "link").symlink_to(tmp_path)
    assert named_folder(str(allowed / "in"), (allowed,)).count() == 3
    for name in (str(tmp_path), f"{allowed}/..", str(allowed / "link")):
        with pytest.raises(IndexNotAllowedError, match="Only folders below"):
            named_folder(name, (allowed,))
    with pytest.raises(InvalidInputError, match="no folder"):
        named_folder(str(allowed / "gone"), (allowed,))


def test_progress_is_drawn_with_rate_and_remaining_time():
    job = IndexJob([], None, MODELS)
    job.state, job.progress.total = "running", 40
    job.progress.advance(10)
    job.progress.added = 10
    page = Page(render_status(GalleryStatus("mine", {}, job)))
    assert "10 of 40" in page.text
    assert "images/s" in page.text
    assert "s left" in page.text
    job.state, job.failure = "failed", IndexStorageError("The disk is full <now>.")
    assert "failed. The disk is full <now>." in Page(render_status(GalleryStatus("mine", {}, job))).text
    job.state = "done"
    assert render_status(GalleryStatus("demo", {}, job)) == ""


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
