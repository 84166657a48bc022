"""Metrics are those of clip_benchmark, ties count against the model, and intervals are a bootstrap's."""

import numpy as np
import pytest
import torch
from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

from engines.base import normalize
from use_cases import resampling
from use_cases.resampling import estimates
from use_cases.retrieval.metrics import (
    METRICS,
    RECALL_AT,
    chance_recalls,
    image_to_text_ranks,
    resample,
    summarize,
    text_to_image_ranks,
)


def random_set(num_images, most_captions, seed, dim=16, shuffled=False):
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(num_images), rng.integers(1, most_captions + 1, num_images))
    if shuffled:
        rng.shuffle(owners)
    images = normalize(rng.normal(size=(num_images, dim)).astype(np.float32))
    noise = rng.normal(size=(len(owners), dim)).astype(np.float32)
    return images, normalize(images[owners] + 1.5 * noise), owners


def theirs(images, texts, owners):
    scores = torch.from_numpy(texts) @ torch.from_numpy(images).t()
    positive = torch.zeros_like(scores, dtype=bool)
    positive[torch.arange(len(scores)), torch.from_numpy(owners)] = True
    found = {}
    for k in RECALL_AT:
        of_texts = batchify(recall_at_k, scores, positive, 7, "cpu", k=k)
        of_images = batchify(recall_at_k, scores.T, positive.T, 7, "cpu", k=k)
        found[f"recall_at_{k}"] = tuple(float((each > 0).float().mean()) for each in (of_texts, of_images))
    return found


@pytest.mark.parametrize(
    ("num_images", "most_captions", "shuffled"),
    [(12, 1, False), (40, 5, False), (64, 5, True), (200, 7, True)],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_recalls_are_those_of_clip_benchmark(num_images, most_captions, shuffled, seed, monkeypatch):
    monkeypatch.setattr(resampling, "BLOCK_VALUES", 1000)  # several blocks
    given = random_set(num_images, most_captions, seed, shuffled=shuffled)
    of_texts, of_images = summarize(text_to_image_ranks(*given)), summarize(image_to_text_ranks(*given))
    for name, (text_recall, image_recall) in theirs(*given).items():
        assert of_texts[name] == pytest.approx(text_recall, abs=1e-6)
        assert of_images[name] == pytest.approx(image_recall, abs=1e-6)


def test_with_ties_no_recall_is_above_clip_benchmark_s():
    images, texts, owners = random_set(60, 3, seed=2)
    given = np.sign(images), np.sign(texts), owners  # few different scores
    of_texts, of_images = summarize(text_to_image_ranks(*given)), summarize(image_to_text_ranks(*given))
    for name, (text_recall, image_recall) in theirs(*given).items():
        assert of_texts[name] <= text_recall + 1e-6
        assert of_images[name] <= image_recall + 1e-6


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_a_model_that_tells_nothing_apart_finds_nothing(value):
    images, texts = np.full((30, 4), value, np.float32), np.full((60, 4), value, np.float32)
    owners = np.repeat(np.arange(30), 2)
    assert set(text_to_image_ranks(images, texts, owners)) == {30}
    assert set(image_to_text_ranks(images, texts, owners)) == {59}


def test_own_captions_do_not_compete():
    images = np.eye(2, dtype=np.float32)
    texts = np.array([[1, 0], [1, 0], [0.5, 0], [0, 1]], np.float32)
    owners = np.array([0, 0, 0, 1])
    assert image_to_text_ranks(images, texts, owners).tolist() == [1, 1]
    assert text_to_image_ranks(images, texts, owners).tolist() == [1, 1, 1, 1]


def test_a_caption_that_two_images_share_ranks_behind_the_other_one():
    texts = np.array([[1, 0], [1, 0]], np.float32)
    assert image_to_text_ranks(np.eye(2, dtype=np.float32)[[0, 0]], texts, np.arange(2)).tolist() == [2, 2]


def test_ranks_become_recalls_median_and_mrr():
    assert summarize(np.array([1, 2, 6, 20])) == {
        "recall_at_1": 0.25, "recall_at_5": 0.5, "recall_at_10": 0.75, "median_rank": 4.0,
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 6 + 1 / 20) / 4),
    }  # fmt: skip


def test_resamples_draw_images_with_all_their_captions(monkeypatch):
    monkeypatch.setattr(resampling, "BLOCK_VALUES", 900)  # several blocks
    _, _, owners = random_set(30, 5, seed=3, shuffled=True)
    ranks = np.random.default_rng(4).integers(1, 40, len(owners))
    drawn = []
    draw = resampling.draw_counts

    def spy(*arguments):
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr(resampling, "draw_counts", spy)
    resampled = resample(ranks, owners, 30)
    assert resampled.shape == (resampling.NUM_RESAMPLES, len(METRICS))
    counts = np.concatenate(drawn).astype(int)
    assert set(counts.sum(axis=1)) == {30}
    for row in range(0, resampling.NUM_RESAMPLES, 53):
        repeated = np.repeat(ranks, counts[row][owners])
        assert dict(zip(METRICS, resampled[row], strict=True)) == pytest.approx(summarize(repeated))


def test_an_interval_has_the_width_that_theory_gives():
    ranks = np.repeat([1, 100], [400, 600])
    resampled = resample(ranks, np.arange(1000), 1000)
    found = estimates(summarize(ranks), resampled)["recall_at_1"]
    assert found.value == 0.4
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.4 * 0.6 / 1000), rel=0.1)
    # Five equal captions an image say no more than one; drawing texts would make the interval narrower.
    clustered = resample(np.repeat(ranks, 5), np.repeat(np.arange(1000), 5), 1000)
    np.testing.assert_allclose(clustered, resampled)


def test_two_models_are_resampled_alike():
    ranks = np.random.default_rng(5).integers(1, 40, 50)
    better = np.maximum(ranks - 1, 1)
    difference = resample(better, np.arange(50), 50) - resample(ranks, np.arange(50), 50)
    assert (difference[:, -1] > 0).all()
    np.testing.assert_array_equal(resample(ranks, np.arange(50), 50), resample(ranks, np.arange(50), 50))


def test_a_guess_finds_what_chance_gives():
    _, _, owners = random_set(20, 4, seed=6)
    rng = np.random.default_rng(7)
    found = {direction: dict.fromkeys(RECALL_AT, 0.0) for direction in ("text_to_image", "image_to_text")}
    for _ in range(400):
        images, texts = rng.normal(size=(20, 8)), rng.normal(size=(len(owners), 8))
        for k in RECALL_AT:
            found["text_to_image"][k] += np.mean(text_to_image_ranks(images, texts, owners) <= k) / 400
            found["image_to_text"][k] += np.mean(image_to_text_ranks(images, texts, owners) <= k) / 400
    chance = chance_recalls(owners, 20)
    for direction, recalls in found.items():
        for k, recall in recalls.items():
            assert recall == pytest.approx(chance[direction][f"recall_at_{k}"], abs=0.02)


def test_chance_is_certain_where_there_are_fewer_answers_than_places():
    assert chance_recalls(np.arange(3), 3)["image_to_text"] == {
        "recall_at_1": pytest.approx(1 / 3), "recall_at_5": 1, "recall_at_10": 1,
    }  # fmt: skip
