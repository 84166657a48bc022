"""The evaluate command's task retrieval: find each text's image, and one of each image's texts."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from app.cli.evaluate_record import evaluation_record
from app.cli.evaluate_subjects import Subjects, add_subject_options, embed_with_each
from app.cli.evaluate_table import retrieval_table
from app.cli.numbers import whole_number
from app.cli.records import show_record
from app.settings import Settings
from use_cases.retrieval.caption_embedding import EmbeddedSet, embed_set
from use_cases.retrieval.caption_files import GALLERY, UNSEEN, open_captions
from use_cases.retrieval.caption_hashing import hash_captions
from use_cases.retrieval.caption_tables import DEFAULT_SPLIT
from use_cases.retrieval.captioned import CaptionSet
from use_cases.retrieval.evaluation import evaluate
from use_cases.retrieval.tables import evaluation_settings, result_rows

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
    parser.add_argument("--limit", type=whole_number, help="only the first so many images")


def run(args: argparse.Namespace) -> int:
    """Measure; return the command's exit code.

    Raises:
        EngineError: when a name cannot be used, no image can be read, or an engine fails.
    """
    dataset = open_captions(args.dataset, images=args.images, split=args.split, limit=args.limit)
    subjects = asyncio.run(_embed_all(dataset, args))
    evaluation = evaluate(hash_captions(dataset), subjects.embedded)
    settings = evaluation_settings(evaluation) | {"split": args.split} | subjects.facts
    record = evaluation_record(args, dataset.name, settings, result_rows(evaluation))
    return show_record(record, retrieval_table(evaluation), write=args.write) or subjects.exit_code


async def _embed_all(dataset: CaptionSet, args: argparse.Namespace) -> Subjects[EmbeddedSet]:
    # A text that comes from an earlier run's file would make the times too good.
    settings = Settings().model_copy(update={"text_cache": None})
    return await embed_with_each(settings, args, lambda pooled: embed_set(pooled, dataset))
