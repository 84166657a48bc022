"""Accuracies are those of clip_benchmark and scikit-learn; intervals are a bootstrap's."""

import numpy as np
import pytest
import torch
from clip_benchmark.metrics import zeroshot_classification as theirs
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from use_cases import resampling
from use_cases.labelled import metrics
from use_cases.labelled.metrics import chance, judge, measure, resample


def random_single(num_images, num_labels, seed):
    rng = np.random.default_rng(seed)
    own = rng.integers(num_labels, size=num_images)
    truth = np.eye(num_labels, dtype=bool)[own]
    return (rng.normal(size=truth.shape) + 1.5 * truth).astype(np.float32), truth, own


def random_several(num_images, num_labels, seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((num_images, num_labels)) < 0.2
    truth[np.arange(num_images), rng.integers(num_labels, size=num_images)] = True
    return (rng.normal(size=truth.shape) + truth).astype(np.float32), truth


@pytest.mark.parametrize(("num_images", "num_labels"), [(30, 6), (400, 40), (500, 12)])
@pytest.mark.parametrize("seed", [0, 1])
def test_accuracies_of_single_labels_are_those_of_others(num_images, num_labels, seed, monkeypatch):
    monkeypatch.setattr(resampling, "BLOCK_VALUES", 700)  # several blocks
    scores, truth, own = random_single(num_images, num_labels, seed)
    found = measure(judge(scores, truth))
    # It makes a number of an array with one element, which NumPy no longer allows.
    monkeypatch.setattr(theirs, "float", lambda array: array.item(), raising=False)
    top1, top5 = theirs.accuracy(torch.from_numpy(scores), torch.from_numpy(own), topk=(1, 5))
    assert list(found) == ["top1", "top5", "mean_per_class_recall"]
    assert found["top1"] == pytest.approx(top1)
    assert found["top5"] == pytest.approx(top5)
    assert found["mean_per_class_recall"] == pytest.approx(
        balanced_accuracy_score(own, scores.argmax(axis=1))
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mean_average_precision_of_several_labels_is_that_of_others(seed):
    scores, truth = random_several(120, 15, seed)
    found = measure(judge(scores, truth))
    assert list(found) == ["top1", "top5", "mean_average_precision"]
    by_label = theirs.average_precision_per_class(torch.from_numpy(scores), torch.from_numpy(truth))
    assert found["mean_average_precision"] == pytest.approx(by_label.mean().item(), abs=1e-6)
    assert found["mean_average_precision"] == pytest.approx(
        average_precision_score(truth, scores, average="macro")
    )


def test_average_precision_takes_ties_together_as_scikit_learn_does():
    scores, truth = random_several(100, 10, seed=3)
    coarse = np.round(scores)
    expected = average_precision_score(truth, coarse, average="macro")
    assert measure(judge(coarse, truth))["mean_average_precision"] == pytest.approx(expected)


def test_an_image_is_right_when_any_of_its_labels_is_there():
    scores = np.array([[9, 8, 7, 6, 5, 4, 3], [9, 8, 7, 6, 5, 4, 3]], np.float32)
    truth = np.zeros((2, 7), bool)
    truth[0, [0, 6]] = truth[1, [5, 6]] = (
        True  # the second one's best right label has five wrong ones before it
    )
    found = measure(judge(scores, truth))
    assert (found["top1"], found["top5"]) == (0.5, 0.5)


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_a_model_that_tells_nothing_apart_finds_nothing(value):
    _, truth, _ = random_single(20, 8, seed=0)
    found = measure(judge(np.full((20, 8), value, np.float32), truth))
    assert (found["top1"], found["top5"]) == (0, 0)


def test_labels_without_images_compete_and_count_in_no_mean():
    scores, truth, own = random_single(50, 10, seed=4)
    scores[:, 3], own = 9, np.where(own == 3, 4, own)  # nobody has label 3, and it always wins
    truth = np.eye(10, dtype=bool)[own]
    assert measure(judge(scores, truth))["mean_per_class_recall"] == 0
    scores[:, 3] = -9
    expected = balanced_accuracy_score(own, scores.argmax(axis=1))
    assert measure(judge(scores, truth))["mean_per_class_recall"] == pytest.approx(expected)
    several, truth = random_several(50, 10, seed=4)
    truth[:, 3] = False
    truth[:, 4] |= ~truth.any(axis=1)
    used = np.arange(10) != 3
    expected = average_precision_score(truth[:, used], several[:, used], average="macro")
    assert measure(judge(several, truth))["mean_average_precision"] == pytest.approx(expected)


def test_top_5_of_five_labels_is_no_metric():
    scores, truth, _ = random_single(10, 5, seed=0)
    assert list(measure(judge(scores, truth))) == ["top1", "mean_per_class_recall"]
    assert list(chance(truth)) == ["top1"]


@pytest.mark.parametrize("make", [lambda: random_single(30, 8, 5)[:2], lambda: random_several(30, 8, 5)])
def test_resamples_are_the_metrics_of_the_images_that_were_drawn(make, monkeypatch):
    monkeypatch.setattr(resampling, "BLOCK_VALUES", 900)  # several blocks
    scores, truth = make()
    judged = judge(scores, truth)
    resampled = resample(judged)
    counts = np.concatenate(list(resampling.drawn_blocks(30, 0))).astype(int)
    assert resampled.shape == (resampling.NUM_RESAMPLES, len(judged.metrics))
    for row in range(0, resampling.NUM_RESAMPLES, 97):
        drawn = np.repeat(np.arange(30), counts[row])
        expected = measure(judge(scores[drawn], truth[drawn]))
        # A draw may be of images with one label alone, where the set's are of several.
        for name, value in zip(judged.metrics, resampled[row], strict=True):
            assert value == pytest.approx(expected[name])


def test_draws_do_not_depend_on_how_many_fit_into_memory(monkeypatch):
    whole = np.concatenate(list(resampling.drawn_blocks(17, 0)))
    monkeypatch.setattr(resampling, "BLOCK_VALUES", 500)
    np.testing.assert_array_equal(whole, np.concatenate(list(resampling.drawn_blocks(17, 100))))


def test_an_interval_has_the_width_that_theory_gives():
    rng = np.random.default_rng(0)
    truth = np.eye(6, dtype=bool)[rng.integers(6, size=1000)]
    scores = np.where(rng.random(1000)[:, None] < 0.7, truth, ~truth).astype(np.float32)
    judged = judge(scores, truth)
    found = resampling.estimates(measure(judged), resample(judged))["top1"]
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.7 * 0.3 / 1000), rel=0.1)


def test_a_guess_finds_what_chance_gives():
    _, truth = random_several(60, 12, seed=6)
    rng = np.random.default_rng(7)
    found = [measure(judge(rng.normal(size=truth.shape).astype(np.float32), truth)) for _ in range(300)]
    for name, expected in chance(truth).items():
        assert np.mean([each[name] for each in found]) == pytest.approx(expected, abs=0.01)


def test_what_is_kept_of_each_image_is_its_best_labels():
    scores, truth, _ = random_single(10, 8, seed=8)
    top = judge(scores, truth).top
    assert top.shape == (10, metrics.TOP)
    np.testing.assert_array_equal(top[:, 0], scores.argmax(axis=1))
