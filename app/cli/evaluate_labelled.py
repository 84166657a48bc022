"""What the tasks zero-shot and calibration share: a labelled dataset, embedded by every engine."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.cli.errors import INTERRUPTED
from app.cli.evaluate_record import evaluation_record
from app.cli.evaluate_subjects import Subjects, add_subject_options, embed_with_each
from app.cli.numbers import whole_number
from app.cli.records import show_record
from app.settings import Settings
from engines.pool import PooledEngine
from use_cases.labelled.chunk_store import ChunkStore
from use_cases.labelled.comparison import Compared, compare_embedded
from use_cases.labelled.embedding import EmbeddedLabels, embed_labelled
from use_cases.labelled.files import CLASS_NAMES, open_labelled
from use_cases.labelled.hashing import HashedSet, hash_set
from use_cases.retrieval.caption_files import GALLERY, UNSEEN
from use_cases.zero_shot import check_templates


def add_labelled_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a task on labelled images."""
    parser.add_argument(
        "--dataset",
        default=GALLERY,
        help="a folder with a folder for each label, a CSV or TSV table with a column for the image and one"
        " for its labels ('cat|sofa'), a webdataset tar archive or a folder of them, hf:NAME[:SPLIT],"
        f" {GALLERY!r}, or {UNSEEN!r}: what the bundled pair was not trained on (default: %(default)s)",
    )
    add_subject_options(parser)
    parser.add_argument("--images", type=Path, help="folder of a table's images (default: look near it)")
    parser.add_argument(
        "--classnames",
        type=Path,
        help="file with a label a line: what the numbers of an archive's .cls files stand for, or the labels"
        f" of a folder's classes in the order of their names (default: {CLASS_NAMES} beside them)",
    )
    parser.add_argument(
        "--template",
        action="append",
        default=[],
        help="a prompt with {label} in it, several times for an ensemble (default: each model's own)",
    )
    parser.add_argument("--limit", type=whole_number, help="so many of the images, drawn with a fixed seed")
    parser.add_argument("--fresh", action="store_true", help="embed anew what an earlier run embedded")


def run_labelled(
    args: argparse.Namespace, measure: Callable[[Compared], tuple[dict[str, Any], list[dict[str, Any]], str]]
) -> int:
    """Embed a dataset with every engine, measure, and show the record; return the command's exit code.

    Args:
        args: as parsed.
        measure: returns the record's settings and rows, and the table for people.

    Raises:
        EngineError: when a name cannot be used, no image can be read, or an engine fails.
    """
    templates = check_templates(args.template)
    dataset = open_labelled(args.dataset, images=args.images, class_names=args.classnames, limit=args.limit)
    try:
        hashed = hash_set(dataset)
        subjects = asyncio.run(_embed_all(hashed, templates, args))
        compared = compare_embedded(hashed, subjects.embedded)
        settings, rows, table = measure(compared)
    except KeyboardInterrupt:
        command = "the same command without --fresh" if args.fresh else "the same command"
        print(f"Interrupted; {command} goes on where this one was.", file=sys.stderr)
        return INTERRUPTED
    settings |= {"templates": templates} | subjects.facts
    record = evaluation_record(args, dataset.name, settings, rows)
    return show_record(record, table, write=args.write) or subjects.exit_code


async def _embed_all(
    hashed: HashedSet, templates: list[str], args: argparse.Namespace
) -> Subjects[EmbeddedLabels]:
    # A text that comes from the server's file would make the times too good.
    settings = Settings().model_copy(update={"text_cache": None})

    async def embed(pooled: PooledEngine) -> EmbeddedLabels:
        store = ChunkStore(settings.cache_dir, hashed.sha256, pooled.engine.identity, fresh=args.fresh)
        return await embed_labelled(pooled, hashed, store, templates)

    return await embed_with_each(settings, args, embed)
