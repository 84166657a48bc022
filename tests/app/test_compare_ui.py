"""The comparison tab without a browser: what a visitor sees of an answer, links, and what is escaped."""

import base64
import html.parser
import json
import urllib.parse
from dataclasses import fields

import gradio as gr
import pytest
from starlette.requests import Request

from app.compare_answers import comparison_answer
from app.services import Services
from app.ui.compare_mistakes import MistakeHandlers
from app.ui.compare_mistakes_cards import render_reports
from app.ui.compare_one import CompareForm
from app.ui.compare_one_cards import MAX_ROWS, render_comparison
from app.ui.compare_one_handlers import CompareOneHandlers
from app.ui.compare_pictures import picture_path, shipped_pictures
from app.ui.compare_question import CompareQuestion, LinkedInputs
from app.ui.compare_tables import percent
from engines.errors import BackendUnavailableError, InvalidInputError, OverloadedError
from tests.fakes import FakePool, fake_spec
from tests.use_cases.comparison.questions import contestants, picture
from use_cases.comparison.mistakes import LabelShift, MistakeReport, MistakeResult
from use_cases.comparison.one_image import compare_image, open_contestants
from use_cases.retrieval.galleries import GalleryOptions

pytestmark = pytest.mark.anyio
MODELS = ("sig", "clip")


class Pool(FakePool):
    """All of its engines count as loaded, but those of broken models cannot be."""

    broken = ""

    async def key(self, model, engine=None):
        return model

    def is_ready(self, key):
        return True

    async def get(self, model, engine=None):
        if model == self.broken:
            raise BackendUnavailableError(f"{model} is not installed.")
        return await super().get(model, engine)


class Page(html.parser.HTMLParser):
    """Collects what a reader of the page sees, its links and the tags that were used."""

    def __init__(self, markup):
        super().__init__()
        self.words, self.tags, self.links, self.regions = [], set(), [], 0
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        facts = dict(attrs)
        if tag == "a":
            self.links.append(facts)
        self.regions += facts.get("role") == "region" and facts.get("tabindex") == "0"

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


@pytest.fixture
async def services(tmp_path):
    pool = Pool(sig=fake_spec("sig"), clip=fake_spec("clip", score="softmax"))
    services = Services(pool, MODELS, gallery_options=GalleryOptions(root=tmp_path / "indexes"))
    yield services
    await services.close()


@pytest.fixture
def image(upload, red_png):
    """Return an upload of a red picture."""
    return upload(red_png)


def values(image, labels="red\ngreen\nred blue", **changes):
    facts = {
        "image": image, "picture": "", "labels": labels, "models": list(MODELS), "engines": [""],
        "sigmoid_templates": "", "softmax_templates": "", "distractor": "",
    }  # fmt: skip
    return list((facts | changes).values())


async def run(services, *arguments, **changes):
    shown = [each async for each in CompareOneHandlers(services).on_run(*values(*arguments, **changes))]
    return Page(shown[-1]), shown[-1]


async def drawn(labels, **options):
    async with contestants() as chosen:
        comparison = await compare_image(chosen, picture(), labels, {}, "something else")
    return render_comparison(comparison, "?view=compare", uploaded=False, **options)


def test_the_form_and_the_question_agree():
    names = [field.name for field in fields(CompareForm)]
    assert names == [field.name for field in fields(CompareQuestion)]
    assert names == [field.name for field in fields(LinkedInputs)]


async def test_columns_stand_side_by_side_and_a_sentence_says_why_they_differ(services, image):
    page, _ = await run(services, image)
    assert "rank all labels alike, “red” first" in page.text
    for words in ("sig", "fake, sigmoid", "clip", "fake, softmax", "none of these", "cosine 1.0000", "#3"):
        assert words in page.text
    assert "A softmax cannot say it" in page.text
    assert "uploads cannot be linked" in page.text
    assert page.regions >= 3


async def test_a_model_that_fails_has_a_column_that_says_why(services, image):
    services.pool.broken = "clip"
    page, _ = await run(services, image)
    assert "clip is not installed." in page.text
    assert "no answer" in page.text
    assert "100.0 %" in page.text
    services.pool.broken = ""
    with pytest.raises(gr.Error, match="There are no labels"):
        await run(services, image, "  \n")
    with pytest.raises(gr.Error, match="There is no image"):
        await run(services, None)
    with pytest.raises(gr.Error, match="No model is chosen"):
        await run(services, image, models=[])
    with pytest.raises(gr.Error, match="this server offers"):
        await run(services, image, models=["/etc"])


async def test_downloads_are_in_the_page_and_hold_everything(services, image):
    page, _ = await run(services, image)
    by_name = {link.get("download"): link["href"] for link in page.links}
    content = {
        name: base64.b64decode(href.partition("base64,")[2]).decode()
        for name, href in by_name.items()
        if name
    }
    assert set(content) == {"comparison.csv", "comparison.json", "comparison.md"}
    assert len(content["comparison.csv"].splitlines()) == 1 + 2 * 3
    assert [each["model"] for each in json.loads(content["comparison.json"])["columns"]] == list(MODELS)


async def test_of_a_thousand_labels_the_best_fifty_are_shown_and_all_are_kept():
    page = Page(await drawn([f"label {number}" for number in range(999)] + ["red"]))
    assert f"The best {MAX_ROWS} of 1,000 labels; the downloads have all." in page.text
    assert page.text.count("#1") >= 2
    assert "at most 50 labels" in page.text


async def test_labels_cannot_smuggle_in_markup_or_a_template():
    markup = await drawn(["<script>alert(1)</script>", "${1+1} {{x}}", '"><img src=x onerror=alert(1)>'])
    page = Page(markup)
    assert "<script>alert(1)</script>" in page.text
    assert not {"script", "img"} & page.tags
    assert "${" not in markup
    assert "{{" not in markup


async def test_labels_that_a_column_could_not_read_are_named(services, image):
    page, _ = await run(services, image, labels="red\nred ?\n" + "red " * 9)
    assert "sig on fake cannot tell these characters apart: “red ?”" in page.text
    assert "Too long for clip on fake, which read only the beginning: “red red" in page.text
    page, _ = await run(services, image)
    assert "⚠" not in page.text


def test_a_link_restores_the_inputs():
    changes = {
        "models": ["clip"],
        "engines": ["onnx-fp32", ""],
        "sigmoid_templates": "a {label}\nthe {label}",
    }
    asked = values(None, "a cat & a dog\nünïcode 猫", picture="cat.jpg", distractor="x", **changes)
    question = CompareQuestion.of(asked)
    query = urllib.parse.parse_qs(question.link().removeprefix("?"), keep_blank_values=True)
    linked = LinkedInputs.of(query, MODELS)
    assert linked.image == str(picture_path("cat.jpg"))
    assert (linked.picture, linked.labels) == ("cat.jpg", question.labels)
    assert (linked.models, linked.engines) == (["clip"], ["onnx-fp32", ""])
    assert (linked.sigmoid_templates, linked.softmax_templates) == ("a {label}\nthe {label}", "")
    assert linked.distractor == "x"


@pytest.mark.parametrize(
    "typed", ['"a cat, sitting"', "a cat", 'a "cat"', "a cat,\na dog", '"a ""cat"", sitting"']
)
def test_a_link_restores_labels_with_commas_and_quotes(typed):
    question = CompareQuestion.of(values(None, typed, picture="cat.jpg"))
    query = urllib.parse.parse_qs(question.link().removeprefix("?"), keep_blank_values=True)
    restored = CompareQuestion.of(values(None, LinkedInputs.of(query, MODELS).labels, picture="cat.jpg"))
    assert restored.label_list == question.label_list


def test_a_link_names_no_upload_and_nothing_that_does_not_exist():
    question = CompareQuestion.of(values({"path": "/tmp/private.jpg"}))
    assert "private" not in question.link()
    query = {"view": ["compare"], "image": ["../../etc/passwd"], "model": ["/etc"], "engine": ["x"]}
    linked = LinkedInputs.of(query, MODELS)
    assert (linked.image, linked.models, linked.engines) == (None, list(MODELS), [""])
    assert CompareQuestion.of(values(None, "\n".join(f"label {n}" for n in range(1000)))).link() is None


async def test_a_page_opened_by_a_link_opens_the_tab(services):
    def on_link(query):
        request = Request({"type": "http", "query_string": query, "headers": []})
        return CompareOneHandlers(services).on_link(gr.Request(request))

    shown = on_link(b"view=compare&labels=a&labels=b&model=sig")
    assert (shown[0].selected, shown[1].selected) == ("compare", "compare-one")
    assert shown[5] == ["sig"]
    assert len(on_link(b"")) == len(shown)


def test_shipped_pictures_are_named_once():
    assert {"cat.jpg", "lion.jpg", "bus.png"} <= set(shipped_pictures())
    assert all(path.is_file() for path in shipped_pictures().values())
    assert picture_path("../cat.jpg") is None


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.951, "95.1 %"), (1.0, "100.0 %"), (0.0, "0.0 %"), (0.00123, "0.12 %"), (1e-9, "&lt; 0.001 %")],
)
def test_small_probabilities_keep_two_digits(share, shown):
    assert percent(share).replace("\u00a0", " ") == shown


def test_mistakes_are_sorted_by_what_they_cost_and_the_others_have_a_reason():
    def shifts(score, shift, rank=1):
        return (LabelShift("a <b>", rank, score, shift, 0.5), LabelShift("b", 3 - rank, 0.1, 0.0, 0.1))

    def mistake(name, shift, reason="", changed=False):
        labels = () if reason else shifts(0.9 + shift, shift, 2 if changed else 1)
        return MistakeResult(name, name, "Because.", reason, labels, "b" if changed else "a", changed, shift)

    mistakes = (
        mistake("small", 0.01),
        mistake("large", -0.8, changed=True),
        mistake("never", 0, "Not here."),
    )
    report = MistakeReport("sig", "fake", "sigmoid", shifts(0.9, 0.0), mistakes, {})
    page = Page(render_reports([report], {"clip": "clip is not installed."}))
    assert page.text.index("large") < page.text.index("small")
    for words in ("-80.0 points", "changed", "the same", "Not here.", "clip is not installed.", "a <b>"):
        assert words in page.text
    assert "b" not in page.tags


async def test_mistakes_refuse_what_cannot_be_used(services, image):
    handlers = MistakeHandlers(services)

    async def ask(*given):
        return [each async for each in handlers.on_run(*given)]

    with pytest.raises(gr.Error, match="There is no image"):
        await ask(None, "red", list(MODELS), "")
    with pytest.raises(gr.Error, match="No model is chosen"):
        await ask(image, "red", [], "")


async def test_mistakes_that_fail_are_listed_and_leave_the_comparison(services, monkeypatch):
    async def fail(*_):
        raise OverloadedError("The queue is full.")

    monkeypatch.setattr("use_cases.comparison.mistakes.try_mistakes", fail)
    async with open_contestants(services.engine, MODELS, []) as chosen:
        answer = await comparison_answer(chosen, picture(), ["red", "blue"], {}, distractor="", mistakes=True)
    assert [column["model"] for column in answer["columns"]] == list(MODELS)
    assert answer["mistakes"] == []
    assert [(each["model"], each["error"]) for each in answer["mistakes_failed"]] == [
        (model, "The queue is full.") for model in MODELS
    ]


async def test_too_many_labels_for_mistakes_are_refused_before_anything_is_computed(services):
    async with open_contestants(services.engine, MODELS, []) as chosen:
        labels = [str(number) for number in range(51)]
        with pytest.raises(InvalidInputError, match="at most 50"):
            await comparison_answer(chosen, picture(), labels, {}, distractor="", mistakes=True)
        assert not any(each.pooled.engine.engine.batches for each in chosen)
