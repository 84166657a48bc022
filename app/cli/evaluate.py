"""Measure how well models retrieve: python -m app.cli.evaluate retrieval --dataset captions.json.

For each text its image is looked for among all images, and for each image one of its texts among all texts.
Several models, or engines, are measured one after the other on the same images, and the first two compared.

Prints a table for people; the last line of stdout is one compact JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.cli.evaluate_table import retrieval_table
from app.cli.records import show_record
from app.services import build_pool
from app.settings import Settings, setting_problems
from engines.checkpoints.registry import default_models
from engines.errors import EngineError, InferenceError, InvalidInputError
from engines.factory import ENGINES
from engines.loading import EngineKey
from engines.machine.cpu import read_cpu
from engines.models import bundled_models
from engines.worker.shared import available_cores
from use_cases.benchmark import public_name
from use_cases.results import build_record
from use_cases.retrieval.caption_files import GALLERY, UNSEEN, open_captions
from use_cases.retrieval.caption_tables import DEFAULT_SPLIT
from use_cases.retrieval.captioned import CaptionSet
from use_cases.retrieval.evaluation import EmbeddedSet, Evaluation, embed_set, evaluate
from use_cases.retrieval.metrics import LEVEL, NUM_RESAMPLES, SEED
from use_cases.retrieval.tables import result_rows


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.evaluate",
        description="Measure how well models do, on images with captions.",
        epilog="Exit code 2: something cannot be used; one sentence on stderr says what.",
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    retrieval = tasks.add_parser(
        "retrieval", help="find each text's image among all images, and one of each image's texts among all"
    )
    retrieval.add_argument(
        "--dataset",
        default=GALLERY,
        help="COCO's or Karpathy's JSON, a CSV or TSV table, a webdataset tar archive, a folder of images"
        f" with text files beside them, {GALLERY!r}, or {UNSEEN!r}: what the bundled pair was not trained on"
        " (default: %(default)s)",
    )
    retrieval.add_argument(
        "--model",
        action="append",
        default=[],
        help=f"comma-separated, or several times: {', '.join(bundled_models())}, checkpoint folders, hub ids,"
        " open_clip's name/pretrained (default: the best SigLIP and CLIP on this machine)",
    )
    retrieval.add_argument(
        "--engine",
        action="append",
        default=[],
        help=f"likewise, for every model: {', '.join(ENGINES)} (default: each model's best)",
    )
    retrieval.add_argument("--images", type=Path, help="folder of a table's images (default: look near it)")
    retrieval.add_argument("--split", help=f"of a Karpathy file (default: {DEFAULT_SPLIT})")
    retrieval.add_argument("--limit", type=_count, help="only the first so many images")
    retrieval.add_argument("--write", action="store_true", help="keep a record in comparison_results/")
    return parser


async def embed_all(
    dataset: CaptionSet, models: Sequence[str], engines: Sequence[str | None]
) -> list[tuple[str, EmbeddedSet]]:
    """Embed a dataset with every model on every engine, one after the other; return it by public name.

    Raises:
        EngineError: when a name cannot be used, no image can be read, or an engine fails.
    """
    # A text that comes from an earlier run's file would make the times too good.
    settings = Settings().model_copy(update={"text_cache": None})
    embedded: list[tuple[str, EmbeddedSet]] = []
    for key in await _keys(settings, models, engines):
        pool = build_pool(settings)  # one for each: two large models need not fit into memory together
        try:
            pooled = await pool.get(key.model, key.engine)
            embedded.append((public_name(key.model), await embed_set(pooled, dataset)))
        finally:
            await pool.close()
    return embedded


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # to stderr: a dataset takes minutes
    args = build_parser().parse_args(argv)
    try:
        dataset = open_captions(args.dataset, images=args.images, split=args.split, limit=args.limit)
        models = _names(args.model, "model") or list(default_models())
        engines: list[str | None] = [*_names(args.engine, "engine")] or [None]
        evaluation = evaluate(dataset, asyncio.run(embed_all(dataset, models, engines)))
        threads = Settings().num_threads or available_cores()
    except ValidationError as error:
        print(setting_problems(error), file=sys.stderr)
        return 2
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, InferenceError) else 2
    record = build_record(
        "retrieval",
        command=command_line(args),
        cpu=read_cpu(),
        threads=threads,
        seed=SEED,
        rounds=1,
        clean_rounds=0,  # nobody watches what else the machine does
        settings=_settings(args, evaluation),
        results=result_rows(evaluation),
    )
    return show_record(record, retrieval_table(evaluation), write=args.write)


def command_line(args: argparse.Namespace) -> str:
    """Return the command that measures the same, without paths of this machine."""
    words = [f"python -m app.cli.evaluate retrieval --dataset {Path(args.dataset).name}"]
    models, engines = _names(args.model, "model"), _names(args.engine, "engine")
    words += [f"--model {','.join(map(public_name, models))}"] if models else []
    words += [f"--engine {','.join(engines)}"] if engines else []
    words += [f"--images {args.images.name}"] if args.images else []
    words += [f"--split {args.split}"] if args.split else []
    words += [f"--limit {args.limit}"] if args.limit else []
    words += ["--write"] if args.write else []
    return " ".join(words)


async def _keys(settings: Settings, models: Sequence[str], engines: Sequence[str | None]) -> list[EngineKey]:
    """Return what is to be measured; a wrong name should not be found after an hour of the right ones."""
    pool = build_pool(settings)
    try:
        keys = [await pool.key(model, engine) for model in models for engine in engines]
    finally:
        await pool.close()
    return list(dict.fromkeys(keys))


def _settings(args: argparse.Namespace, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "dataset": evaluation.dataset,
        "split": args.split,
        "limit": args.limit,
        "num_images": evaluation.num_images,
        "num_texts": evaluation.num_texts,
        "notes": list(evaluation.notes),
        "unreadable": dict(evaluation.unreadable),
        "chance": {direction: dict(recalls) for direction, recalls in evaluation.chance.items()},
        "intervals": f"{LEVEL:.0%} percentile bootstrap, {NUM_RESAMPLES} resamples of the images",
        "ties": "a wrong answer with the same score ranks first",
        "times": "by the clock, of one run",
    }


def _names(options: Sequence[str], what: str) -> list[str]:
    names = [name.strip() for option in options for name in option.split(",") if name.strip()]
    if options and not names:
        raise InvalidInputError(f"Name at least one {what}.")
    return list(dict.fromkeys(names))


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
