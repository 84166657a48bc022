"""Rebuild the bundled pair: fetch the pictures, train both heads, measure them, write what ships."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from engines.bundled.model import BUNDLED_DIR, load_heads
from engines.bundled.recipe.calibrate import fit_scale_and_bias
from engines.bundled.recipe.card import render_card
from engines.bundled.recipe.classes import imagenet_synsets, initial_table
from engines.bundled.recipe.cutouts import cut_out
from engines.bundled.recipe.dataset import build_pair_data, stack_views
from engines.bundled.recipe.evaluate import split_by_concept, split_by_picture
from engines.bundled.recipe.experiment import (
    STUDENT_T,
    Bench,
    cross_validate,
    measure_untrained,
    score_photos,
    summarize,
    untrained_heads,
)
from engines.bundled.recipe.features import view_features
from engines.bundled.recipe.foreign import ForeignPhotos, foreign_photos, measure_foreign
from engines.bundled.recipe.items import list_items
from engines.bundled.recipe.photos import without_lookalikes
from engines.bundled.recipe.ship import MODEL_NAMES, write_model
from engines.bundled.recipe.sources import fetch_sources
from engines.bundled.recipe.towers_onnx import ImageFeaturizer, SentenceEmbedder
from engines.bundled.recipe.train import Heads, Loss, TrainingPlan, train_heads
from engines.bundled.recipe.wordnet import WordNet

_STAMP_VIEWS = range(5)  # few and precious: most of them are photographs
_DRAWING_VIEWS = range(2)
_METRICS = BUNDLED_DIR / "metrics.json"
_LOSSES: tuple[Loss, ...] = ("sigmoid", "softmax")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the whole recipe; return 0."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    work_dir = args.work_dir.resolve()
    folders = fetch_sources(work_dir)
    wordnet = WordNet(folders["wordnet-base"] / "usr/share/wordnet")
    pictures = without_lookalikes(cut_out(list_items(folders, wordnet), work_dir))
    print(f"{len(pictures)} pictures", flush=True)
    embed, synsets = SentenceEmbedder(), imagenet_synsets(wordnet)
    table, featurizer = initial_table(synsets, embed), ImageFeaturizer(work_dir, 2)
    foreign = foreign_photos(folders["gcompris-qt-data"], pictures, featurizer)
    if args.only_foreign:
        _write_metrics(json.loads(_METRICS.read_text("utf-8")) | _measure_shipped(foreign, table, embed))
        return 0
    views = stack_views(
        [
            (rows, view_features([pictures[row] for row in rows], view, work_dir))
            for stamps, numbers in ((True, _STAMP_VIEWS), (False, _DRAWING_VIEWS))
            for view in numbers
            if (rows := [row for row, p in enumerate(pictures) if (p.item.source == "stamps") == stamps])
        ]
    )
    data = build_pair_data(pictures, views, synsets, wordnet, embed)
    concepts, held_out = split_by_concept(pictures, wordnet), split_by_picture(pictures, wordnet)
    bench = Bench(data, concepts, held_out, table, embed)
    print("features and texts are ready", flush=True)
    metrics = _train_and_measure(bench, TrainingPlan(), args.num_seeds, featurizer)
    metrics["pictures"] = dict(Counter(p.item.source for p in pictures))
    _write_metrics(metrics | _measure_shipped(foreign, table, embed))
    return 0


def _write_metrics(metrics: dict[str, Any]) -> None:
    _METRICS.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    (BUNDLED_DIR / "MODEL_CARD.md").write_text(render_card(metrics), "utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engines.bundled.recipe",
        description="Fetch the pictures (0.5 GB), compute features, cross-validate and train both models, "
        "and write heads, metrics and model card into engines/bundled/.",
    )
    parser.add_argument(
        "--work-dir", type=Path, default=Path(".cache/recipe"), help="downloads and cached features"
    )
    parser.add_argument(
        "--num-seeds",
        type=int,
        default=3,
        choices=STUDENT_T,
        help="repetitions of the cross-validation, of which an interval can be told (default: %(default)s)",
    )
    parser.add_argument(
        "--only-foreign",
        action="store_true",
        help="train nothing: measure the shipped heads on the photographs that training never saw",
    )
    return parser


def _train_and_measure(
    bench: Bench, plan: TrainingPlan, num_seeds: int, featurizer: ImageFeaturizer
) -> dict[str, Any]:
    everything = torch.ones(len(bench.data.photo), dtype=torch.bool)
    held_out, by_seed, known, photos = {}, {}, {}, {}
    for loss in _LOSSES:
        name = MODEL_NAMES[loss]
        validation = cross_validate(bench, bench.concepts, loss, plan, range(num_seeds))
        known[name] = cross_validate(bench, bench.pictures, loss, plan, range(1)).by_seed[0]
        scale, bias = fit_scale_and_bias(validation.cosines, loss)
        trained = train_heads(bench.data, everything, bench.table, loss, plan)
        heads = Heads(trained.image, trained.text, scale, bias)
        write_model(loss, heads)
        by_seed[name], held_out[name] = validation.by_seed, summarize(validation.by_seed)
        photos[name] = score_photos(heads, loss, featurizer, bench.embed)
        print(name, json.dumps(held_out[name]), flush=True)
    return {
        "plan": asdict(plan),
        "num_seeds": num_seeds,
        "labels_per_fold": _label_counts(bench),
        "untrained": measure_untrained(bench),
        "held_out": held_out,
        "held_out_by_seed": by_seed,
        "known_concepts": known,
        "photos": photos,
    }


def _measure_shipped(
    foreign: dict[str, ForeignPhotos], table: torch.Tensor, embed: SentenceEmbedder
) -> dict[str, Any]:
    """Measure what lies in engines/bundled/, in the half precision in which it ships."""
    found = {"untrained": measure_foreign(foreign, untrained_heads(table), embed)}
    for name in MODEL_NAMES.values():
        image, text = load_heads(BUNDLED_DIR / name / "heads.safetensors")
        found[name] = measure_foreign(foreign, Heads(image.eval(), text.eval(), 1.0, 0.0), embed)
    counts = {
        group: {"photos": len(photos.target), "names": len(photos.names)} for group, photos in foreign.items()
    }
    return {"foreign": found, "foreign_counts": counts}


def _label_counts(bench: Bench) -> dict[str, str]:
    counts: dict[str, list[int]] = {}
    for tasks in bench.concepts.tasks + bench.pictures.tasks:
        for task in tasks:
            counts.setdefault(task.name, []).append(len(task.labels))
    return {name: f"{min(numbers)} to {max(numbers)}" for name, numbers in counts.items()}


if __name__ == "__main__":
    raise SystemExit(main())
