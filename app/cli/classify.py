"""Classify image files: python -m app.cli.classify IMAGE... --labels "a cat,a dog"."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from app.cli.errors import run_command
from app.services import build_pool
from app.settings import Settings
from engines.checkpoints.registry import default_models
from engines.factory import ENGINES
from engines.models import bundled_models
from use_cases.images import read_image
from use_cases.zero_shot import (
    Classification,
    check_labels,
    check_templates,
    classify,
    min_image_side,
    parse_labels,
)

_CHUNK = 32  # images that are decoded at a time, to bound memory


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.classify",
        description="Score how well each label fits each image, with one model.",
        epilog="Exit code 2: an image, label or name cannot be used; one sentence on stderr says why.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--labels", required=True, help="comma-separated, or one a line")
    parser.add_argument(
        "--template",
        action="append",
        default=[],
        help="prompt with {label} in it; may be given several times",
    )
    parser.add_argument(
        "--model",
        help=f"{', '.join(bundled_models())}, a checkpoint folder, a hub id or open_clip's name/pretrained"
        " (default: the best SigLIP on this machine)",
    )
    parser.add_argument("--engine", help=f"one of {', '.join(ENGINES)} (default: the model's best)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    return parser


async def classify_files(args: argparse.Namespace) -> list[Classification]:
    """Classify the files that the arguments name, in order.

    Raises:
        EngineError: when a name, label or file cannot be used, or the engine fails.
    """
    labels, templates = check_labels(parse_labels(args.labels)), check_templates(args.template)
    # One command is over before a second session for parallel calls would pay.
    pool = build_pool(Settings().model_copy(update={"parallel": False}))
    try:
        pooled = await pool.get(args.model or default_models()[0], args.engine)
        min_side = min_image_side([pooled.engine.spec])
        results: list[Classification] = []
        for start in range(0, len(args.images), _CHUNK):
            paths = args.images[start : start + _CHUNK]
            images = [await read_image(path, min_side, pool.worker.cache) for path in paths]
            results += await classify(pooled, images, labels, templates)
        return results
    finally:
        await pool.close()


def to_json(paths: Sequence[str], results: Sequence[Classification]) -> str:
    """Return one line of JSON; the timings are sums over the images."""
    stages = dict.fromkeys(stage for result in results for stage in result.timings_ms)
    timings_ms = {
        stage: round(sum(result.timings_ms.get(stage, 0.0) for result in results), 3) for stage in stages
    }
    rows = [
        {
            "image": path,
            "scores": [asdict(score) for score in result.scores],
            "none_of_these": result.none_of_these,
        }
        for path, result in zip(paths, results, strict=True)
    ]
    first = results[0]
    answer = {
        "model": first.model,
        "engine": first.engine,
        "quality": asdict(first.quality) if first.quality else None,
        "results": rows,
        "timings_ms": timings_ms,
    }
    return json.dumps(answer)


def to_table(paths: Sequence[str], results: Sequence[Classification]) -> str:
    """Return a table for people: one block an image, best label first."""
    first = results[0]
    lines = [f"{first.model} on {first.engine}, {first.score} scores"]
    if first.quality:
        lines.append(first.quality.summary)
    for path, result in zip(paths, results, strict=True):
        lines += ["", path, f"  {'score':>7}  {'cosine':>7}  {'logit':>7}  label"]
        lines += [
            f"  {row.score:7.1%}  {row.cosine:7.4f}  {row.logit:7.2f}  {row.label}" for row in result.scores
        ]
        if result.none_of_these is not None:
            lines.append(f"  {result.none_of_these:7.1%}  {'':7}  {'':7}  (none of these)")
        if result.truncated:
            lines.append(f"  too long, only the beginning was read: {'; '.join(result.truncated)}")
        if result.unread:
            lines.append(f"  characters that the model does not know: {'; '.join(result.unread)}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # to stderr: a first run exports the model
    return run_command(partial(_run, build_parser().parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    results = asyncio.run(classify_files(args))
    print(to_json(args.images, results) if args.json else to_table(args.images, results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
