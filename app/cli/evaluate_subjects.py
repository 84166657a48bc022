"""What all tasks of the evaluate command share: which models on which engines, one after the other."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, Sequence

from app.services import build_pool
from app.settings import Settings
from engines.checkpoints.registry import default_models
from engines.errors import InvalidInputError
from engines.factory import ENGINES
from engines.loading import EngineKey
from engines.models import bundled_models
from engines.pool import PooledEngine
from use_cases.benchmark import public_name


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


async def running_engines(
    settings: Settings, args: argparse.Namespace
) -> AsyncGenerator[tuple[str, PooledEngine], None]:
    """Yield every model on every engine, one after the other, under the name that a record may show.

    Raises:
        EngineError: when a name cannot be used or an engine cannot be loaded.
    """
    models = names(args.model, "model") or list(default_models())
    engines: list[str | None] = [*names(args.engine, "engine")] or [None]
    for key in await _keys(settings, models, engines):
        pool = build_pool(settings)  # one for each: two large models need not fit into memory together
        try:
            yield public_name(key.model), await pool.get(key.model, key.engine)
        finally:
            await pool.close()


def command_line(args: argparse.Namespace, dataset: str, *options: str) -> str:
    """Return the command that measures the same, without paths of this machine.

    Args:
        args: as parsed.
        dataset: its name, without folders.
        options: what the task has beside the dataset, the models and the engines.
    """
    words = [f"python -m app.cli.evaluate {args.task} --dataset {dataset}"]
    models, engines = names(args.model, "model"), names(args.engine, "engine")
    words += [f"--model {','.join(map(public_name, models))}"] if models else []
    words += [f"--engine {','.join(engines)}"] if engines else []
    words += options
    words += ["--write"] if args.write else []
    return " ".join(words)


def names(options: Sequence[str], what: str) -> list[str]:
    """Return what was named by commas or by several options, each once.

    Raises:
        InvalidInputError: when an option was given and names nothing.
    """
    found = [name.strip() for option in options for name in option.split(",") if name.strip()]
    if options and not found:
        raise InvalidInputError(f"Name at least one {what}.")
    return list(dict.fromkeys(found))


def count(text: str) -> int:
    """Return a whole number from 1 on, for argparse."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


async def _keys(settings: Settings, models: Sequence[str], engines: Sequence[str | None]) -> list[EngineKey]:
    """Return what is to be measured; a wrong name should not be found after an hour of the right ones."""
    pool = build_pool(settings)
    try:
        keys = [await pool.key(model, engine) for model in models for engine in engines]
    finally:
        await pool.close()
    return list(dict.fromkeys(keys))
