"""What the subcommands of python -m app.cli.index do."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from app.cli.index_report import progress_line
from app.services import build_pool
from app.settings import Settings
from engines.checkpoints.registry import default_models
from engines.errors import InvalidInputError
from engines.home import expand_home
from engines.models import ModelSpec
from engines.pool import EnginePool
from engines.preparation.source import SourceImage
from use_cases.images import read_image
from use_cases.retrieval.archives import ZipArchive
from use_cases.retrieval.errors import IndexMismatchError, UnknownIndexError
from use_cases.retrieval.export import export_table
from use_cases.retrieval.filters import ImageFilter
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.ingest import add_images
from use_cases.retrieval.progress import IngestProgress
from use_cases.retrieval.query import ImageQuery
from use_cases.retrieval.search import SearchAnswer, search_images
from use_cases.retrieval.sources import FileList, Folder, ImageFiles, is_image_name
from use_cases.retrieval.text_search import TextAnswer, search_texts
from use_cases.retrieval.verify import Verification, verify_table
from use_cases.wording import counted
from use_cases.zero_shot import min_image_side

_LOOK_S = 0.5  # between two lines of progress


async def add(args: argparse.Namespace) -> list[tuple[str, IngestProgress]]:
    """Add what the arguments name, with a line of progress on stderr; return what became of each source.

    Raises:
        EngineError: when something cannot be used.
    """
    remove_missing = args.command == "add" and args.remove_missing
    sources = _sources(args.source)
    if remove_missing and not any(files.complete for _, files in sources):
        raise InvalidInputError(
            "--remove-missing needs a folder or an archive; files cannot tell what is gone."
        )
    for _, files in sources:
        await asyncio.to_thread(files.count)  # before a model is loaded, or a folder made, for nothing
    index = ImageIndex(args.index, create=True)
    models = _chosen(args) or index.models or list(default_models())
    async with _pool(parallel=True) as pool:
        engines = [await pool.get(model, args.engine) for model in models]
        if args.command == "build":
            _make_room(index, [pooled.engine.spec for pooled in engines], rebuild=args.rebuild)
        added = [(name, IngestProgress()) for name, _ in sources]
        for (_, files), (_, progress) in zip(sources, added, strict=True):
            watching = asyncio.get_running_loop().create_task(_watch(progress))
            try:
                await add_images(files, index, engines, progress, remove_missing=remove_missing)
            except IndexMismatchError as error:
                raise IndexMismatchError(f"{error} 'build' with --rebuild does both.") from None
            finally:
                watching.cancel()
        return added


async def search(args: argparse.Namespace) -> SearchAnswer | TextAnswer:
    """Answer the query in the arguments.

    Raises:
        EngineError: when something cannot be used.
    """
    index = ImageIndex(args.index)
    held = index.models
    models = _chosen(args) or [model for model in default_models() if model in held] or held
    if not models:
        raise UnknownIndexError("The index is empty; add images to it first.")
    async with _pool(parallel=False) as pool:
        spec = await pool.spec(models[0])
        table = index.table(spec)
        pooled = await pool.get(models[0], args.engine)
        image: SourceImage | None = None
        if args.image:
            image = await read_image(args.image, min_image_side([spec]), pool.worker.cache)
        if args.captions:
            if image is None:
                raise InvalidInputError("--captions needs --image: the image that the captions should fit.")
            return await search_texts(pooled, image, table, args.top_k)
        query = ImageQuery(
            text=args.text,
            negative=args.negative,
            image=image,
            like=args.like,
            top_k=args.top_k,
            min_score=args.min_score,
            where=ImageFilter(id_prefix=args.below, caption_contains=args.caption_contains),
            hide_duplicates=args.hide_duplicates,
        )
        return await search_images(pooled, table, query)


def stats(args: argparse.Namespace) -> dict[str, object]:
    """Return what the index holds, by model.

    Raises:
        EngineError: when it cannot be read.
    """
    facts = {name: table.stats() for name, table in _tables(args).items()}
    return {"index": args.index, "models": facts}


def verify(args: argparse.Namespace) -> dict[str, Verification]:
    """Return what is wrong with each model's table.

    Raises:
        EngineError: when it cannot be read.
    """
    return {name: verify_table(table) for name, table in _tables(args).items()}


def export(args: argparse.Namespace) -> int:
    """Write one model's table to a file; return the number of images.

    Raises:
        EngineError: when it cannot be read, or the file not written.
    """
    tables = _tables(args)
    if len(tables) > 1:
        raise InvalidInputError(
            f"The index has several models; choose one with --model: {', '.join(tables)}."
        )
    (table,) = tables.values()
    return export_table(table, expand_home(args.file))


def _sources(names: Sequence[str]) -> list[tuple[str, ImageFiles]]:
    """Return each folder and archive with its name, and all other files together.

    Raises:
        InvalidInputError: when there is nothing of a name, or no other file is called like an image.
    """
    sources: list[tuple[str, ImageFiles]] = []
    files: list[tuple[str, Path]] = []
    for name in dict.fromkeys(names):
        path = Path(os.path.expanduser(name))
        if os.path.isdir(path):
            sources.append((name, Folder(path)))
        elif not os.path.exists(path):  # unlike pathlib's, it raises nothing
            raise InvalidInputError(f"There is no file or folder {name!r}.")
        elif path.suffix.lower() == ".zip":
            sources.append((name, ZipArchive(path)))
        else:
            files.append((path.name, path))
    if files and not any(is_image_name(name) or not path.suffix for name, path in files):
        raise InvalidInputError(f"{files[0][0]!r} is neither an image nor a zip archive nor a folder.")
    return [*sources, *([(counted(len(files), "file"), FileList(files))] if files else [])]


def _chosen(args: argparse.Namespace) -> list[str]:
    return [model.strip() for model in args.model.split(",") if model.strip()]


def _make_room(index: ImageIndex, specs: Sequence[ModelSpec], *, rebuild: bool) -> None:
    """See to it that none of some models has images in an index."""
    for spec in specs:
        if not rebuild and index.has(spec):
            raise InvalidInputError(
                f"The index has images of {spec.name} already; choose 'add' to add to them, or --rebuild to"
                " throw them away first."
            )
    for spec in specs:
        index.drop(spec)


def _tables(args: argparse.Namespace) -> dict[str, ImageTable]:
    """Return the tables that a command is about, by model."""
    tables = ImageIndex(args.index).tables()
    if not tables:
        raise UnknownIndexError(f"There are no images in {args.index!r} yet; add some first.")
    chosen = _chosen(args) or list(tables)
    for model in chosen:
        if model not in tables:
            raise UnknownIndexError(f"The index has no embeddings of {model!r}, but of {', '.join(tables)}.")
    return {model: tables[model] for model in chosen}


@asynccontextmanager
async def _pool(*, parallel: bool) -> AsyncIterator[EnginePool]:
    pool = build_pool(Settings().model_copy(update={"parallel": parallel}))
    try:
        yield pool
    finally:
        await pool.close()


async def _watch(progress: IngestProgress) -> None:
    """Print the progress over and over; on a terminal on one line."""
    end = "\r" if sys.stderr.isatty() else "\n"
    while True:
        await asyncio.sleep(_LOOK_S if sys.stderr.isatty() else 10 * _LOOK_S)
        print(progress_line(progress), end=end, file=sys.stderr, flush=True)
