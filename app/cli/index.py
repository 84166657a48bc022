"""Build and search an index of images: python -m app.cli.index add|search|stats."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.services import build_pool
from app.settings import Settings, setting_problems
from engines.checkpoints.registry import default_models
from engines.errors import EngineError, InferenceError
from engines.factory import ENGINES
from engines.models import bundled_models
from engines.pool import EnginePool, PooledEngine
from use_cases.images import read_image
from use_cases.retrieval.archives import ZipArchive
from use_cases.retrieval.filters import ImageFilter
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.ingest import add_images
from use_cases.retrieval.progress import IngestProgress
from use_cases.retrieval.records import as_json
from use_cases.retrieval.search import ImageQuery, SearchAnswer, search_images
from use_cases.retrieval.sources import FileList, Folder, ImageFiles, is_image_name
from use_cases.zero_shot import min_image_side

_LOOK_S = 0.5  # between two lines of progress
_SHOWN_FAILURES = 20


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.index",
        description="Add images to an index, and search it by text or by image.",
        epilog="Exit code 2: something cannot be used; one sentence on stderr says what.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="add images, or bring an index up to date; makes it if need be")
    _add_common(add, embeds=True)
    add.add_argument("source", nargs="+", help="a folder, a zip archive, or image files")
    add.add_argument(
        "--remove-missing", action="store_true", help="remove images that the folder or archive has no more"
    )
    search = commands.add_parser("search", help="find images")
    _add_common(search, embeds=True)
    search.add_argument("text", nargs="?", default="", help="what the images should show")
    search.add_argument("--image", help="an image file that they should be like")
    search.add_argument("--like", default="", help="the id of an image in the index that they should be like")
    search.add_argument("--not", dest="negative", default="", help="what they should not show")
    search.add_argument("--top-k", type=int, default=10, help="(default: %(default)s)")
    search.add_argument(
        "--min-score", type=float, help="a probability for a sigmoid model's text, or a cosine"
    )
    search.add_argument("--below", default="", help="only images whose ids begin so, such as holiday/2024/")
    search.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    stats = commands.add_parser("stats", help="say what an index holds")
    _add_common(stats, embeds=False)
    return parser


def _add_common(parser: argparse.ArgumentParser, *, embeds: bool) -> None:
    parser.add_argument("index", help="the index: a folder, or an address such as s3://bucket/path")
    parser.add_argument(
        "--model",
        help=f"{', '.join(bundled_models())}, a checkpoint folder, a hub id or open_clip's name/pretrained"
        " (default: the best SigLIP on this machine)",
    )
    if embeds:
        parser.add_argument("--engine", help=f"one of {', '.join(ENGINES)} (default: the model's best)")


async def add(args: argparse.Namespace) -> IngestProgress:
    """Add what the arguments name, with a line of progress on stderr.

    Raises:
        EngineError: when something cannot be used.
    """
    files = _files(args.source)
    index = ImageIndex(args.index, create=True)
    progress = IngestProgress()

    async def work(pooled: PooledEngine) -> IngestProgress:
        watching = asyncio.get_running_loop().create_task(_watch(progress))
        try:
            return await add_images(files, index, [pooled], progress, remove_missing=args.remove_missing)
        finally:
            watching.cancel()

    return await _with_engine(args, work, parallel=True)


async def search(args: argparse.Namespace) -> SearchAnswer:
    """Answer the query in the arguments.

    Raises:
        EngineError: when something cannot be used.
    """
    index = ImageIndex(args.index)

    async def work(pooled: PooledEngine) -> SearchAnswer:
        spec = pooled.engine.spec
        image = None
        if args.image:
            image = await read_image(args.image, min_image_side([spec]), pooled.engine.worker.cache)
        query = ImageQuery(
            text=args.text,
            negative=args.negative,
            image=image,
            like=args.like,
            top_k=args.top_k,
            min_score=args.min_score,
            where=ImageFilter(id_prefix=args.below),
        )
        return await search_images(pooled, index.table(spec), query)

    return await _with_engine(args, work, parallel=False)


async def stats(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the index holds: images by model.

    Raises:
        EngineError: when it cannot be read.
    """
    index = ImageIndex(args.index)
    pool = build_pool(Settings())
    try:
        models = [args.model] if args.model else index.models
        counts = {model: len(index.table(await pool.spec(model))) for model in models}
    finally:
        await pool.close()
    return {"index": args.index, "images": counts}


async def _with_engine(
    args: argparse.Namespace,
    work: Callable[[PooledEngine], Coroutine[Any, Any, Any]],
    *,
    parallel: bool,
) -> Any:
    pool: EnginePool = build_pool(Settings().model_copy(update={"parallel": parallel}))
    try:
        return await work(await pool.get(args.model or default_models()[0], args.engine))
    finally:
        await pool.close()


def _files(sources: Sequence[str]) -> ImageFiles:
    first = Path(sources[0])
    if len(sources) == 1 and first.suffix.lower() == ".zip":
        return ZipArchive(first)
    if len(sources) == 1 and not is_image_name(first.name):
        return Folder(first)
    return FileList([(Path(source).name, Path(source)) for source in sources])


async def _watch(progress: IngestProgress) -> None:
    while True:
        await asyncio.sleep(_LOOK_S)
        remaining_s = progress.remaining_s
        left = "" if remaining_s is None else f", {remaining_s:.0f} s left"
        of = "" if progress.total is None else f" of {progress.total:,}"
        print(
            f"\r{progress.done:,}{of} images, {progress.images_per_s:.1f}/s{left}   ", end="", file=sys.stderr
        )


def to_report(progress: IngestProgress) -> str:
    """Return what happened, for people."""
    lines = [
        f"{progress.added:,} added, {progress.replaced:,} replaced, {progress.unchanged:,} unchanged,"
        f" {progress.removed:,} removed, {progress.num_failed:,} unusable; {progress.elapsed_s:.1f} s,"
        f" {progress.images_per_s:.1f} images/s"
    ]
    lines += [f"  {failed.id}: {failed.reason}" for failed in progress.failed[:_SHOWN_FAILURES]]
    if progress.num_failed > _SHOWN_FAILURES:
        lines.append(f"  and {progress.num_failed - _SHOWN_FAILURES:,} more")
    return "\n".join(lines)


def to_table(answer: SearchAnswer) -> str:
    """Return the hits, for people."""
    lines = [f"{answer.model} on {answer.engine}, {answer.searched:,} of {answer.total:,} images searched"]
    if not answer.hits:
        return "\n".join([*lines, answer.explanation])
    lines.append(f"  {'':>4}  {answer.score_kind:>11}  {'cosine':>7}  image")
    for hit in answer.hits:
        caption = f"  ({hit.image.caption})" if hit.image.caption else ""
        score = f"{hit.score:.1%}" if answer.score_kind == "probability" else f"{hit.score:.4f}"
        lines.append(f"  {hit.rank:>4}  {score:>11}  {hit.cosine:7.4f}  {hit.image.id}{caption}")
    return "\n".join(lines)


def to_json(answer: SearchAnswer) -> str:
    """Return the hits as one line of JSON."""
    hits = [
        {"rank": hit.rank, "score": hit.score, "cosine": hit.cosine, **as_json(hit.image)}
        for hit in answer.hits
    ]
    facts = ("model", "engine", "score_kind", "searched", "total", "explanation", "truncated", "timings_ms")
    return json.dumps({**{name: getattr(answer, name) for name in facts}, "hits": hits})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = build_parser().parse_args(argv)
    try:
        if args.command == "add":
            print("\n" + to_report(asyncio.run(add(args))))
        elif args.command == "search":
            answer = asyncio.run(search(args))
            print(to_json(answer) if args.json else to_table(answer))
        else:
            print(json.dumps(asyncio.run(stats(args))))
    except ValidationError as error:
        print(setting_problems(error), file=sys.stderr)
        return 2
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, InferenceError) else 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
