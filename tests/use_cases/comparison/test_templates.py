"""Each prompt template alone, and what its choice changes."""

import pytest

from tests.fakes import fake_spec
from tests.use_cases.comparison.questions import contestants, picture
from use_cases.comparison.columns import score_labels
from use_cases.comparison.templates import COMMON_TEMPLATES, spread_templates
from use_cases.zero_shot import classify

pytestmark = pytest.mark.anyio


async def test_the_spread_is_what_classify_says_with_each_template_alone():
    templates = ["a {label} thing", "red {label}", "{label} blue blue"]
    async with contestants() as (each, _):
        scores = await score_labels(each.pooled, picture(), ["red", "blue"], {"sigmoid": templates})
        spread = await spread_templates(scores)
        alone = [
            {each.label: each.score for each in result.scores}
            for template in templates
            for result in await classify(each.pooled, [picture()], ["red", "blue"], [template])
        ]
    assert spread.templates == tuple(templates)
    for label in spread.labels:
        assert label.lowest == pytest.approx(min(scores[label.label] for scores in alone))
        assert label.highest == pytest.approx(max(scores[label.label] for scores in alone))
    red = next(label for label in spread.labels if label.label == "red")
    assert (red.best_rank, red.worst_rank) == (1, 1)
    assert spread.best_by_template == ("red", "red", "red")


async def test_a_template_can_put_another_label_first():
    async with contestants() as (each, _):
        templates = {"sigmoid": ["{label}", "{label} green"]}
        scores = await score_labels(each.pooled, picture("yellow"), ["red", "red green"], templates)
        spread = await spread_templates(scores)
    assert spread.best_by_template == ("red green", "red")
    assert {(label.best_rank, label.worst_rank) for label in spread.labels} == {(1, 2)}


async def test_common_templates_are_tried_where_a_column_has_one():
    async with contestants(one=fake_spec("one")) as (each,):
        scores = await score_labels(each.pooled, picture(), ["red", "blue"], {})
        spread = await spread_templates(scores)
    assert spread.templates == ("a {label} thing", *COMMON_TEMPLATES)
    assert len(spread.best_by_template) == len(spread.templates)
    assert [label.label for label in spread.labels] == ["red", "blue"]
