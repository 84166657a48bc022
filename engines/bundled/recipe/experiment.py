"""Cross-validate both losses on held-out concepts and look at the photographs nobody trained on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engines.bundled.model import ImageHead, TextHead
from engines.bundled.recipe.dataset import PairData
from engines.bundled.recipe.evaluate import Split, embed_labels, measure, task_cosines
from engines.bundled.recipe.photos import NAMED_PHOTOS, NONE_OF_THESE, ORDINARY_LABELS, photo_features
from engines.bundled.recipe.towers_onnx import ImageFeaturizer, SentenceEmbedder
from engines.bundled.recipe.train import Heads, Loss, TrainingPlan, train_heads

STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % quantile, by number of seeds


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Metrics of each seed (mean over folds) and the held-out cosines that the calibration needs."""

    by_seed: list[dict[str, float]]
    cosines: list[tuple[Tensor, Tensor]]  # ([n_images, n_labels], target [n]); of the photo and drawing tasks


@dataclass(frozen=True, slots=True)
class Bench:
    """What every run shares: data, both splits and the start of the class table."""

    data: PairData
    concepts: Split
    pictures: Split
    table: Tensor
    embed: SentenceEmbedder


def cross_validate(
    bench: Bench, split: Split, loss: Loss, plan: TrainingPlan, seeds: Sequence[int]
) -> CrossValidation:
    """Train once per seed and fold without the fold's pictures, then measure on them."""
    by_seed, kept = [], []
    for seed in seeds:
        metrics = []
        for training, tasks in zip(split.training, split.tasks, strict=True):
            heads = train_heads(bench.data, training, bench.table, loss, replace(plan, seed=seed))
            cosines = [task_cosines(task, bench.data.views, heads, bench.embed) for task in tasks]
            metrics.append(measure(tasks, cosines))
            photos = [i for i, task in enumerate(tasks) if task.name in ("animals", "objects")]
            drawings = [i for i, task in enumerate(tasks) if task.name == "drawings"][: len(photos)]
            kept += [(cosines[i], tasks[i].target) for i in photos + drawings]
        by_seed.append({name: statistics.fmean(m[name] for m in metrics) for name in metrics[0]})
    return CrossValidation(by_seed, kept)


def summarize(by_seed: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean and half-width of the 95 % interval over the seeds, by metric."""
    summary = {}
    for name in by_seed[0]:
        values = [metrics[name] for metrics in by_seed]
        width = STUDENT_T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
        summary[name] = {"mean": round(statistics.fmean(values), 4), "half_width_95": round(width, 4)}
    return summary


@torch.no_grad()
def score_photos(
    heads: Heads, loss: Loss, featurizer: ImageFeaturizer, embed: SentenceEmbedder
) -> dict[str, object]:
    """Score the foreign photographs among ORDINARY_LABELS: best label and its score, by file."""
    labels = embed_labels(ORDINARY_LABELS, heads, embed)
    report: dict[str, object] = {}
    for group, photos in (("named", tuple(NAMED_PHOTOS)), ("none_of_these", NONE_OF_THESE)):
        logits = (
            heads.logit_scale * heads.image(*photo_features(photos, featurizer)) @ labels.T + heads.logit_bias
        )
        scores = logits.sigmoid() if loss == "sigmoid" else logits.softmax(-1)
        best = scores.max(dim=1)
        report[group] = {
            f"{package}/{file.rsplit('/', 1)[-1]}": {
                "best_label": ORDINARY_LABELS[int(index)],
                "score": round(float(score), 4),
                "second_score": round(float(row.topk(2).values[1]), 4),
                **({"right_label": NAMED_PHOTOS[package, file]} if group == "named" else {}),
            }
            for (package, file), score, index, row in zip(
                photos, best.values, best.indices, scores, strict=True
            )
        }
    return report


def untrained_heads(table: Tensor) -> Heads:
    """Make heads of the class table alone, before any training."""
    head = ImageHead(1).eval().requires_grad_(False)
    head.table.copy_(table)
    return Heads(head, TextHead(0), 1.0, 0.0)


def measure_untrained(bench: Bench) -> dict[str, float]:
    """Measure the class table alone on the tasks of both splits."""
    heads = untrained_heads(bench.table)
    means: dict[str, float] = {}
    for split in (bench.concepts, bench.pictures):
        found = [
            measure(tasks, [task_cosines(task, bench.data.views, heads, bench.embed) for task in tasks])
            for tasks in split.tasks
        ]
        means |= {name: statistics.fmean(m[name] for m in found) for name in found[0]}
    return means
