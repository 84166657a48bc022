"""What the models found, drawn: cards, badges, and names that are no markup."""

import pytest

from app.ui.search_cards import render_answers
from tests.app.search_page import Page
from tests.use_cases.retrieval.pictures import record
from use_cases.retrieval.search import ImageHit, SearchAnswer
from use_cases.retrieval.text_search import TextAnswer, TextHit


def found(model, *ids, **facts):
    hits = [ImageHit(rank, 0.5, 0.5, record(id_, caption="")) for rank, id_ in enumerate(ids, 1)]
    defaults = {
        "engine": "fake", "score_kind": "cosine", "has_more": False, "searched": 9, "total": 9, "exact": True,
        "explanation": "", "truncated": False, "unread": False, "timings_ms": {},
    }  # fmt: skip
    return SearchAnswer(model=model, hits=tuple(hits), **(defaults | facts))


def test_badges_compare_the_models():
    markup = render_answers({"a": found("a", "x", "y", "z"), "b": found("b", "y", "w", "x")})
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
    page = Page(render_answers({"a": found("a", "x", exact=False, total=20)}))
    assert "in both" not in page.text
    assert "only here" not in page.text
    assert "approximate search (ANN) over 9 of 20 images" in page.text


def test_names_cannot_smuggle_in_markup_or_a_template():
    evil = '"><script>alert(1)</script>${1+1}{{x}}'
    markup = render_answers({"a": found("a", evil), evil: "It failed."}, record(evil))
    page = Page(markup)
    assert "script" not in page.tags
    assert "${" not in markup
    assert "{{" not in markup
    assert page.buttons[1]["data-id"] == evil


@pytest.mark.parametrize(
    ("left_out", "scope"),
    [
        (0, "2,048 texts were compared"),
        (52, "2,048 texts were compared, those of 52 images less like this one were not"),
    ],
)
def test_texts_tell_how_many_were_compared(left_out, scope):
    hits = (TextHit(1, 0.5, 0.5, "a <cat>"),)
    answer = TextAnswer("a", "fake", "cosine", hits, 2048, left_out, "", {})
    page = Page(render_answers({"a": answer}))
    assert scope in page.text
    assert ("were not" in page.text) == bool(left_out)
