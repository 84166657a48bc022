"""Calibration is that of scikit-learn, intervals a bootstrap's, and "none of these" is counted rightly."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from use_cases import resampling
from use_cases.labelled import calibration_metrics
from use_cases.labelled.calibration_metrics import (
    NUM_BINS,
    measure,
    none_of_these_rates,
    pair_predictions,
    reliability,
    top1_predictions,
)


def random_logits(num_images, num_labels, seed, several=False):
    rng = np.random.default_rng(seed)
    truth = np.eye(num_labels, dtype=bool)[rng.integers(num_labels, size=num_images)]
    if several:
        truth |= rng.random(truth.shape) < 0.1
    return (3 * rng.normal(size=truth.shape) - 2 + 4 * truth).astype(np.float32), truth


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def softmax(logits):
    weights = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("several", [False, True])
def test_pairs_are_scored_as_scikit_learn_scores_binary_predictions(seed, several, monkeypatch):
    monkeypatch.setattr(resampling, "BLOCK_VALUES", 600)  # several blocks
    logits, truth = random_logits(80, 12, seed, several)
    found = measure(pair_predictions(logits, truth))
    probabilities = sigmoid(logits).ravel()
    assert found["brier"].value == pytest.approx(brier_score_loss(truth.ravel(), probabilities))
    assert found["nll"].value == pytest.approx(log_loss(truth.ravel(), probabilities), rel=1e-6)


@pytest.mark.parametrize(("bins", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")])
def test_reliability_curves_are_those_of_scikit_learn(bins, strategy):
    logits, truth = random_logits(100, 9, 2, several=True)
    curve = reliability(getattr(pair_predictions(logits, truth), bins))
    right, mean = calibration_curve(
        truth.ravel(), sigmoid(logits).ravel(), n_bins=NUM_BINS, strategy=strategy
    )
    np.testing.assert_allclose([each.right.value for each in curve], right)
    np.testing.assert_allclose([each.probability for each in curve], mean)
    assert sum(each.number for each in curve) == truth.size
    assert all(each.right.low <= each.right.value <= each.right.high for each in curve)
    assert all(each.low <= each.probability <= each.high for each in curve)


def test_a_bin_whose_predictions_all_came_true_has_an_interval_of_its_images():
    logits = np.full((4, 2), 5, np.float32)
    (point,) = reliability(pair_predictions(logits, np.ones((4, 2), bool)).equal_width)
    assert (point.number, point.right.value, point.right.high) == (8, 1, 1)
    assert point.right.low == pytest.approx(binomtest(4, 4).proportion_ci(method="wilson").low)


def test_the_calibration_error_is_that_of_guo_et_al():
    logits, truth = random_logits(300, 7, 3)
    probabilities = softmax(logits)
    confidence, right = probabilities.max(axis=1), truth[np.arange(300), probabilities.argmax(axis=1)]
    expected = 0.0
    for low in np.arange(NUM_BINS) / NUM_BINS:
        inside = (confidence > low) & (confidence <= low + 1 / NUM_BINS)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert measure(top1_predictions(logits, truth))["ece"].value == pytest.approx(expected)


def test_the_softmax_is_scored_as_scikit_learn_scores_it():
    logits, truth = random_logits(120, 10, 4)
    found, probabilities = measure(top1_predictions(logits, truth)), softmax(logits)
    assert found["nll"].value == pytest.approx(
        log_loss(truth.argmax(axis=1), probabilities, labels=range(10))
    )
    right = truth[np.arange(120), probabilities.argmax(axis=1)]
    assert found["brier"].value == pytest.approx(brier_score_loss(right, probabilities.max(axis=1)))


def test_the_softmax_has_a_log_loss_of_images_with_one_label_alone():
    logits, truth = random_logits(60, 8, 5, several=True)
    single = truth.sum(axis=1) == 1
    found = measure(top1_predictions(logits, truth))["nll"].value
    expected = log_loss(truth[single].argmax(axis=1), softmax(logits[single]), labels=range(8))
    assert found == pytest.approx(expected)
    truth[single, :2] = True
    assert "nll" not in measure(top1_predictions(logits, truth))


def test_extreme_logits_lose_no_precision():
    logits = np.array([[200, -200], [-200, 200]], np.float32)
    wrong = measure(pair_predictions(logits, np.array([[False, True], [True, False]])))
    assert (wrong["nll"].value, wrong["brier"].value, wrong["ece"].value) == (200, 1, 1)
    right = measure(top1_predictions(logits, np.eye(2, dtype=bool)))
    assert (right["nll"].value, right["ece"].value) == (0, 0)


def test_a_model_that_is_right_as_often_as_it_says_is_calibrated():
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(4000, 5)).astype(np.float32) * 2
    truth = rng.random(logits.shape) < sigmoid(logits)
    found = measure(pair_predictions(logits, truth))
    assert found["ece"].value < 0.02
    assert measure(pair_predictions(logits + 2, truth))["ece"].value > 0.1


def test_intervals_are_those_of_resampled_images(monkeypatch):
    logits, truth = random_logits(40, 6, 7)
    predictions = pair_predictions(logits, truth)
    counts = np.concatenate(list(resampling.drawn_blocks(40, 0))).astype(int)
    resampled = calibration_metrics._measure_drawn(predictions, resampling.drawn_blocks(40, 0))
    for row in range(0, resampling.NUM_RESAMPLES, 101):
        drawn = np.repeat(np.arange(40), counts[row])
        expected = measure(pair_predictions(logits[drawn], truth[drawn]))
        names = list(predictions.metrics)
        for name in ("ece", "brier", "nll"):  # bins of equal mass keep the dataset's edges
            assert resampled[row, names.index(name)] == pytest.approx(expected[name].value)


def test_intervals_of_the_calibration_error_hold_the_truth_on_small_datasets(monkeypatch):
    monkeypatch.setattr(resampling, "NUM_RESAMPLES", 200)
    rng = np.random.default_rng(9)

    def overconfident(num_images):
        logits = rng.normal(size=(num_images, 10)) * 2
        truth = np.stack([rng.multinomial(1, row) for row in softmax(logits)]).astype(bool)
        return measure(top1_predictions((1.15 * logits).astype(np.float32), truth))["ece"]

    true = overconfident(20_000).value
    found = [overconfident(200) for _ in range(30)]
    assert np.mean([each.value for each in found]) > 1.5 * true  # on so few images it is too high
    assert sum(each.low <= true <= each.high for each in found) >= 24


def test_none_of_these_is_said_where_no_probability_reaches_a_half():
    num_labels = 10
    truth = np.eye(num_labels, dtype=bool)
    knows = np.where(truth, 5, -5).astype(np.float32)
    found = none_of_these_rates(knows, truth, seed=0)
    assert (found["none_when_gone"].value, found["none_when_there"].value) == (1, 0)
    unsure = none_of_these_rates(np.full_like(knows, -1), truth, seed=0)
    assert (unsure["none_when_gone"].value, unsure["none_when_there"].value) == (1, 1)


def test_none_of_these_counts_an_image_as_gone_only_without_all_its_labels():
    truth = np.ones((5, 6), bool)  # something is always left
    assert list(none_of_these_rates(np.zeros((5, 6), np.float32), truth, seed=0)) == ["none_when_there"]


def test_halves_are_the_same_for_the_same_seed():
    logits, truth = random_logits(50, 8, 8)
    assert none_of_these_rates(logits, truth, 1) == none_of_these_rates(logits, truth, 1)
    assert none_of_these_rates(logits, truth, 1) != none_of_these_rates(logits, truth, 2)


def test_draws_without_anything_to_measure_count_for_no_interval():
    logits, truth = random_logits(20, 8, 5)
    truth[1:, :2] = True  # of several labels the softmax has no log loss
    found = measure(top1_predictions(logits, truth))["nll"]
    # One image alone: a third of the draws have none.
    assert [found.low, found.high] == pytest.approx([found.value] * 2)
    says_none = np.full((3, 8), -5, np.float32)
    truth = np.ones((3, 8), bool)
    truth[0] = np.arange(8) == 0  # only this one can lose all its labels
    assert none_of_these_rates(says_none, truth, seed=0)["none_when_gone"].low == 1
