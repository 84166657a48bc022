"""Build and search an index of images: python -m app.cli.index build|add|search|stats|verify|export."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from functools import partial

from app.cli import index_commands
from app.cli.errors import INTERRUPTED, run_command
from app.cli.index_report import answer_table, ingest_report, verify_report
from app.gallery_answers import answer_json
from engines.factory import ENGINES
from engines.models import bundled_models
from use_cases.texts import check_utf8


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.index",
        description="Build an index of images, and search it by text or by image.",
        epilog="Exit code 2: something cannot be used; one sentence on stderr says what.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    build = commands.add_parser("build", help="make an index of folders, zip archives and files")
    _add_index(build, embeds=True)
    build.add_argument("--rebuild", action="store_true", help="throw away what the models' index holds first")
    add = commands.add_parser("add", help="add images, or bring an index up to date with its folders")
    _add_index(add, embeds=True)
    add.add_argument(
        "--remove-missing",
        action="store_true",
        help="remove images that the folders or archives have no more",
    )
    for command in (build, add):
        command.add_argument("source", nargs="+", help="folders, zip archives, image files")

    search = commands.add_parser(
        "search", help="find images, or with --captions the captions that fit an image"
    )
    _add_index(search, embeds=True)
    search.add_argument("text", nargs="?", default="", help="what the images should show")
    search.add_argument("--image", help="an image file that they should be like")
    search.add_argument("--like", default="", help="the id of an image in the index that they should be like")
    search.add_argument("--not", dest="negative", default="", help="what they should not show")
    search.add_argument("--top-k", type=int, default=10, help="(default: %(default)s)")
    search.add_argument(
        "--min-score",
        type=float,
        help="for a sigmoid model and a text alone a probability, else the cosine of the whole query",
    )
    search.add_argument("--below", default="", help="only images whose ids begin so, such as holiday/2024/")
    search.add_argument("--caption-contains", default="", help="only images whose caption has this in it")
    search.add_argument(
        "--hide-duplicates", action="store_true", help="of nearly the same pictures, show the best"
    )
    search.add_argument(
        "--captions", action="store_true", help="find the captions of the index that fit --image best"
    )
    search.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")

    stats = commands.add_parser("stats", help="say what an index holds, as one line of JSON")
    verify = commands.add_parser(
        "verify", help="read all of an index and say what is wrong; exit code 1 then"
    )
    export = commands.add_parser("export", help="write one model's images to a file")
    for command in (stats, verify, export):
        _add_index(command, embeds=False)
    export.add_argument("file", help=".parquet, with the embeddings; .jsonl or .csv, without")
    return parser


def _add_index(parser: argparse.ArgumentParser, *, embeds: bool) -> None:
    parser.add_argument("index", help="the index: a folder, or an address such as s3://bucket/path")
    parser.add_argument(
        "--model",
        default="",
        help=f"comma-separated: {', '.join(bundled_models())}, a checkpoint folder, a hub id or open_clip's"
        " name/pretrained (default: what the index has; for a new one the best SigLIP and CLIP here)",
    )
    if embeds:
        parser.add_argument("--engine", help=f"one of {', '.join(ENGINES)} (default: each model's best)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    logging.getLogger("engines").setLevel(logging.INFO)  # that a model is downloaded or built takes minutes
    return run_command(partial(_run, _parse(argv)))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    # Before Python 3.13 argparse takes a text that may be missing for missing if an option comes before it.
    if args.command == "search" and not args.text and len(rest) == 1 and not rest[0].startswith("-"):
        args.text = rest.pop()
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def _run(args: argparse.Namespace) -> int:
    if args.command in ("build", "add"):
        return _add(args)
    if args.command == "search":
        for kind, text in _texts(args):
            check_utf8(kind, text)
        answer = asyncio.run(index_commands.search(args))
        print(json.dumps(answer_json(answer)) if args.json else answer_table(answer))
    elif args.command == "stats":
        print(json.dumps(index_commands.stats(args)))
    elif args.command == "verify":
        found = index_commands.verify(args)
        print(verify_report(found))
        return int(any(each.problems for each in found.values()))
    else:
        print(f"{index_commands.export(args):,} images written to {args.file}")
    return 0


def _add(args: argparse.Namespace) -> int:
    try:
        added = asyncio.run(index_commands.add(args))
    except KeyboardInterrupt:
        print("\nstopped; 'add' goes on where this was", file=sys.stderr)
        return INTERRUPTED
    print(ingest_report(added))
    return 0


def _texts(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Return what a search looks for and filters by, each after what it is called."""
    return [
        ("text", args.text),
        ("text of --not", args.negative),
        ("id of --like", args.like),
        ("text of --below", args.below),
        ("text of --caption-contains", args.caption_contains),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
