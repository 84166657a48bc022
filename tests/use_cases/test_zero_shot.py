"""Zero-shot scoring: labels, templates, sigmoid against softmax, timings."""

import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.tracing import Trace, tracing
from engines.worker.batched_engine import BatchedEngine
from tests.fakes import FakeEngine, FakePool, fake_batched, fake_spec
from use_cases.timings import STAGES
from use_cases.zero_shot import (
    MAX_TEMPLATES,
    check_labels,
    check_templates,
    classify,
    classify_image,
    fill_template,
    label_embeddings,
    parse_labels,
    scores_from_logits,
)

SIGMOID, SOFTMAX = fake_spec(), fake_spec("softmax", "softmax")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a cat, a dog", ["a cat", "a dog"]),
        ("a cat\na dog, asleep\n", ["a cat", "a dog, asleep"]),
        ("a cat,\na dog,", ["a cat", "a dog"]),
        ('"a cat, asleep", a dog, "6"" of wire"', ["a cat, asleep", "a dog", '6" of wire']),
        ('"a cat, a dog', ['"a cat', " a dog"]),
        ('a 5" pipe, "so" called', ['a 5" pipe', ' "so" called']),
        ("a cat", ["a cat"]),
        ("  \n", []),
    ],
)
def test_labels_come_one_a_line_or_comma_separated(text, labels):
    assert parse_labels(text) == labels


def test_labels_are_stripped_and_unique_in_their_order():
    assert check_labels([" b ", "a", "", "b"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([], "no labels"),
        ([" ", ""], "no labels"),
        ([str(i) for i in range(1001)], "1,001 labels; at most 1,000"),
        (["x" * 1001], "1,001 characters"),
        (["a cat", "x" * 500 + "\udcff"], r"^The label is not valid UTF-8 at 'x{20}\\udcff'"),
    ],
)
def test_unusable_labels_are_refused(labels, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        check_labels(labels)


def test_templates_are_stripped_and_unique():
    assert check_templates([" a {label} ", "", "a {label}"]) == ["a {label}"]


@pytest.mark.parametrize(
    ("templates", "sentence"),
    [
        (["a photo"], r"must contain \{label\} once"),
        (["{label} {label}"], r"must contain \{label\} once"),
        (["x" * 600 + "{label}"], "607 characters; at most 500"),
        (["a {label}\ud800"], "The prompt template is not valid UTF-8"),
        ([f"{i} {{label}}" for i in range(MAX_TEMPLATES + 1)], "21 prompt templates; at most 20"),
    ],
)
def test_unusable_templates_are_refused(templates, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        check_templates(templates)


@pytest.mark.parametrize(
    ("template", "label", "prompt"),
    [
        ("a photo of a {label}", "cat", "a photo of a cat"),
        ("a photo of a {label}", "a cat", "a photo of a cat"),
        ("A {label}.", "an apple", "an apple."),
        ("a photo of {label}", "the moon", "a photo of the moon"),
        ("a photo of a {label}", "a{label}", "a photo of a a{label}"),
    ],
)
def test_a_label_s_own_article_replaces_the_template_s(template, label, prompt):
    assert fill_template(template, label) == prompt


def test_sigmoid_scores_stand_alone_and_softmax_scores_add_up():
    logits = np.array([[0.0, np.log(3), -1000.0]], np.float32)
    np.testing.assert_allclose(scores_from_logits(logits, SIGMOID), [[0.5, 0.75, 0.0]], atol=1e-6)
    np.testing.assert_allclose(scores_from_logits(logits, SOFTMAX), [[0.25, 0.75, 0.0]], atol=1e-6)


def test_template_embeddings_of_a_label_are_averaged_and_normalised():
    prompts = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    np.testing.assert_allclose(label_embeddings(prompts, 2), [[0.5**0.5, 0.5**0.5], [0, 1]], rtol=1e-6)


@pytest.mark.anyio
async def test_scores_are_ranked_and_none_of_these_is_low_for_a_clear_image(red_png):
    async with fake_batched(FakeEngine(SIGMOID)) as engine:
        (result,) = await classify_image([PooledEngine(engine)], red_png, ["blue", "red"])
    assert [score.label for score in result.scores] == ["red", "blue"]
    best = result.scores[0]
    assert best.cosine == pytest.approx(1, abs=1e-6)
    assert best.logit == pytest.approx(10, abs=1e-4)  # 20 * 1 - 10
    assert best.score == pytest.approx(1 / (1 + np.exp(-10)), abs=1e-6)
    assert result.none_of_these == pytest.approx(1 - best.score)
    assert not result.cold
    assert set(result.timings_ms) == set(STAGES) - {"load", "search"}


@pytest.mark.anyio
async def test_none_of_these_is_high_when_nothing_fits_and_absent_for_softmax(red_png):
    pool = FakePool(a=SIGMOID, b=SOFTMAX)
    results = await classify_image([await pool.get("a"), await pool.get("b")], red_png, ["blue", "green"])
    assert results[0].none_of_these > 0.99
    assert results[1].none_of_these is None
    assert sum(score.score for score in results[1].scores) == pytest.approx(1)
    assert all(result.cold and result.timings_ms["load"] == 5.0 for result in results)
    await pool.close()


@pytest.mark.anyio
async def test_shared_time_is_divided_among_the_images(red_image):
    images = [SourceImage.of_image(red_image)] * 4
    async with fake_batched() as engine:
        results = await classify(PooledEngine(engine, 8.0), images, ["red"])
    assert [result.timings_ms["load"] for result in results] == [2.0] * 4


@pytest.mark.anyio
async def test_templates_are_used_and_truncated_labels_are_named(red_image):
    images = [SourceImage.of_image(red_image)]
    async with fake_batched() as engine:
        (result,) = await classify(
            PooledEngine(engine), images, ["red", "red " * 9], ["{label}", "so {label}"]
        )
        assert result.truncated == (("red " * 9).strip(),)
        assert not result.labels_cached
        (again,) = await classify(PooledEngine(engine), images, ["red"], ["so {label}"])
        assert again.labels_cached


@pytest.mark.anyio
async def test_a_list_of_labels_asked_again_comes_from_the_cache_as_a_whole(red_image, monkeypatch):
    images, labels, templates = [SourceImage.of_image(red_image)], ["red", "blue"], ["{label}", "so {label}"]
    async with fake_batched() as engine:
        cache = engine.worker.cache
        (first,) = await classify(PooledEngine(engine), images, labels, templates)
        (other,) = await classify(PooledEngine(engine), images, labels[::-1], templates)
        monkeypatch.setattr(BatchedEngine, "embed_texts", None)  # a call would fail
        hits = cache.hits
        trace = Trace("test", "zero_shot")
        with tracing(trace):
            (again,) = await classify(PooledEngine(engine), images, labels, templates)
        (other_again,) = await classify(PooledEngine(engine), images, labels[::-1], templates)
        with pytest.raises(TypeError):
            await classify(PooledEngine(engine), images, labels, templates[:1])
    assert (first.labels_cached, again.labels_cached) == (False, True)
    assert first.scores == again.scores == other.scores == other_again.scores
    assert set(again.timings_ms) == set(first.timings_ms)
    assert cache.hits == hits + 11  # four texts and the image, twice; and the image alone
    (texts,) = [each for each in trace.spans if each.stage == "embed" and each.tower == "text"]
    assert (texts.items, texts.cached) == (4, 4)


@pytest.mark.anyio
async def test_a_list_with_a_truncated_label_names_it_every_time(red_image):
    images = [SourceImage.of_image(red_image)]
    async with fake_batched() as engine:
        for _ in range(2):
            (result,) = await classify(PooledEngine(engine), images, ["red", "red " * 9], ["{label}"])
            assert result.truncated == (("red " * 9).strip(),)
