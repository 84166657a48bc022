"""Measure image indexes on this machine: python -m app.cli.benchmark_index --sizes 10000,1000000.

First an index of made-up vectors is filled to one size after the other: how long searching takes, what it
finds of the exact nearest, how long a commit takes. Then images are ingested, in turns with the engine
alone on the same images in memory. Rounds that other processes disturbed are left out where there are
clean ones.

Prints a table for people; the last line of stdout is one compact JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from app.cli.errors import run_command
from app.cli.numbers import rounds, seconds
from app.cli.records import show_record
from app.services import build_pool
from app.settings import Settings
from engines.checkpoints.random_weights import PREFIX, SEED, ensure_random_checkpoint
from engines.errors import InvalidInputError
from engines.factory import ENGINES, check_engines
from engines.machine.cpu import read_cpu
from engines.models import bundled_models, get_bundled_model
from engines.worker.shared import available_cores
from use_cases.benchmark import public_name
from use_cases.index_benchmark.ingestion import KINDS, measure_ingestion
from use_cases.index_benchmark.search_speed import measure_sizes
from use_cases.index_benchmark.tables import clean_rounds, index_tables
from use_cases.index_benchmark.vectors import DIM
from use_cases.latency import MAX_FOREIGN_CORES, Summary
from use_cases.results import build_record

_VECTORS = f"made-up vectors of {DIM} dimensions"


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.benchmark_index",
        description="Measure filling and searching image indexes.",
        epilog="Exit code 2: something cannot be used; one sentence on stderr says what.",
    )
    parser.add_argument(
        "--sizes",
        type=_sizes,
        default="1000,10000,100000,1000000",
        help="of the index, ascending; empty: none (default: %(default)s)",
    )
    parser.add_argument(
        "--models",
        default=next(iter(bundled_models())),
        help=f"to ingest with: as SIGLIP_MODELS takes them, or {PREFIX}NAME for random weights; empty: none"
        " (default: %(default)s)",
    )
    parser.add_argument("--engines", default="", help=f"of {', '.join(ENGINES)} (default: each model's best)")
    parser.add_argument(
        "--seconds", type=seconds, default=15.0, help="that each ingestion takes (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=rounds, default=5, help="(default: %(default)s)")
    parser.add_argument(
        "--folder",
        type=Path,
        help="keep the index of the last size there, and use what an earlier run left (default: a new one)",
    )
    parser.add_argument("--write", action="store_true", help="keep a record in comparison_results/")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # to stderr: it takes minutes
    return run_command(partial(_run, build_parser().parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    if not args.sizes and not _names(args.models):
        raise InvalidInputError("There is nothing to measure; give --sizes or --models.")
    check_engines(_names(args.engines))  # before minutes of searching
    if args.sizes and args.folder:
        _make_folder(args.folder)
    results = _measure_search(args) + asyncio.run(_measure_ingestion(args))
    record = build_record(
        "index",
        command=command_line(args),
        cpu=read_cpu(),
        threads=available_cores(),
        seed=SEED,
        rounds=args.rounds,
        clean_rounds=clean_rounds(results),
        settings={"dim": DIM, "seconds": args.seconds, "max_foreign_cores": MAX_FOREIGN_CORES},
        results=results,
    )
    groups = {row["model"]: [each for each in results if each["model"] == row["model"]] for row in results}
    table = "\n\n".join(f"{name}\n\n{index_tables(rows)}" for name, rows in groups.items())
    return show_record(record, table, write=args.write)


def _make_folder(folder: Path) -> None:
    """Make the folder that is to keep the last index, before minutes of work on the others."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"Cannot use {folder} as a folder ({error.strerror}); name one that can be written."
        ) from None


def command_line(args: argparse.Namespace) -> str:
    """Return the command that measures the same, without paths of this machine."""
    models = ",".join(map(public_name, _names(args.models)))
    words = ["python -m app.cli.benchmark_index", f"--sizes {','.join(map(str, args.sizes))}"]
    words += ["--folder FOLDER"] if args.folder else []
    words += [f"--models '{models}'", *([f"--engines {args.engines}"] if args.engines else [])]
    words += [f"--seconds {args.seconds:g} --rounds {args.rounds}", *(["--write"] if args.write else [])]
    return " ".join(words)


def _measure_search(args: argparse.Namespace) -> list[dict[str, Any]]:
    if not args.sizes:
        return []
    spec = replace(get_bundled_model(next(iter(bundled_models()))), dim=DIM)
    with tempfile.TemporaryDirectory() as folder:
        if args.folder is None:
            rows = measure_sizes(spec, Path(folder), args.sizes, args.rounds, SEED)
        else:
            rows = measure_sizes(spec, Path(folder), args.sizes[:-1], args.rounds, SEED)
            rows += measure_sizes(spec, args.folder, args.sizes[-1:], args.rounds, SEED)
    return [{"model": _VECTORS, "measurement": "search", **_plain(row)} for row in rows]


async def _measure_ingestion(args: argparse.Namespace) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for model in _names(args.models):
        random = model.startswith(PREFIX)
        source = str(ensure_random_checkpoint(model.removeprefix(PREFIX))) if random else model
        for engine in _names(args.engines) or [""]:
            # Random weights say nothing about accuracy.
            pool = build_pool(Settings().model_copy(update={"gated": not random, "text_cache": None}))
            try:
                pooled = await pool.get(source, engine or None)
                for jpegs, size in KINDS.items():
                    measured = await measure_ingestion(pooled, size, args.seconds, args.rounds, SEED)
                    facts = {"engine": pooled.engine.engine.name, "jpegs": jpegs}
                    head = {"model": public_name(model), "measurement": "ingestion"}
                    results.append({**head, **facts, **_plain(measured)})
            finally:
                await pool.close()
    return results


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of JSON values."""
    return {name: asdict(value) if isinstance(value, Summary) else value for name, value in row.items()}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _sizes(text: str) -> list[int]:
    sizes = [int(name) for name in _names(text) if name.isdecimal()]
    if len(sizes) != len(_names(text)) or sizes != sorted(set(sizes)) or 0 in sizes:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of ascending numbers from 1 on")
    return sizes


if __name__ == "__main__":
    raise SystemExit(main())
