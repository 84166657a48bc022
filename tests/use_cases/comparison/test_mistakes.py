"""Preparation mistakes on real engines: the bundled models, and tiny checkpoints of the real classes."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from engines.errors import BackendUnavailableError, InferenceError, InvalidInputError
from engines.factory import EngineOptions
from engines.gallery import GALLERY_DIR
from engines.onnx.engine import GraphEngine
from engines.pool import EnginePool
from engines.preparation.images import colour_ramps, decode_image
from engines.preparation.preprocess import Preprocessor
from engines.preparation.source import SourceImage
from tests.checkpoints import (
    build_tiny_clip,
    build_tiny_naflex,
    build_tiny_siglip,
    build_tiny_siglip_with_gemma,
)
from tests.use_cases.comparison.questions import contestants, picture
from use_cases.comparison.mistakes import MAX_MISTAKE_LABELS, try_all, try_mistakes
from use_cases.comparison.one_image import Contestant
from use_cases.comparison.prepared import embed_prepared
from use_cases.comparison.wrong_images import normalise, wrong_images
from use_cases.comparison.wrong_texts import wrong_texts
from use_cases.zero_shot import classify

pytestmark = pytest.mark.anyio
LABELS = ["A cat!", "a dog", "a cup of coffee", "a very long label of a cat and a dog"]
SHORT, PLAIN = ["A Cat!", "a dog"], {"sigmoid": ["{label}"]}  # fit into half of a tiny context
COFFEE = GALLERY_DIR / "images" / "coffee.jpg"


@asynccontextmanager
async def running(model, engine="torch-fp32"):
    pool = EnginePool(options=EngineOptions(gated=False))
    try:
        yield await pool.get(str(model), engine)
    finally:
        await pool.close()


def photo():
    return SourceImage.of_image(decode_image(COFFEE, 520))


async def report_of(model, engine="torch-fp32", image=None, labels=LABELS, templates=None):
    async with running(model, engine) as pooled:
        return await try_mistakes(pooled, image or photo(), labels, templates or {})


def made(report):
    return {each.name: each for each in report.mistakes if not each.reason}


def reasons(report):
    return {each.name: each.reason for each in report.mistakes if each.reason}


@pytest.fixture(scope="module")
def tiny_siglip(tmp_path_factory):
    return build_tiny_siglip(tmp_path_factory.mktemp("siglip"))


@pytest.mark.model
@pytest.mark.parametrize("model", ["siglit-mini", "lit-mini"])
async def test_the_right_row_is_what_classify_returns(model):
    async with running(model, "onnx-fp32") as pooled:
        report = await try_mistakes(pooled, photo(), LABELS, {})
        (result,) = await classify(pooled, [photo()], LABELS)
    assert [(each.label, each.score) for each in report.right] == [
        (each.label, each.score) for each in result.scores
    ]
    assert [each.cosine for each in report.right] == [each.cosine for each in result.scores]
    assert [each.rank for each in report.right] == [1, 2, 3, 4]


async def test_what_is_prepared_rightly_gets_the_same_embedding_past_the_cache(tiny_siglip):
    async with running(tiny_siglip) as pooled:
        engine, image = pooled.engine, photo()
        pixels = engine.preprocessor.prepare_image(image.decode())
        tokens = [engine.preprocessor.prepare_text(label) for label in LABELS]
        images, texts = await embed_prepared(engine, [pixels], tokens)
        np.testing.assert_allclose(images, (await engine.embed_images([image])).embeddings, atol=1e-6)
        np.testing.assert_allclose(texts, (await engine.embed_texts(LABELS)).embeddings, atol=1e-6)


async def test_mistakes_leave_no_wrong_embedding_behind(tiny_siglip):
    async with running(tiny_siglip) as pooled:
        before = await classify(pooled, [photo()], LABELS)
        report = await try_mistakes(pooled, photo(), LABELS, {})
        after = await classify(pooled, [photo()], LABELS)
    assert [each.scores for each in before] == [each.scores for each in after]
    assert any(abs(each.largest_shift) > 0 for each in report.mistakes)


async def test_siglip_on_torch_makes_every_mistake_but_the_mask(tiny_siglip):
    async with running(tiny_siglip) as pooled:
        report = await try_mistakes(pooled, photo(), SHORT, PLAIN)
        (answer,) = await classify(pooled, [photo()], SHORT, PLAIN["sigmoid"])
    found = made(report)
    assert set(found) == {
        "padded_to_longest", "not_canonicalised", "centre_crop", "imagenet_mean_std", "bgr",
        "softmax_on_sigmoid",
    }  # fmt: skip
    why = reasons(report)
    assert "take no mask" in why["attention_mask"]
    assert "That is how" in why["squash"]
    right = {each.label: each for each in answer.scores}
    for mistake in found.values():
        for each in mistake.labels:
            assert each.score - each.shift == pytest.approx(right[each.label].score, abs=1e-6)
        assert mistake.top1 == next(each.label for each in mistake.labels if each.rank == 1)
        assert mistake.top1_changed == (mistake.top1 != report.right[0].label)
    by_cosine = {
        name: max(abs(a.cosine - b.cosine) for a, b in zip(each.labels, report.right, strict=True))
        for name, each in found.items()
    }
    assert by_cosine["softmax_on_sigmoid"] == 0
    assert min(value for name, value in by_cosine.items() if name != "softmax_on_sigmoid") > 1e-4
    exponents = {label: np.exp(each.logit) for label, each in right.items()}
    assert {each.label: each.score for each in found["softmax_on_sigmoid"].labels} == pytest.approx(
        {label: each / sum(exponents.values()) for label, each in exponents.items()}, abs=1e-6
    )


async def test_padding_to_the_longest_is_the_reference_models_result_for_shorter_input(tiny_siglip):
    import torch
    from transformers import SiglipModel

    async with running(tiny_siglip) as pooled:
        (wrong, *_) = wrong_texts(pooled.engine, ["a cat", "a dog"])
        lengths = {len(tokens.ids) for tokens in wrong.altered.tokens}
        _, rows = await embed_prepared(pooled.engine, tokens=wrong.altered.tokens)
    assert lengths == {8}
    ids = torch.tensor([tokens.ids for tokens in wrong.altered.tokens])
    with torch.inference_mode():
        expected = SiglipModel.from_pretrained(tiny_siglip).get_text_features(input_ids=ids).pooler_output
    np.testing.assert_allclose(rows, torch.nn.functional.normalize(expected, dim=-1), atol=1e-5)


async def test_what_others_get_wrong_at_the_same_time_changes_nothing(tiny_siglip):
    def padded(report):
        return next(each for each in report.mistakes if each.name == "padded_to_longest").labels

    longer = [*SHORT, "one two three four five six"]  # of more than half of the context
    async with running(tiny_siglip) as pooled:
        texts, engine = [wrong_texts(pooled.engine, labels)[0].altered for labels in (SHORT, longer)], pooled
        assert [{len(each.ids) for each in altered.tokens} if altered else None for altered in texts] == [
            {8},
            None,
        ]
        expected = await try_mistakes(engine, photo(), SHORT, PLAIN)
        alone = await try_mistakes(engine, photo(), longer, PLAIN)
        together = await asyncio.gather(
            *(try_mistakes(engine, photo(), labels, PLAIN) for labels in (SHORT, longer) * 4)
        )
    for report, other in zip(together[::2], together[1::2], strict=True):
        for labels, right in ((padded(report), padded(expected)), (padded(other), padded(alone))):
            assert [each.cosine for each in labels] == pytest.approx(
                [each.cosine for each in right], abs=1e-5
            )


async def test_a_graph_of_one_length_says_why_it_cannot_be_padded_wrongly(tiny_siglip):
    async with running(tiny_siglip) as pooled:
        engine = pooled.engine
        engine.engine = GraphEngine(engine.spec, name="onnx-fp32", folder=tiny_siglip, runtime=None)
        (wrong, *_) = wrong_texts(engine, LABELS)
    assert "onnx-fp32 takes texts of exactly 16 tokens" in wrong.reason


async def test_lower_case_texts_and_square_images_say_why_nothing_changes(tiny_siglip):
    square = SourceImage.of_image(colour_ramps(50))
    why = reasons(await report_of(tiny_siglip, image=square, labels=["a cat", "a dog"]))
    assert "square" in why["centre_crop"]
    # The model's own template brings a capital and a full stop, which count.
    assert "not_canonicalised" not in why
    report = await report_of(tiny_siglip, image=square, labels=["a cat"], templates=PLAIN)
    assert "try 'A Cat!'" in reasons(report)["not_canonicalised"]


async def test_siglip_2_pads_with_a_token_of_its_own_and_keeps_capitals_by_mistake(tmp_path):
    checkpoint = build_tiny_siglip_with_gemma(tmp_path)
    async with running(checkpoint) as pooled:
        padded, _, _, lowered = wrong_texts(pooled.engine, ["A cat", "a"])
    assert {len(tokens.ids) for tokens in padded.altered.tokens} == {8}
    assert lowered.altered is not None


async def test_clip_is_squashed_by_mistake_and_its_causal_tower_never_sees_padding(tmp_path):
    report = await report_of(build_tiny_clip(tmp_path))
    found = made(report)
    assert set(found) == {"padding_unmasked", "squash", "imagenet_mean_std", "bgr", "sigmoid_on_softmax"}
    for each, right in zip(found["padding_unmasked"].labels, report.right, strict=True):
        assert each.cosine == pytest.approx(right.cosine, abs=1e-5)
    why = reasons(report)
    assert "no mistake here" in why["centre_crop"]
    assert "giving one is right" in why["attention_mask"]


async def test_naflex_takes_a_square_by_mistake(tmp_path):
    report = await report_of(build_tiny_naflex(tmp_path), image=SourceImage.of_image(wide()))
    assert {"squash", "centre_crop"} <= set(made(report))


def wide():
    return colour_ramps(60).resize((90, 40))


@pytest.mark.model
async def test_padding_without_a_mask_costs_the_bundled_sigmoid_model_its_answer():
    report = await report_of("siglit-mini", "onnx-fp32")
    mistake = made(report)["padding_unmasked"]
    assert report.right[0].label == "a cup of coffee"
    assert report.right[0].score > 0.8
    assert mistake.largest_shift < -0.5


async def test_the_way_images_are_normalised_is_the_preprocessors(tiny_siglip):
    async with running(tiny_siglip) as pooled:
        engine = pooled.engine
        square = colour_ramps(engine.spec.image_size)
        right = engine.preprocessor.prepare_image(square)
        np.testing.assert_allclose(normalise(square, engine.spec), right, atol=1e-6)
        bgr = next(each for each in wrong_images(engine, square) if each.name == "bgr")
        np.testing.assert_allclose(bgr.altered.pixels, right[::-1], atol=1e-6)
        imagenet = next(each for each in wrong_images(engine, square) if each.name == "imagenet_mean_std")
        other = replace(engine.spec, image_mean=(0.485, 0.456, 0.406), image_std=(0.229, 0.224, 0.225))
        np.testing.assert_allclose(
            imagenet.altered.pixels, Preprocessor(other).prepare_image(square), atol=1e-5
        )


async def test_an_engine_that_refuses_wrong_input_is_a_reason_and_no_failure(tiny_siglip):
    async with running(tiny_siglip) as pooled:
        embed = pooled.engine.engine.embed_tokens

        def refuse(tokens):
            if len(tokens[0].ids) < pooled.engine.spec.context_length:
                raise InferenceError("The runtime takes no such length.")
            return embed(tokens)

        pooled.engine.texts._tower.run = refuse
        why = reasons(await try_mistakes(pooled, photo(), SHORT, PLAIN))
    assert why["padded_to_longest"] == "The runtime takes no such length."


async def test_wrong_labels_and_templates_refuse_the_whole_request():
    async with contestants() as chosen:
        with pytest.raises(InvalidInputError, match=f"at most {MAX_MISTAKE_LABELS}"):
            await try_all(chosen, picture(), [str(number) for number in range(51)], {})
        with pytest.raises(InvalidInputError, match="must contain"):
            await try_all(chosen, picture(), ["red"], {"softmax": ["no place"]})


@pytest.mark.model
async def test_one_model_fails_while_the_other_answers():
    async with running("siglit-mini", "onnx-fp32") as pooled:
        chosen = [
            Contestant("gone", "", BackendUnavailableError("It is gone.")),
            Contestant("siglit-mini", "", pooled),
        ]
        reports, failed = await try_all(chosen, photo(), LABELS, {})
        with pytest.raises(BackendUnavailableError, match="It is gone"):
            await try_all(chosen[:1], photo(), LABELS, {})
    assert [report.model for report in reports] == ["siglit-mini"]
    assert [(each.model, each.error) for each in failed] == [("gone", "It is gone.")]
