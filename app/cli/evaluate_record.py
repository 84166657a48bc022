"""The record of an evaluation: the command that makes it again, and what all tasks say of how it was made."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.cli.evaluate_subjects import names
from app.settings import Settings
from engines.machine.cpu import read_cpu
from engines.worker.shared import available_cores
from use_cases.benchmark import public_name
from use_cases.resampling import SEED
from use_cases.results import build_record
from use_cases.retrieval.caption_tables import printable

# What tasks have beside the dataset, the models and the engines; no task has all of them.
_OPTIONS = ("images", "classnames", "split", "template", "limit")


def evaluation_record(
    args: argparse.Namespace, dataset: str, settings: Mapping[str, Any], results: Sequence[Any]
) -> dict[str, Any]:
    """Return the record of a task that was measured once.

    Args:
        args: as parsed.
        dataset: its name, without folders.
        settings: what else decides the numbers; the limit is added.
        results: the rows.
    """
    return build_record(
        args.task,
        command=command_line(args, dataset),
        cpu=read_cpu(),
        threads=Settings().num_threads or available_cores(),
        seed=SEED,
        rounds=1,
        clean_rounds=0,  # nobody watches what else the machine does
        settings={**settings, "limit": args.limit},
        results=list(results),
    )


def command_line(args: argparse.Namespace, dataset: str) -> str:
    """Return the command that measures the same, without paths of this machine.

    Args:
        args: as parsed.
        dataset: its name, without folders.
    """
    words = [] if Settings().gated else ["SIGLIP_GATED=false"]  # engines that fail it are in the record
    words += ["python", "-m", "app.cli.evaluate", args.task, "--dataset", dataset]
    models, engines = names(args.model, "model"), names(args.engine, "engine")
    words += ["--model", ",".join(map(public_name, models))] if models else []
    words += ["--engine", ",".join(engines)] if engines else []
    for option in _OPTIONS:
        value = getattr(args, option, None) or []
        for each in value if isinstance(value, list) else [value]:
            words += [f"--{option}", each.name if isinstance(each, Path) else str(each)]
    return shlex.join([*map(printable, words), *(["--write"] if args.write else [])])
