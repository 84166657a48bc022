"""Correlations agree with SciPy's, calibration with scikit-learn's; where nothing can be said, nothing is."""

import numpy as np
import pytest

from use_cases.comparison.agreement import agreement, kendall_tau, spearman_correlation
from use_cases.comparison.calibration import calibrate
from use_cases.labelled.calibration_metrics import NUM_BINS


def rows(seed, *shape, ties=False):
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return np.round(values, 1) if ties else values


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_scipys(ties):
    stats = pytest.importorskip("scipy.stats")
    first, second = rows(0, 80, ties=ties), rows(1, 80, ties=ties)
    assert spearman_correlation(first, second) == pytest.approx(stats.spearmanr(first, second)[0])
    assert kendall_tau(first, second) == pytest.approx(stats.kendalltau(first, second)[0])


def test_a_model_agrees_with_itself_whatever_its_scale():
    cosines = rows(0, 6, 9)
    same = agreement(cosines, 0.1 * cosines + 0.3)
    assert same.spearman == pytest.approx(1)
    assert same.kendall == pytest.approx(1)
    assert (same.same_best_text, same.same_best_image) == (1, 1)
    opposite = agreement(cosines, -cosines)
    assert opposite.spearman == pytest.approx(-1)
    assert opposite.same_best_text == 0


def test_a_constant_column_or_a_single_text_has_no_order():
    assert agreement(np.ones((3, 4), np.float32), rows(0, 3, 4)).spearman is None
    assert agreement(rows(0, 5, 1), rows(1, 5, 1)).kendall is None


def test_a_best_of_one_is_no_agreement():
    one_text = agreement(rows(0, 5, 1), rows(1, 5, 1))
    assert one_text.same_best_text is None
    assert one_text.same_best_image == 0
    one_image = agreement(rows(0, 1, 5), rows(1, 1, 5))
    assert one_image.same_best_image is None
    assert one_image.same_best_text == 0


def logits_of(probabilities):
    return np.log(probabilities / (1 - probabilities)).astype(np.float32)


def test_a_sigmoid_model_is_judged_on_every_pair():
    scores = np.array([[0.95, 0.05], [0.15, 0.85]])
    result = calibrate(logits_of(scores), np.eye(2, dtype=bool), "sigmoid")
    assert (result.num_predictions, result.predicts) == (4, "pairs")
    assert result.expected_error.value == pytest.approx((0.05 + 0.05 + 0.15 + 0.15) / 4, abs=1e-6)


def test_a_softmax_model_is_judged_on_its_best_texts():
    logits = np.log(np.array([[0.9, 0.1], [0.7, 0.3]])).astype(np.float32)
    result = calibrate(logits, np.eye(2, dtype=bool), "softmax")
    assert (result.num_predictions, result.predicts) == (2, "best texts")
    assert [(each.right.value, each.number) for each in result.bins] == [(0, 1), (1, 1)]  # by confidence
    assert result.expected_error.value == pytest.approx((0.7 + 0.1) / 2, abs=1e-6)


def test_images_without_a_text_of_their_own_are_left_out():
    logits, truth = rows(0, 3, 2), np.zeros((3, 2), bool)
    assert calibrate(logits, truth, "sigmoid") is None
    truth[1, 0] = True
    assert calibrate(logits, truth, "sigmoid").num_predictions == 2


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_one_image_has_no_interval(kind):
    logits, truth = rows(0, 3, 2), np.zeros((3, 2), bool)
    truth[1, 0] = True
    alone = calibrate(logits, truth, kind).expected_error
    assert alone.value > 0
    assert (alone.low, alone.high) == (None, None)
    truth[2, 0] = True
    two = calibrate(logits, truth, kind).expected_error
    assert two.low < two.value < two.high


def test_bins_are_scikit_learns():
    sklearn = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(3)
    scores = rng.uniform(0.01, 0.99, size=(40, 25))
    truth = rng.uniform(size=scores.shape) < scores
    bins = calibrate(logits_of(scores), truth, "sigmoid").bins
    accuracies, confidences = sklearn.calibration_curve(truth.ravel(), scores.ravel(), n_bins=NUM_BINS)
    assert [each.right.value for each in bins] == pytest.approx(accuracies)
    assert [each.probability for each in bins] == pytest.approx(confidences, abs=1e-6)
    assert sum(each.number for each in bins) == 1000
