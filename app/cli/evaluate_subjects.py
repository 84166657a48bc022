"""What all tasks of the evaluate command share: which models on which engines, one after the other."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from app.services import build_pool
from app.settings import Settings
from engines.checkpoints.registry import default_models
from engines.errors import EngineError, InvalidInputError
from engines.factory import ENGINES
from engines.loading import EngineKey
from engines.models import bundled_models
from engines.pool import PooledEngine
from use_cases.benchmark import public_name
from use_cases.labelled.provenance import read_provenance
from use_cases.results import HASH_DIGITS

T = TypeVar("T")


def add_subject_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is measured, on how much, and whether a record is kept."""
    parser.add_argument(
        "--model",
        "--models",
        action="append",
        default=[],
        help=f"comma-separated, or several times: {', '.join(bundled_models())}, checkpoint folders, hub ids,"
        " open_clip's name/pretrained (default: the best SigLIP and CLIP on this machine)",
    )
    parser.add_argument(
        "--engine",
        "--engines",
        action="append",
        default=[],
        help=f"likewise, for every model: {', '.join(ENGINES)} (default: each model's best)",
    )
    parser.add_argument("--write", action="store_true", help="keep a record in comparison_results/")


class Subjects(NamedTuple, Generic[T]):
    """What the engines made of a dataset, and which of them failed."""

    embedded: list[tuple[str, T]]  # with the name that a record may show
    failed: list[dict[str, str]]  # model, engine and reason

    @property
    def facts(self) -> dict[str, list[dict[str, str]]]:
        """Return what a record says of those that failed, nothing where none did."""
        return {"failed": self.failed} if self.failed else {}

    @property
    def exit_code(self) -> int:
        """Return the command's, when all else goes well."""
        return 1 if self.failed else 0


async def embed_with_each(
    settings: Settings, args: argparse.Namespace, embed: Callable[[PooledEngine], Awaitable[T]]
) -> Subjects[T]:
    """Run every model on every engine, one after the other; return what each made of the dataset.

    Each comes with the name that a record may show: of models in folders of the same name, with the first
    digits of its files' hash. Items go into an engine one by one: some engines find one scale for a whole
    batch, and which items share a batch depends on timing, so no second run would repeat the first. An
    engine is gone when the next one is loaded, unless `embed` keeps it: two large models need not fit into
    memory together. One that cannot be loaded or fails is told on stderr and leaves the others alone.

    Raises:
        EngineError: when a name or the dataset cannot be used, or no engine is left.
    """
    models = names(args.model, "model") or list(default_models())
    engines: list[str | None] = [*names(args.engine, "engine")] or [None]
    keys = await _keys(settings, models, engines)
    one_by_one = settings.model_copy(update={"max_batch_size": 1})
    times_named = Counter(public_name(model) for model in {key.model for key in keys})
    subjects: Subjects[T] = Subjects([], [])
    for key in keys:
        pool = build_pool(one_by_one)
        try:
            is_shared = times_named[public_name(key.model)] > 1
            # Without a variable, which would hold the engine while the next one is loaded.
            made = await _embed(await pool.get(key.model, key.engine), key, is_shared, embed)
            subjects.embedded.append(made)
        except InvalidInputError:  # the dataset's fault, and so every engine's
            raise
        except EngineError as error:
            if len(subjects.failed) == len(keys) - 1:
                raise
            facts = {"model": public_name(key.model), "engine": key.engine, "reason": str(error)}
            subjects.failed.append(facts)
            print(f"error: {facts['model']} on {key.engine} is left out: {error}", file=sys.stderr)
        finally:
            await pool.close()
    return subjects


async def _embed(
    pooled: PooledEngine, key: EngineKey, is_shared: bool, embed: Callable[[PooledEngine], Awaitable[T]]
) -> tuple[str, T]:
    name = public_name(key.model)
    if is_shared:
        name = f"{name} {read_provenance(pooled.engine).model_sha256[:HASH_DIGITS]}"
    return name, await embed(pooled)


def names(options: Sequence[str], what: str) -> list[str]:
    """Return what was named by commas or by several options, each once.

    Raises:
        InvalidInputError: when an option was given and names nothing.
    """
    found = [name.strip() for option in options for name in option.split(",") if name.strip()]
    if options and not found:
        raise InvalidInputError(f"Name at least one {what}.")
    return list(dict.fromkeys(found))


async def _keys(settings: Settings, models: Sequence[str], engines: Sequence[str | None]) -> list[EngineKey]:
    """Return what is to be measured; a wrong name should not be found after an hour of the right ones."""
    pool = build_pool(settings)
    try:
        keys = [await pool.key(model, engine) for model in models for engine in engines]
    finally:
        await pool.close()
    return list(dict.fromkeys(keys))
