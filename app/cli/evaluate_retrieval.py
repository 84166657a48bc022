"""The evaluate command's task retrieval: find each text's image, and one of each image's texts."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

from app.cli.evaluate_subjects import add_subject_options, command_line, count, running_engines
from app.cli.evaluate_table import retrieval_table
from app.cli.records import show_record
from app.settings import Settings
from engines.machine.cpu import read_cpu
from engines.worker.shared import available_cores
from use_cases.resampling import INTERVALS, SEED
from use_cases.results import build_record
from use_cases.retrieval.caption_files import GALLERY, UNSEEN, open_captions
from use_cases.retrieval.caption_tables import DEFAULT_SPLIT
from use_cases.retrieval.captioned import CaptionSet
from use_cases.retrieval.evaluation import EmbeddedSet, Evaluation, embed_set, evaluate
from use_cases.retrieval.tables import result_rows

TASK = "retrieval"
HELP = "find each text's image among all images, and one of each image's texts among all"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the task's arguments."""
    parser.add_argument(
        "--dataset",
        default=GALLERY,
        help="COCO's or Karpathy's JSON, a CSV or TSV table, a webdataset tar archive, a folder of images"
        f" with text files beside them, {GALLERY!r}, or {UNSEEN!r}: what the bundled pair was not trained on"
        " (default: %(default)s)",
    )
    add_subject_options(parser)
    parser.add_argument("--images", type=Path, help="folder of a table's images (default: look near it)")
    parser.add_argument("--split", help=f"of a Karpathy file (default: {DEFAULT_SPLIT})")
    parser.add_argument("--limit", type=count, help="only the first so many images")


def run(args: argparse.Namespace) -> int:
    """Measure; return the command's exit code.

    Raises:
        EngineError: when a name cannot be used, no image can be read, or an engine fails.
    """
    dataset = open_captions(args.dataset, images=args.images, split=args.split, limit=args.limit)
    evaluation = evaluate(dataset, asyncio.run(_embed_all(dataset, args)))
    options = [f"--images {args.images.name}"] if args.images else []
    options += [f"--split {args.split}"] if args.split else []
    options += [f"--limit {args.limit}"] if args.limit else []
    record = build_record(
        TASK,
        command=command_line(args, Path(args.dataset).name, *options),
        cpu=read_cpu(),
        threads=Settings().num_threads or available_cores(),
        seed=SEED,
        rounds=1,
        clean_rounds=0,  # nobody watches what else the machine does
        settings=_settings(args, evaluation),
        results=result_rows(evaluation),
    )
    return show_record(record, retrieval_table(evaluation), write=args.write)


async def _embed_all(dataset: CaptionSet, args: argparse.Namespace) -> list[tuple[str, EmbeddedSet]]:
    # A text that comes from an earlier run's file would make the times too good.
    settings = Settings().model_copy(update={"text_cache": None})
    async with aclosing(running_engines(settings, args)) as running:
        return [(name, await embed_set(pooled, dataset)) async for name, pooled in running]


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
        "intervals": INTERVALS,
        "ties": "a wrong answer with the same score ranks first",
        "times": "by the clock, of one run",
    }
