"""One image, many labels, several columns."""

import csv
import io
import json

import pytest

from app.ui.compare_sensitivity_cards import render_sensitivities
from engines.errors import BackendUnavailableError, InvalidInputError, OverloadedError, UnknownModelError
from tests.fakes import FakePool, fake_spec
from tests.use_cases.comparison.questions import SIGMOID, SOFTMAX, contestants, picture
from use_cases.comparison import one_image
from use_cases.comparison.one_image import MAX_COLUMNS, compare_image, open_contestants
from use_cases.comparison.one_image_tables import (
    comparison_csv,
    comparison_json,
    comparison_markdown,
    display_order,
)
from use_cases.comparison.templates import MAX_SPREAD_LABELS, spread_templates
from use_cases.zero_shot import classify

pytestmark = pytest.mark.anyio
LABELS = ["red", "green", "red blue"]


async def compare(labels=LABELS, templates=None, distractor="", **options):
    async with contestants(*options.pop("broken", ()), **options) as chosen:
        return await compare_image(chosen, picture(), labels, templates or {}, distractor)


async def test_columns_hold_what_classify_returns_and_every_reading_of_it():
    async with contestants() as chosen:
        comparison = await compare_image(chosen, picture(), LABELS, {})
        expected = [(await classify(each.pooled, [picture()], LABELS))[0] for each in chosen]
    for column, result in zip(comparison.columns, expected, strict=True):
        assert [each.label for each in column.labels] == [each.label for each in result.scores]
        own = [each.softmax if each.sigmoid is None else each.sigmoid for each in column.labels]
        assert own == [each.score for each in result.scores]
        assert [each.cosine for each in column.labels] == [each.cosine for each in result.scores]
        assert column.none_of_these == result.none_of_these
        assert [each.rank for each in column.labels] == [1, 2, 3]
        assert sum(each.softmax for each in column.labels) == pytest.approx(1)
        assert {"preprocess", "tokenize", "infer"} <= set(column.timings_ms)
    sigmoid, softmax = comparison.columns
    assert sigmoid.labels[0].sigmoid == pytest.approx(1, abs=1e-3)
    assert softmax.labels[0].sigmoid is None
    assert softmax.none_of_these is None


async def test_a_model_that_fails_is_listed_with_its_reason_while_the_other_answers():
    comparison = await compare(broken=["clip"])
    assert [column.model for column in comparison.columns] == ["sig"]
    assert [(each.model, each.error) for each in comparison.failed] == [("clip", "clip is not installed.")]
    assert "nothing to compare" in comparison.explanation
    async with contestants() as chosen:
        chosen[1].pooled.engine.engine.error = RuntimeError("broken weights")
        comparison = await compare_image(chosen, picture(), LABELS, {})
    assert len(comparison.columns) == 1
    assert "failed on this request" in comparison.failed[0].error


async def test_where_all_fail_the_first_error_is_the_answer():
    with pytest.raises(BackendUnavailableError, match="sig is not installed"):
        await compare(broken=["sig", "clip"])


async def test_a_name_that_does_not_exist_is_the_callers_mistake():
    async def get(model, engine):
        raise UnknownModelError("no such model")

    with pytest.raises(UnknownModelError):
        async with open_contestants(get, ["x"], []):
            pass
    with pytest.raises(InvalidInputError, match=f"at most {MAX_COLUMNS}"):
        async with open_contestants(get, ["x", "y"], [str(number) for number in range(MAX_COLUMNS)]):
            pass


async def test_no_engine_is_unloaded_before_all_have_answered():
    kept, opened = [], []
    pool = FakePool(sig=SIGMOID, clip=SOFTMAX)

    async def get(model, engine):
        kept.append([pooled.engine.is_kept for pooled in opened])
        opened.append(await pool.get(model, engine))
        return opened[-1]

    async with open_contestants(get, ["sig", "clip"], []):
        assert kept == [[], [True]]
        assert all(pooled.engine.is_kept for pooled in opened)
    assert not any(pooled.engine.is_kept for pooled in opened)
    await pool.close()


async def test_a_best_engine_that_is_also_named_is_one_column():
    async with contestants(engines=["", "fake", ""]) as chosen:
        assert [each.model for each in chosen] == ["sig", "clip"]


async def test_repeated_and_empty_labels_and_any_script():
    labels = ["red", "", " red ", "猫", "кот", "🐈", "قطة"]
    comparison = await compare(labels)
    assert comparison.labels == ("red", "猫", "кот", "🐈", "قطة")
    assert "猫" in comparison_csv(comparison)
    assert "🐈" in comparison_json(comparison)
    with pytest.raises(InvalidInputError, match="no labels"):
        await compare(["", " "])


async def test_one_label():
    comparison = await compare(["red"])
    assert comparison.explanation.startswith("With a single label")
    assert comparison.label_set == ()
    assert comparison.columns[1].labels[0].softmax == 1


async def test_a_thousand_labels_are_all_kept_and_the_best_come_first():
    labels = [f"label {number}" for number in range(999)] + ["red"]
    comparison = await compare(labels)
    assert len(comparison.columns[0].labels) == 1000
    assert comparison.template_spreads == ()
    assert len(labels) > MAX_SPREAD_LABELS
    assert display_order(comparison.columns, 50)[0] == "red"
    assert len(display_order(comparison.columns, 50)) == 50
    assert len(list(csv.reader(io.StringIO(comparison_csv(comparison))))) == 1 + 2 * 1000
    with pytest.raises(InvalidInputError, match="at most 1,000"):
        await compare([*labels, "one more"])


async def test_each_kind_of_model_has_templates_of_its_own():
    comparison = await compare(templates={"sigmoid": ["red {label}"], "softmax": []})
    assert [column.templates for column in comparison.columns] == [("red {label}",), ("a {label} thing",)]
    with pytest.raises(InvalidInputError, match="must contain"):
        await compare(templates={"sigmoid": ["no place"]})


async def test_the_softmax_moves_with_the_set_of_labels_and_the_sigmoid_does_not():
    comparison = await compare(["red", "red green", "blue"], distractor="red red blue")
    assert [change.change for change in comparison.label_set] == ["without"] * 3 + ["with"]
    assert comparison.label_set[-1].label == "red red blue"
    for change in comparison.label_set:
        sigmoid, softmax = change.moves
        assert sigmoid.before == sigmoid.after
        assert softmax.label != change.label
    without_best = comparison.label_set[0].moves[1]
    assert (comparison.label_set[0].label, without_best.label) == ("red", "red green")
    assert without_best.after > without_best.before + 0.1
    assert [each.label for each in comparison.columns[0].labels] == ["red", "red green", "blue"]


async def test_a_distractor_that_was_asked_for_anyway_is_none():
    comparison = await compare(["red", "blue"], distractor="blue ")
    assert {change.change for change in comparison.label_set} == {"without"}


async def test_downloads_hold_all_numbers():
    comparison = await compare(["red", "a|b *c*"], broken=["clip"])
    rows = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert [row["label"] for row in rows] == ["red", "a|b *c*"]
    assert float(rows[0]["sigmoid"]) == pytest.approx(comparison.columns[0].labels[0].sigmoid, rel=1e-5)
    facts = json.loads(comparison_json(comparison))
    assert facts["columns"][0]["labels"][1]["label"] == "a|b *c*"
    page = comparison_markdown(comparison)
    assert r"| a\|b \*c\* | #2:" in page
    assert "clip on its best engine: clip is not installed." in page
    assert "(none of these)" in page


async def test_long_labels_are_reported():
    (column,) = (await compare(["red", "x " * 20], one=fake_spec("one"))).columns
    assert column.truncated == (("x " * 20).strip(),)


async def test_labels_that_a_model_cannot_read_are_reported():
    (column,) = (await compare(["red", "red ?"], one=fake_spec("one"))).columns
    assert column.unread == ("red ?",)


@pytest.mark.parametrize("busy", [("clip",), ("sig", "clip")])
async def test_a_column_is_shown_without_its_templates_when_there_is_no_room_for_them(monkeypatch, busy):
    async def spread(scores):
        if scores.spec.name in busy:
            raise OverloadedError("The queue is full.")
        return await spread_templates(scores)

    monkeypatch.setattr(one_image, "spread_templates", spread)
    comparison = await compare()
    assert [column.model for column in comparison.columns] == ["sig", "clip"]
    assert comparison.failed == ()
    assert {each.model for each in comparison.template_spreads} == {"sig", "clip"} - set(busy)
    assert [(each.model, each.error) for each in comparison.template_failures] == [
        (model, "The queue is full.") for model in busy
    ]
    markup = render_sensitivities(comparison)
    assert "at most" not in markup
    for model in ("sig", "clip"):
        sentence = f"The templates could not be compared for {model} on fake: The queue is full."
        assert (sentence in markup) == (model in busy)
    assert ("Sensitivity to the prompt template" in markup) == (len(busy) == 1)


async def test_templates_are_compared_for_few_labels_only():
    many = [f"label {number}" for number in range(MAX_SPREAD_LABELS + 1)]
    comparison = await compare(many)
    assert comparison.template_spreads == comparison.template_failures == ()
    assert f"compared for at most {MAX_SPREAD_LABELS} labels" in render_sensitivities(comparison)
