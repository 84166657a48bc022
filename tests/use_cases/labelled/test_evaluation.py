"""Engines are compared on the same images; records hold enough to compute their intervals again."""

import json
from dataclasses import replace

import numpy as np
import pytest

from engines.models import bundled_models
from engines.pool import PooledEngine
from tests.fakes import FIGURES, FakeEngine, fake_batched
from tests.use_cases.labelled.colours import colour_spec, hashed_colours, write_colours
from use_cases.labelled import calibration_metrics, metrics
from use_cases.labelled.accuracy import measure_accuracy
from use_cases.labelled.calibration import SIGMOID_PAIRS, SOFTMAX_TOP1, measure_calibration
from use_cases.labelled.chunk_store import ChunkStore
from use_cases.labelled.comparison import compare_embedded
from use_cases.labelled.embedding import ENSEMBLE, WAYS, embed_labelled
from use_cases.labelled.files import open_labelled
from use_cases.labelled.hashing import hash_set
from use_cases.labelled.items import (
    MAX_VALUES,
    pack_judged,
    pack_predictions,
    unpack_judged,
    unpack_predictions,
)
from use_cases.labelled.provenance import read_provenance
from use_cases.labelled.rows import (
    accuracy_intervals,
    accuracy_rows,
    accuracy_settings,
    calibration_rows,
    calibration_settings,
)
from use_cases.labelled.tables import accuracy_facts, accuracy_tables, calibration_facts, calibration_tables
from use_cases.resampling import estimates
from use_cases.zero_shot import classify_image

pytestmark = pytest.mark.anyio


class Confused(FakeEngine):
    """Takes green for blue."""

    def embed_tokens(self, tokens):
        return super().embed_tokens(tokens)[:, [0, 2, 1]]


async def compared_by(hashed, cache_dir, *engines):
    embedded = []
    for number, engine in enumerate(engines):
        async with fake_batched(engine) as batched:
            store = ChunkStore(cache_dir, hashed.sha256, str(number))
            pooled = PooledEngine(batched, 0.0, FIGURES)
            embedded.append((engine.spec.name, await embed_labelled(pooled, hashed, store)))
    return compare_embedded(hashed, embedded)


@pytest.fixture
async def compared(tmp_path):
    softmax = colour_spec("lit-mini", "softmax")
    engines = FakeEngine(colour_spec()), Confused(softmax), FakeEngine(softmax)
    return await compared_by(hashed_colours(tmp_path / "data", each=6), tmp_path / "cache", *engines)


async def test_the_first_engine_is_compared_with_each_other_one(compared):
    accuracy = measure_accuracy(compared)
    assert accuracy.metrics == ("top1", "mean_per_class_recall")
    assert [model.estimates[ENSEMBLE]["top1"].value for model in accuracy.models] == [
        1,
        pytest.approx(1 / 3),
        1,
    ]
    confused, same = accuracy.differences
    assert (confused.first.title, confused.other.title) == ("siglit-mini on fake", "lit-mini on fake")
    assert confused.estimates[ENSEMBLE]["top1"].value == pytest.approx(2 / 3)
    assert not confused.estimates[ENSEMBLE]["top1"].holds_zero
    assert same.estimates[ENSEMBLE]["top1"].holds_zero
    assert accuracy.chance == {"top1": pytest.approx(1 / 3)}


async def test_scores_are_those_that_classify_gives(tmp_path):
    hashed = hashed_colours(tmp_path / "data", each=1)
    engine = FakeEngine(colour_spec())
    compared = await compared_by(hashed, tmp_path / "cache", engine)
    cosines = compared.cosines[0][ENSEMBLE]
    async with fake_batched(engine) as batched:
        for row, image in enumerate(hashed.dataset.images):
            (answer,) = await classify_image([PooledEngine(batched)], image.source, hashed.dataset.labels)
            found = {score.label: score.cosine for score in answer.scores}
            expected = [found[label] for label in hashed.dataset.labels]
            np.testing.assert_allclose(cosines[row], expected, rtol=1e-6)


async def test_an_image_that_one_engine_cannot_read_is_left_out_for_all(tmp_path):
    folder = write_colours(tmp_path / "data")
    (folder / "red" / "broken.png").write_bytes(b"no image")
    (folder / "stray.png").write_bytes(b"no label")
    (folder / "violet").mkdir()
    (folder / "violet" / "broken.png").write_bytes(b"no image either")
    hashed = hash_set(open_labelled(str(folder)))
    compared = await compared_by(hashed, tmp_path / "cache", FakeEngine(colour_spec()))
    assert len(compared.truth) == len(compared.facts.digests) == len(compared.cosines[0][ENSEMBLE]) == 6
    assert sorted(compared.facts.left_out) == ["red/broken.png", "stray.png", "violet/broken.png"]
    assert compared.facts.notes[-1] == "1 label without an image, competing all the same: violet."
    assert measure_accuracy(compared).models[0].estimates[ENSEMBLE]["top1"].value == 1


async def test_a_sigmoid_model_is_judged_by_pairs_and_by_what_softmax_would_give(compared):
    calibration = measure_calibration(compared)
    sigmoid, softmax, _ = calibration.models
    assert list(sigmoid.views) == [SIGMOID_PAIRS, SOFTMAX_TOP1]
    assert list(softmax.views) == [SOFTMAX_TOP1]
    assert set(sigmoid.none_of_these) == {"none_when_gone", "none_when_there"}
    assert softmax.none_of_these == {}
    assert sigmoid.none_of_these["none_when_there"].value == 0
    assert softmax.views[SOFTMAX_TOP1].estimates["ece"].value > 0.5
    assert calibration.num_single == 18


async def test_records_hold_what_intervals_are_computed_from(compared):
    accuracy = measure_accuracy(compared)
    rows = json.loads(json.dumps(accuracy_rows(accuracy)))
    assert [row["measurement"] for row in rows] == ["zero-shot"] * 3 + ["difference"] * 2
    for way in WAYS:
        judged = unpack_judged(rows[1]["items"][way])
        again = estimates(metrics.measure(judged), metrics.resample(judged), mirrored=metrics.MIRRORED)
        assert again == accuracy.models[1].estimates[way]
    calibration = measure_calibration(compared)
    rows = json.loads(json.dumps(calibration_rows(calibration)))
    assert [row["measurement"] for row in rows[:4]] == [
        SIGMOID_PAIRS, SOFTMAX_TOP1, "none_of_these", SOFTMAX_TOP1,
    ]  # fmt: skip
    again = calibration_metrics.measure(unpack_predictions(rows[0]["items"]))
    for name, estimate in calibration.models[0].views[SIGMOID_PAIRS].estimates.items():
        assert again[name].value == pytest.approx(estimate.value, rel=1e-5, abs=1e-7)
        assert again[name].high == pytest.approx(estimate.high, rel=1e-5, abs=1e-7)


async def test_only_a_metric_with_basic_intervals_is_said_to_have_them(compared):
    accuracy = measure_accuracy(compared)
    assert "basic" not in accuracy_intervals(accuracy)
    several = replace(accuracy, metrics=("top1", "mean_average_precision"))
    assert accuracy_intervals(several).endswith(
        "basic bootstrap intervals of mAP, which small datasets give too high"
    )


def test_items_of_several_labels_give_the_same_intervals_again():
    rng = np.random.default_rng(0)
    truth = rng.random((40, 9)) < 0.3
    truth[:, 0] |= ~truth.any(axis=1)
    judged = metrics.judge(np.round(rng.normal(size=truth.shape), 1).astype(np.float32), truth)
    again = unpack_judged(pack_judged(judged))
    assert metrics.measure(again) == metrics.measure(judged)
    np.testing.assert_array_equal(metrics.resample(again), metrics.resample(judged))
    np.testing.assert_array_equal(again.top, judged.top)


def test_items_of_large_datasets_leave_out_what_would_not_compress():
    truth = np.zeros((MAX_VALUES // 10, 11), bool)
    truth[:, :2] = truth[0] = True
    judged = metrics.judge(np.random.default_rng(0).normal(size=truth.shape).astype(np.float32), truth)
    assert "mean_average_precision" in judged.metrics
    assert unpack_judged(pack_judged(judged)).metrics == ("top1", "top5")
    logits = np.zeros((MAX_VALUES // 10, 2), np.float32)
    assert pack_predictions(calibration_metrics.top1_predictions(logits, truth[:, :2])) == ""


def test_predictions_without_one_right_answer_survive_packing():
    predictions = calibration_metrics.top1_predictions(np.eye(3, dtype=np.float32), np.ones((3, 3), bool))
    assert unpack_predictions(pack_predictions(predictions)).metrics == ("ece", "ece_equal_mass", "brier")


async def test_pages_show_what_was_measured(compared):
    accuracy = measure_accuracy(compared)
    rows = accuracy_rows(accuracy)
    page = accuracy_tables([row for row in rows if row["model"] == "siglit-mini"])
    assert "| `fake` | the label alone | 100.0 [100.0, 100.0] | 100.0 [100.0, 100.0] |" in page
    assert (
        "| `fake` minus lit-mini on `fake` | prompt templates | 0.0 [0.0, 0.0], no significant difference"
        in page
    )
    facts = accuracy_facts({"settings": accuracy_settings(accuracy)})
    assert facts.startswith("data: 18 images, 3 labels; SHA-256 ")
    assert "By chance: top-1 % 33.3." in facts
    assert "In brackets: 95% percentile bootstrap, 1000 resamples of the images. Ties" in facts
    calibration = measure_calibration(compared)
    page = calibration_tables([row for row in calibration_rows(calibration) if row["model"] == "siglit-mini"])
    assert "| `fake` | sigmoid of each image and label |" in page
    assert "Reliability on `fake`: softmax, the best label." in page
    facts = calibration_facts({"settings": calibration_settings(calibration)})
    assert "15 of equal width" in facts
    assert "basic bootstrap intervals of ECE, which small datasets give too high; Wilson" in facts


async def test_an_engine_of_built_files_is_told_by_them(tmp_path):
    built = tmp_path / "siglit-mini-graphs-abc"
    built.mkdir()
    (built / "checksums.json").write_text("{}")
    engine = FakeEngine(bundled_models()["siglit-mini"])
    async with fake_batched(engine) as batched:
        plain = read_provenance(batched)
        engine.folder = built
        found = read_provenance(batched)
    assert plain.artifact is plain.artifact_sha256 is None
    assert found.artifact == "graphs-abc"
    assert len(found.artifact_sha256) == len(found.model_sha256) == 64
    assert (found.engine_identity, found.model_revision) == ("fake", None)


async def test_a_model_of_the_hub_is_told_by_its_commit(tmp_path):
    folder = tmp_path / "snapshots" / ("0123456789" * 4)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    spec = colour_spec("google/siglip", folder=folder, family="siglip")
    async with fake_batched(FakeEngine(spec)) as batched:
        first = read_provenance(batched)
        (folder / "model.safetensors").write_bytes(b"Weights")
        second = read_provenance(batched)
    assert first.model_revision == "0123456789" * 4
    assert first.model_sha256 != second.model_sha256
